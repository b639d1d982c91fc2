use super::assets::{self, Asset};
use super::buckets::{PARAMETERS, Question, counter_of, names_of, window_of};
use super::budget::Budget;
use super::config::{SHORT_TOKEN, is_short};
use super::cors::Cors;
use super::counters::CounterList;
use super::hosts::Hosts;
use super::live::Hub;
use super::login::{Login, MOST_FORM_BYTES, Visit, bearer_of, is_of_another_site};
use super::params::Params;
use super::partitions::Partitions;
use super::status::Status;
use super::{Config, Misconfigured, QueryError, monitor, remote_read};
use crate::clock;
use crate::counter::Counters;
use crate::http::{self, Body, Handler, Peer, Unreceived, receive};
use crate::shutdown::Shutdown;
use crate::store::CounterStore;
use crate::telemetry::{Metrics, Readiness};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time for a form to arrive.
const FORM_PATIENCE: Duration = Duration::from_secs(10);

/// What every answer tells a browser to refuse.
const SECURITY_HEADERS: [(HeaderName, &str); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
];

/// Answers questions about the counts: the read side's [`Handler`].
pub struct Query {
    hosts: Hosts,
    login: Login,
    cors: Cors,
    live: Hub,
    store: Arc<dyn CounterStore>,
    counters: Arc<Counters>,
    topic: String,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    budget: Budget,
}

/// What a path leads to.
enum Route<'a> {
    Page,
    Login,
    Logout,
    Live,
    File(&'static Asset),
    Counters,
    Counter(&'a str),
    Status,
    RemoteRead,
}

impl Query {
    /// Over a store that is counted into from `topic`, every `flush_interval`.
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
        flush_interval: Duration,
    ) -> Result<Query, Misconfigured> {
        config.validate()?;
        let token = config.read_token()?;
        if token.as_ref().is_some_and(is_short) {
            tracing::warn!("{SHORT_TOKEN}");
        }
        let (budget, topic) = (Budget::default(), topic.into());
        let hosts = Hosts::of(&config);
        let login = Login::new(token, metrics.clone());
        let cors = Cors::new(config.allowed_origins);
        let live = Hub::new(
            store.clone(),
            counters.clone(),
            topic.clone(),
            metrics.clone(),
            readiness.clone(),
            flush_interval,
        );
        Ok(Query { hosts, login, cors, live, store, counters, topic, metrics, readiness, budget })
    }

    /// Keeps the readiness of the query role true and reads the store for the live pages, until the shutdown begins.
    pub async fn run_monitor(&self, shutdown: Shutdown) {
        tokio::join!(monitor::watch(&*self.store, &self.readiness, &shutdown), self.live.run(&shutdown));
    }

    /// Answers a request.
    async fn answer<B>(&self, request: Request<B>, visit: Visit) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let began = Instant::now();
        let (head, mut body) = request.into_parts();
        let answered = match self.cors.preflight(&head.method, &head.uri, &head.headers) {
            Some(preflight) => Ok(preflight),
            None => self.admit(&head, &mut body, visit).await,
        };
        // A connection that ends with a part of the request unread takes the answer with it.
        http::discard(&head.headers, body).await;
        let mut response = self.finish(answered, began);
        self.cors.allow(&head.uri, &head.headers, response.headers_mut());
        response
    }

    /// Answers those who may come in, and shows the door to others.
    async fn admit<B>(&self, head: &Parts, body: &mut B, visit: Visit) -> Result<Response<Body>, QueryError>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let (method, uri, headers) = (&head.method, &head.uri, &head.headers);
        self.hosts.check(uri, headers)?;
        let routed = route(method, uri.path());
        // Whoever may not read is not told either what there is.
        if !matches!(&routed, Ok(route) if route.is_public()) {
            match self.login.admit(headers, visit) {
                Err(QueryError::Unauthorized) if matches!(routed, Ok(Route::Page)) && bearer_of(headers).is_none() => {
                    return Ok(Login::instead_of(uri));
                }
                admitted => admitted?,
            }
        }
        match routed? {
            Route::Page => Ok(assets::page(self.login.is_on())),
            Route::File(asset) => Ok(asset.response()),
            Route::Login if method == Method::POST => self.log_in(headers, body, visit).await,
            Route::Login => Ok(self.login.form(uri)),
            Route::Logout => Ok(self.login.log_out(headers)),
            Route::Counters => self.counters(uri).await,
            Route::Counter(name) => self.counter(name, uri, headers, visit.now_ms).await,
            Route::Status => self.status(uri, visit.now_ms).await,
            Route::Live => self.live(method, uri, headers),
            Route::RemoteRead => self.remote_read(headers, body, visit.now_ms).await,
        }
    }

    /// The answer with what all have in common.
    fn finish(&self, answered: Result<Response<Body>, QueryError>, began: Instant) -> Response<Body> {
        let mut response = answered.unwrap_or_else(|refused| refused.response());
        for (name, value) in SECURITY_HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        self.metrics.query_requests_total.with_label_values(&[response.status().as_str()]).inc();
        self.metrics.query_request_seconds.observe(began.elapsed().as_secs_f64());
        response
    }

    async fn log_in<B>(&self, headers: &HeaderMap, body: &mut B, visit: Visit) -> Result<Response<Body>, QueryError>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        if is_of_another_site(headers) {
            return Err(QueryError::OtherSite);
        }
        Ok(self.login.log_in(&read_form(body).await?, headers, visit))
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
        let _lent = self.budget.lend(&question, &*self.store).await?;
        let answer = question.answer(&*self.store, &self.topic).await?;
        self.budget.keep(answer.response(headers)).await
    }

    async fn remote_read<B>(&self, headers: &HeaderMap, body: &mut B, now_ms: i64) -> Result<Response<Body>, QueryError>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let request = remote_read::request(headers, body).await?;
        let plan = remote_read::Plan::of(&self.counters, &request, now_ms)?;
        let _lent = self.budget.lend(&plan, &*self.store).await?;
        let answer = plan.answer(&*self.store, &self.topic).await?;
        self.budget.keep(remote_read::respond(&answer)).await
    }

    fn live(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Response<Body>, QueryError> {
        let params = Params::parse(uri.query(), &["counter", "window"])?;
        let name = params.get("counter").ok_or_else(|| QueryError::NoCounter(names_of(&self.counters)))?;
        let (counter_place, counter) = counter_of(&self.counters, name)?;
        let (window_place, _) = window_of(counter, params.get("window"))?;
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
        let mut response = http::text(StatusCode::OK, "text/event-stream", "");
        if method == Method::GET {
            *response.body_mut() = self.live.read((counter_place, window_place), last);
        }
        // What is between must hand each event on as it comes.
        response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }

    async fn status(&self, uri: &Uri, now_ms: i64) -> Result<Response<Body>, QueryError> {
        Params::parse(uri.query(), &[])?;
        let partitions = Partitions::read(&*self.store, &self.topic).await?;
        self.budget.keep(http::json(StatusCode::OK, &Status::of(&self.topic, &partitions, now_ms))).await
    }
}

