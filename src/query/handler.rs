use super::assets::Asset;
use super::buckets::{MOST_CELLS, PARAMETERS, Question};
use super::cors::Cors;
use super::counters::CounterList;
use super::params::Params;
use super::partitions::Partitions;
use super::status::Status;
use super::{Config, QueryError, monitor, remote_read, time};
use crate::counter::Counters;
use crate::http::{self, Body, Handler};
use crate::shutdown::Shutdown;
use crate::store::{CounterStore, StoreError};
use crate::telemetry::{Metrics, Readiness};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use secrecy::{ExposeSecret, SecretString};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Counts that all questions together may hold in memory at a time; what comes on top waits.
const CELLS_IN_FLIGHT: u64 = 2 * MOST_CELLS;

/// What every answer tells a browser to refuse.
const SECURITY_HEADERS: [(HeaderName, &str); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
];

/// Answers questions about the counts: the read side's [`Handler`].
pub struct Query {
    token: Option<SecretString>,
    cors: Cors,
    store: Arc<dyn CounterStore>,
    counters: Arc<Counters>,
    topic: String,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    reading: Semaphore,
}

/// What a path leads to.
enum Route<'a> {
    File(&'static Asset),
    Counters,
    Counter(&'a str),
    Status,
    RemoteRead,
}

impl Query {
    /// Over a store that is counted into from `topic`.
    ///
    /// # Errors
    /// When the configuration makes the counts public by accident, or the token file cannot be read.
    pub fn new(
        config: Config,
        store: Arc<dyn CounterStore>,
        counters: Arc<Counters>,
        topic: impl Into<String>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Result<Query, QueryError> {
        config.validate()?;
        let reading = Semaphore::new(CELLS_IN_FLIGHT as usize);
        let token = config.read_token()?;
        let cors = Cors::new(config.allowed_origins);
        Ok(Query { token, cors, store, counters, topic: topic.into(), metrics, readiness, reading })
    }

    /// Keeps the readiness of the query role true: looks whether the store answers, until the shutdown begins.
    pub async fn run_monitor(&self, shutdown: Shutdown) {
        monitor::watch(&*self.store, &self.readiness, &shutdown).await;
    }

    /// Answers a request that came at `now_ms`.
    async fn answer<B>(&self, request: Request<B>, now_ms: i64) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let (head, mut body) = request.into_parts();
        let (method, uri, headers) = (&head.method, &head.uri, &head.headers);
        let began = Instant::now();
        if let Some(mut preflight) = self.cors.preflight(method, uri, headers) {
            self.cors.allow(uri, headers, preflight.headers_mut());
            self.metrics.query_requests_total.with_label_values(&[preflight.status().as_str()]).inc();
            return preflight;
        }
        let answered = self.authorised(headers).and_then(|()| route(method, uri.path()));
        let cache = if matches!(answered, Ok(Route::File(_))) { "no-cache" } else { "no-store" };
        let answered = match answered {
            Ok(Route::File(asset)) => Ok(asset.response()),
            Ok(Route::Counters) => self.counters(uri).await,
            Ok(Route::Counter(name)) => self.counter(name, uri, headers, now_ms).await,
            Ok(Route::Status) => self.status(uri, now_ms).await,
            Ok(Route::RemoteRead) => self.remote_read(headers, &mut body, now_ms).await,
            Err(refused) => Err(refused),
        };
        let mut response = answered.unwrap_or_else(|refused| refused.response());
        for (name, value) in SECURITY_HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(cache));
        self.cors.allow(uri, headers, response.headers_mut());
        self.metrics.query_requests_total.with_label_values(&[response.status().as_str()]).inc();
        self.metrics.query_request_seconds.observe(began.elapsed().as_secs_f64());
        response
    }

    fn authorised(&self, headers: &HeaderMap) -> Result<(), QueryError> {
        let Some(token) = &self.token else { return Ok(()) };
        let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|v| v.split_once(' '));
        match sent {
            Some((scheme, sent))
                if scheme.eq_ignore_ascii_case("bearer")
                    && http::same_secret(token.expose_secret().as_bytes(), sent.trim().as_bytes()) =>
            {
                Ok(())
            }
            _ => Err(QueryError::Unauthorized),
        }
    }

    async fn counters(&self, uri: &Uri) -> Result<Response<Body>, QueryError> {
        Params::parse(uri.query(), &[])?;
        let stored = self.store.counters().await?;
        Ok(http::json(StatusCode::OK, &CounterList::of(&self.counters, &stored)))
    }

    async fn counter(
        &self,
        name: &str,
        uri: &Uri,
        headers: &HeaderMap,
        now_ms: i64,
    ) -> Result<Response<Body>, QueryError> {
        let params = Params::parse(uri.query(), PARAMETERS)?;
        let question = Question::parse(&self.counters, name, &params, now_ms)?;
        let cost = question.cost(&*self.store).await?;
        // The semaphore is never closed, so the only answer is a permit.
        let _permit = self.reading.acquire_many(u32::try_from(cost).unwrap_or(u32::MAX)).await;
        Ok(question.answer(&*self.store, &self.topic).await?.response(headers))
    }

    async fn remote_read<B>(&self, headers: &HeaderMap, body: &mut B, now_ms: i64) -> Result<Response<Body>, QueryError>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let request = remote_read::request(headers, body).await?;
        let plan = remote_read::Plan::of(&self.counters, &request, now_ms)?;
        let cost = plan.cost(&*self.store).await?;
        let _permit = self.reading.acquire_many(u32::try_from(cost).unwrap_or(u32::MAX)).await;
        Ok(remote_read::respond(&plan.answer(&*self.store, &self.topic).await?))
    }

    async fn status(&self, uri: &Uri, now_ms: i64) -> Result<Response<Body>, QueryError> {
        Params::parse(uri.query(), &[])?;
        let partitions: Result<Partitions, StoreError> = Partitions::read(&*self.store, &self.topic).await;
        Ok(http::json(StatusCode::OK, &Status::of(&self.topic, &partitions?, now_ms)))
    }
}

impl Handler for Query {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        self.answer(request, time::now_ms()).await
    }
}

fn route<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, QueryError> {
    let route = match path {
        "/api/v1/counters" => Route::Counters,
        "/api/v1/status" => Route::Status,
        "/api/v1/prometheus/read" => Route::RemoteRead,
        _ => match (path.strip_prefix("/api/v1/counters/"), Asset::at(path)) {
            (Some(name), _) => Route::Counter(name),
            (None, Some(asset)) => Route::File(asset),
            (None, None) => return Err(QueryError::NoSuchPath(path.to_owned())),
        },
    };
    let (fits, allowed) = match route {
        Route::RemoteRead => (method == Method::POST, "POST"),
        _ => (matches!(*method, Method::GET | Method::HEAD), "GET, HEAD"),
    };
    if fits { Ok(route) } else { Err(QueryError::Method(allowed)) }
}

#[cfg(test)]
mod tests;
