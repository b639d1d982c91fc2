//! The query side, as the check asks it.

use super::probes::Listed;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const LARGEST_ANSWER: usize = 256 << 20;

/// Why the query side did not answer a question.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Its address is no http address.
    #[error("{0}: write it like http://127.0.0.1:8080; https is not spoken here, so ask the query side itself")]
    NoHttp(String),
    /// The token holds what no header can.
    #[error("the token cannot stand in a header")]
    Token,
    /// Nobody is there, or does not answer.
    #[error("the query side at {url} does not answer: {reason}")]
    Silent {
        /// Where it should be.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// It wants another token, or one at all.
    #[error("the query side at {0} asks for its token (query.token)")]
    Unauthorized(String),
    /// It says no, or something that is not understood.
    #[error("the query side at {url} answered {status}: {said}")]
    Refused {
        /// Where it is.
        url: String,
        /// The status of the answer.
        status: u16,
        /// What it said.
        said: String,
    },
}

impl NoAnswer {
    /// Whether the same question may be answered later.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, NoAnswer::Silent { .. } | NoAnswer::Refused { status: 500.., .. })
    }
}

/// The counts of a counter: what is needed of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Counted {
    pub(super) data_as_of: Option<f64>,
    pub(super) buckets: Vec<Bucket>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Bucket {
    pub(super) start: i64,
    pub(super) total: u64,
    pub(super) other: u64,
    pub(super) keys: Vec<Key>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Key {
    pub(super) key: String,
    pub(super) count: u64,
}

#[derive(Deserialize)]
struct CounterList {
    counters: Vec<Listed>,
}

/// Where questions are answered.
#[derive(Debug, Clone)]
pub struct QuerySide {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: String,
    token: Option<HeaderValue>,
}

impl QuerySide {
    /// At this URL, with this token if it needs one.
    ///
    /// # Errors
    /// When it is no http URL, or the token cannot be sent.
    pub fn new(url: &str, token: Option<&str>) -> Result<QuerySide, NoAnswer> {
        let url = url.trim_end_matches('/').to_owned();
        let is_usable = |uri: &Uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty());
        if !url.parse::<Uri>().is_ok_and(|uri| is_usable(&uri)) {
            return Err(NoAnswer::NoHttp(url));
        }
        let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose();
        let mut token = token.map_err(|_| NoAnswer::Token)?;
        token.iter_mut().for_each(|token| token.set_sensitive(true));
        Ok(QuerySide { client: Client::builder(TokioExecutor::new()).build_http(), url, token })
    }

    pub(super) async fn counters(&self) -> Result<Vec<Listed>, NoAnswer> {
        Ok(self.get::<CounterList>("/api/v1/counters").await?.counters)
    }

    /// The highest keys of all windows of the last `ago` seconds, by the query side's clock.
    pub(super) async fn counted(&self, counter: &str, window: &str, ago: u64, top: u64) -> Result<Counted, NoAnswer> {
        self.get(&format!("/api/v1/counters/{counter}?window={window}&from=-{ago}s&top={top}")).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        let (status, body) = match timeout(PATIENCE, self.ask(path)).await {
            Ok(answer) => answer.map_err(|reason| self.silent(reason))?,
            Err(_) => return Err(self.silent(format!("nothing within {PATIENCE:?}"))),
        };
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|e| self.refused(status, e.to_string())),
            StatusCode::UNAUTHORIZED => Err(NoAnswer::Unauthorized(self.url.clone())),
            status => {
                let said = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
                let said = said["error"].as_str().unwrap_or("not what a query side says");
                Err(self.refused(status, said.chars().filter(|c| !c.is_control()).take(300).collect()))
            }
        }
    }

    async fn ask(&self, path: &str) -> Result<(StatusCode, Bytes), String> {
        let mut request = Request::get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Empty::new()).map_err(|e| e.to_string())?;
        let answer = self.client.request(request).await.map_err(|e| whole(&e))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await.map_err(|e| e.to_string())?;
        Ok((status, body.to_bytes()))
    }

    fn silent(&self, reason: String) -> NoAnswer {
        NoAnswer::Silent { url: self.url.clone(), reason }
    }

    fn refused(&self, status: StatusCode, said: String) -> NoAnswer {
        NoAnswer::Refused { url: self.url.clone(), status: status.as_u16(), said }
    }
}

/// An error and what caused it.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
