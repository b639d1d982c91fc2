//! An ingest in front of the real one that does one thing wrong.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::support::doors::Doors;

/// What it does to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// It says that it stored the events, and did not.
    Lose,
    /// It stores them twice.
    Double,
    /// It stores them and never answers.
    Hush,
}

/// The request that the fault is done to.
const NTH: u32 = 20;

struct State {
    http: reqwest::Client,
    events: String,
    fault: Mutex<Fault>,
    requests: AtomicU32,
}

pub(super) struct Faulty {
    url: String,
    state: Arc<State>,
}

impl Faulty {
    /// In front of this program.
    pub(super) async fn start(app: &Doors) -> Faulty {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (http, events) = (app.http().clone(), app.ingest_url("/events"));
        let state = Arc::new(State { http, events, fault: Mutex::new(Fault::None), requests: AtomicU32::new(0) });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                let service = service_fn(move |request| handle(state.clone(), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Faulty { url, state }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What it does wrong from now on, once.
    pub(super) fn next(&self, fault: Fault) {
        *self.state.fault.lock().unwrap() = fault;
        self.state.requests.store(0, SeqCst);
    }
}

async fn handle(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let is_chosen = state.requests.fetch_add(1, SeqCst) + 1 == NTH;
    let fault = if is_chosen { *state.fault.lock().unwrap() } else { Fault::None };
    if fault == Fault::Lose {
        let events = serde_json::from_slice::<Vec<serde_json::Value>>(&body).unwrap().len();
        let answer = format!(r#"{{"accepted":{events},"rejected":0,"stored":"disk","event_ids":[]}}"#);
        return Ok(Response::builder().status(202).body(Full::from(answer)).unwrap());
    }
    if fault == Fault::Double {
        let others = String::from_utf8(body.to_vec()).unwrap().replace("\"event_id\":\"", "\"event_id\":\"again-");
        state.post(others.into()).await;
    }
    let (status, answer) = state.post(body).await;
    if fault == Fault::Hush {
        std::future::pending::<()>().await;
    }
    Ok(Response::builder().status(status).body(Full::from(answer)).unwrap())
}

impl State {
    async fn post(&self, body: Bytes) -> (u16, Bytes) {
        let posted = self.http.post(&self.events).header("content-type", "application/json").body(body).send();
        let answer = posted.await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    }
}
