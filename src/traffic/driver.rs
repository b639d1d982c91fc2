use super::{Body, Visitors};
use crate::clock::now_ms;
use crate::shutdown::Shutdown;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often what is due is posted: often enough to look like a stream.
const TICK: Duration = Duration::from_millis(100);
/// Events a request, as a collector's batch would have.
const EVENTS_A_REQUEST: usize = 50;
/// Bodies that may wait for an answer; a slower ingest is waited for instead of being buried.
const IN_FLIGHT: usize = 32;
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const WAIT_AT_MOST: Duration = Duration::from_secs(2);
const LARGEST_ANSWER: usize = 1 << 20;

/// Why there is no traffic.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// A product, a query or a delay cannot be drawn.
    #[error("the visitors' taste is no distribution: {0}")]
    Zipf(#[from] rand_distr::ZipfError),
    /// The same for delays.
    #[error("the visitors' delay is no distribution: {0}")]
    Exp(#[from] rand_distr::ExpError),
    /// The address makes no URL.
    #[error("cannot post to {address}: {source}")]
    Address {
        /// Where to.
        address: SocketAddr,
        /// Why not.
        source: hyper::http::uri::InvalidUri,
    },
}

/// What became of the events, by ingest's answers.
#[derive(Debug, Default)]
pub struct Tally {
    accepted: AtomicU64,
    rejected: AtomicU64,
    retried: AtomicU64,
}

impl Tally {
    /// Events that ingest stored.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Events that ingest refused.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    /// Requests that were sent again, with the same event ids.
    pub fn retried(&self) -> u64 {
        self.retried.load(Relaxed)
    }
}

#[derive(serde::Deserialize)]
struct Answer {
    accepted: u64,
    rejected: u64,
}

/// Posts what visitors do to an ingest, at a rate.
#[derive(Debug)]
pub struct Driver {
    visitors: Visitors,
    rate: u32,
    poster: Poster,
}

#[derive(Debug, Clone)]
struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
    url: hyper::Uri,
    tally: Arc<Tally>,
    shutdown: Shutdown,
}

impl Driver {
    /// `rate` events a second to the ingest at `address`.
    ///
    /// # Errors
    /// When the address makes no URL.
    pub fn new(visitors: Visitors, rate: u32, address: SocketAddr, shutdown: Shutdown) -> Result<Driver, TrafficError> {
        let url = format!("http://{address}/events").parse();
        let url = url.map_err(|source| TrafficError::Address { address, source })?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Driver { visitors, rate, poster: Poster { client, url, tally: Arc::default(), shutdown } })
    }

    /// What became of the events so far; grows while the driver runs.
    pub fn tally(&self) -> Arc<Tally> {
        self.poster.tally.clone()
    }

    /// Posts until the shutdown begins, then waits for the answers that are due.
    pub async fn run(mut self) {
        let started = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sent, mut posting) = (0_u64, tokio::task::JoinSet::new());
        loop {
            tokio::select! {
                () = self.poster.shutdown.begun() => break,
                _ = tick.tick() => {}
            }
            let due = (started.elapsed().as_secs_f64() * f64::from(self.rate)) as u64;
            // After a pause there is no burst of what was missed: at most one second's worth is caught up with.
            sent = sent.max(due.saturating_sub(u64::from(self.rate)));
            let events = usize::try_from(due - sent).unwrap_or_default();
            sent = due;
            for body in self.visitors.bodies(events, EVENTS_A_REQUEST, now_ms()) {
                while posting.len() >= IN_FLIGHT {
                    posting.join_next().await;
                }
                posting.spawn(self.poster.clone().post(body));
            }
            while posting.try_join_next().is_some() {}
        }
        // Whoever ends the process decides how long it may take; an answer that is still due then is not needed.
        let _ = tokio::time::timeout(WAIT_AT_MOST, posting.join_all()).await;
    }
}

impl Poster {
    /// Until ingest has said yes or no. The ids in the body stay the same, so a retry cannot count twice.
    async fn post(self, body: Body) {
        let mut wait = TICK;
        while let Err(asked) = self.once(&body).await {
            self.tally.retried.fetch_add(1, Relaxed);
            wait = asked.unwrap_or(wait * 2).min(WAIT_AT_MOST);
            tokio::select! {
                () = self.shutdown.begun() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// `Err`: to be sent again, after this long if ingest said so.
    async fn once(&self, body: &Body) -> Result<(), Option<Duration>> {
        let request = Request::post(self.url.clone())
            .header("content-type", "application/json")
            .body(Full::from(body.json.clone()))
            .map_err(|_| None)?;
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.client.request(request)).await;
        let (head, rest) = answer.map_err(|_| None)?.map_err(|_| None)?.into_parts();
        let text = tokio::time::timeout(ANSWER_WITHIN, Limited::new(rest, LARGEST_ANSWER).collect()).await;
        match head.status {
            StatusCode::ACCEPTED => {
                let text = text.map_err(|_| None)?.map_err(|_| None)?.to_bytes();
                let answer: Answer = serde_json::from_slice(&text).map_err(|_| None)?;
                self.tally.accepted.fetch_add(answer.accepted, Relaxed);
                self.tally.rejected.fetch_add(answer.rejected, Relaxed);
                Ok(())
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                let seconds = head.headers.get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
                Err(seconds.map(Duration::from_secs))
            }
            _ => {
                self.tally.rejected.fetch_add(body.events as u64, Relaxed);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Response;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use std::sync::Mutex;

    /// An ingest that is away for the first request and notes the bodies of all.
    async fn ingest(bodies: Arc<Mutex<Vec<Bytes>>>) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let bodies = bodies.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let first = bodies.lock().unwrap().is_empty();
                bodies.lock().unwrap().push(body.clone());
                let events = serde_json::from_slice::<Vec<serde_json::Value>>(&body);
                let (code, text) = match events {
                    _ if first => (503, String::new()),
                    Ok(events) => (202, format!(r#"{{"accepted":{},"rejected":0}}"#, events.len())),
                    Err(_) => (400, String::new()),
                };
                Ok::<_, Infallible>(Response::builder().status(code).body(Full::<Bytes>::from(text)).unwrap())
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(stream), service.clone()));
            }
        });
        address
    }

    #[tokio::test]
    async fn what_is_refused_for_now_is_sent_again_with_the_same_ids() {
        let (bodies, shutdown) = (Arc::new(Mutex::new(Vec::new())), Shutdown::new());
        let address = ingest(bodies.clone()).await;
        let driver = Driver::new(Visitors::new(1, 10).unwrap(), 500, address, shutdown.clone()).unwrap();
        let tally = driver.tally();
        let running = tokio::spawn(driver.run());
        while tally.accepted() < 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shutdown.begin();
        running.await.unwrap();
        let bodies = bodies.lock().unwrap();
        assert!(tally.retried() >= 1);
        assert!(bodies[1..].contains(&bodies[0]));
    }
}