impl Handler for Query {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let peer = request.extensions().get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| peer.ip());
        self.answer(request, Visit { peer, now_ms: clock::now_ms() }).await
    }
}

/// What a form holds; one that does not come is empty.
async fn read_form<B>(body: &mut B) -> Result<Bytes, QueryError>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Display,
{
    match receive(body, MOST_FORM_BYTES as u64, FORM_PATIENCE, |_| true).await {
        Err(Unreceived::TooLarge(_)) => Err(QueryError::TooLarge),
        form => Ok(form.unwrap_or_default()),
    }
}

impl Route<'_> {
    /// Whether it is for those who are not logged in, too.
    fn is_public(&self) -> bool {
        match self {
            Route::Login | Route::Logout => true,
            Route::File(asset) => asset.is_public(),
            _ => false,
        }
    }
}

fn route<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, QueryError> {
    let route = match path {
        "/" => Route::Page,
        "/login" => Route::Login,
        "/logout" => Route::Logout,
        "/api/v1/counters" => Route::Counters,
        "/api/v1/status" => Route::Status,
        "/api/v1/live" => Route::Live,
        "/api/v1/prometheus/read" => Route::RemoteRead,
        _ => match (path.strip_prefix("/api/v1/counters/"), Asset::at(path)) {
            (Some(name), _) => Route::Counter(name),
            (None, Some(asset)) => Route::File(asset),
            (None, None) => return Err(QueryError::NoSuchPath(path.to_owned())),
        },
    };
    let allowed = match &route {
        Route::RemoteRead | Route::Logout => "POST",
        Route::Login => "GET, HEAD, POST",
        _ => "GET, HEAD",
    };
    if allowed.split(", ").any(|allowed| allowed == method) { Ok(route) } else { Err(QueryError::Method(allowed)) }
}

#[cfg(test)]
mod tests;
