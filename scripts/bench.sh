#!/usr/bin/env bash
# Runs a benchmark (process, or the first argument) beside a Kafka and a Redis of its own, and removes both
# afterwards. The benchmark is told where they are by STREAMGAUGE_BENCH_KAFKA and STREAMGAUGE_BENCH_REDIS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kafka_port=${BENCH_KAFKA_PORT:-19192}
redis_port=${BENCH_REDIS_PORT:-16379}
dir=$(mktemp -d)
redis=

finish() {
  scripts/kafka.sh stop "$dir/kafka" || true
  [[ -z $redis ]] || kill "$redis" 2>/dev/null || true
  wait
  rm -rf "$dir"
}
trap finish EXIT

scripts/kafka.sh start "$dir/kafka" "$kafka_port"
redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$dir" --save "" --appendonly yes \
  --appendfsync everysec >"$dir/redis.log" 2>&1 &
redis=$!
until grep -q "Ready to accept connections" "$dir/redis.log"; do
  kill -0 "$redis" 2>/dev/null || { echo "redis ended:"; tail -n 5 "$dir/redis.log"; exit 1; } >&2
  sleep 0.05
done

export STREAMGAUGE_BENCH_KAFKA=127.0.0.1:$kafka_port
export STREAMGAUGE_BENCH_REDIS=redis://127.0.0.1:$redis_port
cargo bench --bench "${1:-process}"
