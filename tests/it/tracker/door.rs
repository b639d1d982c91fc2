//! What stands between the browser and ingest: it serves the pages, and answers badly when it is told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What becomes of a request with events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Ingest gets it, and the page its answer.
    Pass,
    /// Ingest gets it, and stores the events; the connection is cut instead of the answer.
    Lose,
    /// The connection is cut, and nobody gets anything.
    Cut,
    /// Nobody gets it; the page is answered with this status, and told to wait so many seconds.
    Answer(u16, Option<u32>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Came {
    pub(super) method: String,
    pub(super) content_type: String,
    /// Whether the browser sent a cookie with it.
    pub(super) has_cookie: bool,
    pub(super) body: Value,
}

#[derive(Debug)]
struct State {
    ingest: String,
    /// What the next requests meet; after them all others the last one.
    moods: VecDeque<Mood>,
    came: Vec<Came>,
    /// The page by its path; of others the first.
    pages: Vec<(String, String)>,
}

/// One address of it. It is open until it is dropped.
pub(super) struct Door {
    port: u16,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl Door {
    /// Before the ingest at this address.
    pub(super) async fn before(ingest: &str) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let port = listener.local_addr().expect("an address").port();
        let state = State {
            ingest: ingest.to_owned(),
            moods: VecDeque::from([Mood::Pass]),
            came: Vec::new(),
            pages: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let state = shared.clone();
                let service = service_fn(move |request| answer(state.clone(), request));
                // It fails where a connection is cut, which is what it is told to do.
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Door { port, state, serving }
    }

    /// An address here. Each name is another origin, and each leads to this machine.
    pub(super) fn url(&self, name: &str, path: &str) -> String {
        format!("http://{name}:{}{path}", self.port)
    }

    /// Serves a page; whatever has no page of its own is the first.
    pub(super) fn page(&self, path: &str, html: &str) {
        self.state().pages.push((path.to_owned(), html.to_owned()));
    }

    /// What the next requests meet; after them all others the last one.
    pub(super) fn becomes(&self, moods: &[Mood]) {
        self.state().moods = moods.iter().copied().collect();
    }

    /// The requests with events, as they came.
    pub(super) fn came(&self) -> Vec<Came> {
        self.state().came.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error cuts the connection.
async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, String> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
    if path != "/events" && !path.starts_with("/streamgauge.") {
        let page = page(&locked(&state), &path);
        return Ok(Response::builder().header("content-type", "text/html").body(page.into()).expect("a page"));
    }
    let ingest = locked(&state).ingest.clone();
    if path != "/events" {
        return pass(&ingest, &head, body).await;
    }
    let mood = {
        let mut state = locked(&state);
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        state.came.push(Came {
            method: head.method.to_string(),
            content_type: header("content-type").to_owned(),
            has_cookie: !header("cookie").is_empty(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        });
        if state.moods.len() > 1 { state.moods.pop_front() } else { state.moods.front().copied() }
    };
    match mood.unwrap_or(Mood::Pass) {
        Mood::Pass => pass(&ingest, &head, body).await,
        Mood::Lose => {
            let answer = pass(&ingest, &head, body).await?;
            Err(format!("{} is lost", answer.status()))
        }
        Mood::Cut => Err("it is cut".to_owned()),
        Mood::Answer(status, wait) => {
            let mut response = Response::builder()
                .status(status)
                .header("access-control-allow-origin", "*")
                .header("access-control-expose-headers", "retry-after");
            if let Some(seconds) = wait {
                response = response.header("retry-after", seconds);
            }
            Ok(response.body(Full::from(r#"{"error":"of the door"}"#)).expect("an answer"))
        }
    }
}

/// Hands a request on to ingest, and its answer back, as they are.
async fn pass(ingest: &str, head: &hyper::http::request::Parts, body: Bytes) -> Result<Response<Full<Bytes>>, String> {
    let client = reqwest::Client::builder().no_proxy().build().map_err(|e| e.to_string())?;
    let url = format!("{ingest}{}", head.uri);
    let answer = client.request(head.method.clone(), url).headers(head.headers.clone()).body(body).send().await;
    let answer = answer.map_err(|e| e.to_string())?;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != "transfer-encoding" {
            response = response.header(name, value);
        }
    }
    let body = answer.bytes().await.map_err(|e| e.to_string())?;
    response.body(Full::from(body)).map_err(|e| e.to_string())
}

fn page(state: &State, path: &str) -> String {
    let found = state.pages.iter().find(|(served, _)| served == path).or(state.pages.first());
    found.map(|(_, html)| html.clone()).unwrap_or_default()
}
