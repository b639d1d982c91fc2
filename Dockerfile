# syntax=docker/dockerfile:1
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep librdkafka and OpenSSL built from one image build to the next.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --features kafka-tls && \
    cp target/release/streamgauge /streamgauge && \
    mkdir /data

FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /streamgauge /usr/local/bin/streamgauge
COPY config/streamgauge.toml /etc/streamgauge/streamgauge.toml

# The spool and the embedded database are written here and nothing is anywhere else, so that the root
# file system may be read-only. The configuration's relative paths begin at the working directory.
COPY --from=build --chown=10001:10001 /data /var/lib/streamgauge/data
WORKDIR /var/lib/streamgauge
VOLUME /var/lib/streamgauge/data
USER 10001:10001

# ingest, live page and API, metrics and health
EXPOSE 8081 8080 9464

# Alive, not ready: a Kafka that is away is no reason to restart this. There is no curl here, so bash asks.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9464 && printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]

ENTRYPOINT ["streamgauge"]
CMD ["run", "--config", "/etc/streamgauge/streamgauge.toml"]
