use super::patience::Patient;
use super::per_address::PerAddress;
use super::{Body, error};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntCounter;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Bytes that are read from a connection before its handler asks for them. Together with the number of connections
/// it bounds the memory that clients can take without being served.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// How long to wait before accepting again after the system refused (out of file descriptors, mostly).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(500);

/// What one client may take of a server, before its handler even sees a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; one more is closed at once.
    pub max_connections: usize,
    /// Those of one address, an IPv6 network as a whole; 0 for any number.
    pub max_connections_per_address: usize,
    /// Time for the head of a request to arrive, and for a kept-alive connection to stay silent.
    pub header_timeout: Duration,
    /// Request line and headers together; more is answered with 431.
    pub max_header_bytes: usize,
    /// Time in which a client must take 1 MiB of what waits for it, or all of it.
    pub read_patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_connections: 10_000,
            max_connections_per_address: 0,
            header_timeout: Duration::from_secs(10),
            max_header_bytes: 16 * 1024,
            read_patience: Duration::from_secs(30),
        }
    }
}

/// Who is at the other end of a connection: an extension of each of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// What a server does with a request.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. A panic in here costs the client a 500 and nobody else anything.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// A bound listener, ready to serve.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    name: &'static str,
    limits: Limits,
    metrics: Arc<Metrics>,
}

impl Server {
    /// Listens on an address; port 0 takes a free one. `name` is the listener's in logs and metrics.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub async fn bind(
        addr: SocketAddr,
        name: &'static str,
        limits: Limits,
        metrics: Arc<Metrics>,
    ) -> io::Result<Server> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok(Server { listener, addr, name, limits, metrics })
    }

    /// The address it listens on, with the port that it really has.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until the shutdown begins, then drains: nothing new is accepted, silent connections are closed, and
    /// requests in flight are answered. Dropping the future cuts off what is left, so a caller that has a deadline
    /// puts a time-out around it.
    pub async fn run<H: Handler>(self, handler: Arc<H>, shutdown: Shutdown) {
        let mut connections = JoinSet::new();
        let refused = self.metrics.connections_refused_total.with_label_values(&[self.name]);
        let mut per_address = PerAddress::new(self.limits.max_connections_per_address);
        let mut begun = pin!(shutdown.begun());
        let mut not_before = Instant::now();
        loop {
            tokio::select! {
                () = &mut begun => break,
                Some(ended) = connections.join_next_with_id() => {
                    per_address.closed(ended.map_or_else(|failed| failed.id(), |(id, ())| id));
                }
                accepted = self.accept(not_before) => {
                    let Some((stream, peer)) = accepted else {
                        not_before = Instant::now() + ACCEPT_BACKOFF;
                        continue;
                    };
                    if connections.len() >= self.limits.max_connections || !per_address.has_room(peer.ip()) {
                        refused.inc();
                    } else {
                        let handler = Arc::clone(&handler);
                        let serving = serve(stream, self.limits, handler, shutdown.clone(), refused.clone());
                        per_address.opened(connections.spawn(serving).id(), peer.ip());
                    }
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }

    /// The next connection, or nothing when the system gives none: then it is asked again a little later. It is cancelled
    /// whenever a connection ends, so it is told since when it waits.
    async fn accept(&self, not_before: Instant) -> Option<(TcpStream, SocketAddr)> {
        sleep_until(not_before).await;
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return Some(accepted),
                // The client was gone before it was accepted; the next one may be fine.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => {
                    tracing::warn!(listener = self.name, error = %e, "cannot accept connections, trying again");
                    return None;
                }
            }
        }
    }
}

/// One connection, from its first request to its last.
async fn serve<H: Handler>(
    stream: TcpStream,
    limits: Limits,
    handler: Arc<H>,
    shutdown: Shutdown,
    refused: IntCounter,
) {
    // Without it a small answer may wait for the client's delayed acknowledgement. It only fails on a dead socket.
    let _ = stream.set_nodelay(true);
    let peer = stream.peer_addr().ok().map(Peer);
    let has_asked = AtomicBool::new(false);
    let service = service_fn(|mut request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        // In a box: else each idle connection would keep room for a request that is not there.
        Box::pin(answer(&*handler, request))
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.max_header_bytes)
            .max_buf_size(READ_BUFFER_BYTES.max(limits.max_header_bytes))
            .serve_connection(TokioIo::new(Patient::new(stream, limits.read_patience)), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        // A connection that is silent between two requests is in order; one that never says what it wants is not.
        if e.is_parse_too_large() || e.is_timeout() && !has_asked.load(Ordering::Relaxed) {
            refused.inc();
        }
        // Clients that vanish, time out or speak no HTTP are no news.
        tracing::debug!(error = %e, "connection ended");
    }
}

async fn answer<H: Handler>(handler: &H, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    // A handler is handed to many tasks already, so whatever it shares survives one that stops half-way.
    let answered = AssertUnwindSafe(handler.handle(request)).catch_unwind().await;
    Ok(answered.unwrap_or_else(|_| {
        tracing::error!("a request handler panicked; the client got a 500");
        error(StatusCode::INTERNAL_SERVER_ERROR, "internal error", None)
    }))
}

#[cfg(test)]
mod tests;
