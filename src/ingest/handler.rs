use super::batch::{Batch, Fault, Taking};
use super::body::{Format, split};
use super::in_flight::InFlight;
use super::reject::Reject;
use super::spool::{NotStored, Spool};
use super::{Config, cors};
use crate::clock::now_ms;
use crate::http::{self, Body, Handler, discard, receive};
use crate::log::{EventLog, LogError, NewRecord, Stored};
use crate::telemetry::{Metrics, TRACEPARENT, TraceParent};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// After this time no acknowledgement is waited for. A log has time-outs of its own, and they are shorter.
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Takes events: the write side's [`Handler`].
pub struct Ingest {
    config: Config,
    log: Arc<dyn EventLog>,
    spool: Option<Arc<Spool>>,
    metrics: Arc<Metrics>,
    in_flight: InFlight,
    pub(super) append_timeout: Duration,
}

/// What became of a request's events.
#[derive(Debug, Serialize)]
struct Taken {
    accepted: usize,
    rejected: usize,
    stored: &'static str,
    event_ids: Vec<String>,
    errors: Vec<Fault>,
}

impl Ingest {
    /// Appends to this log. The configuration has been validated.
    pub fn new(config: Config, log: Arc<dyn EventLog>, metrics: Arc<Metrics>) -> Ingest {
        let in_flight = InFlight::new(config.max_in_flight.0, metrics.ingest_in_flight_bytes.clone());
        Ingest { config, log, spool: None, metrics, in_flight, append_timeout: APPEND_TIMEOUT }
    }

    /// The same, but what the log does not take goes to this spool.
    pub fn with_spool(self, spool: Option<Arc<Spool>>) -> Ingest {
        Ingest { spool, ..self }
    }

    /// Answers one request, and counts it.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let begun = Instant::now();
        let is_ours = request.uri().path() == "/events";
        let trace = trace_of(request.headers());
        let mut response = match self.route(request, trace).await {
            Ok(response) => response,
            Err(reject) => {
                // A client's mistake is told to the client; for us it is a number.
                let (status, trace_id) = (reject.status().as_u16(), trace.as_ref().map(TraceParent::trace_id));
                tracing::debug!(status, reason = %reject, trace_id, "request refused");
                reject.response()
            }
        };
        if is_ours {
            cors::allow(response.headers_mut());
        }
        self.metrics.ingest_requests_total.with_label_values(&[response.status().as_str()]).inc();
        self.metrics.ingest_request_seconds.observe(begun.elapsed().as_secs_f64());
        response
    }

    async fn route<B>(&self, request: Request<B>, trace: Option<TraceParent>) -> Result<Response<Body>, Reject>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let (head, mut body) = request.into_parts();
        let result = match (head.uri.path(), head.method) {
            ("/events", Method::POST) => self.post(&head.headers, &mut body, trace).await,
            ("/events", Method::OPTIONS) => Ok(cors::preflight()),
            ("/events", _) => Err(Reject::Method),
            _ => Err(Reject::NotFound),
        };
        if result.as_ref().is_err_and(Reject::leaves_body) {
            discard(&head.headers, body).await;
        }
        result
    }

    async fn post<B>(
        &self,
        headers: &HeaderMap,
        body: &mut B,
        trace: Option<TraceParent>,
    ) -> Result<Response<Body>, Reject>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let format = Format::of(headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes))?;
        if headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(Reject::ContentEncoding);
        }
        let mut held = self.in_flight.begin();
        let body = receive(body, self.config.max_body.0, self.config.body_timeout, |bytes| held.take(bytes)).await?;
        let batch = self.read(&body, format, now_ms(), trace)?;
        self.store(batch, trace).await
    }

    fn read(&self, body: &[u8], format: Format, now_ms: i64, trace: Option<TraceParent>) -> Result<Batch, Reject> {
        let events = split(body, format)?;
        if events.len() > self.config.max_events {
            return Err(Reject::TooManyEvents { found: events.len(), most: self.config.max_events });
        }
        let taking = Taking { key: self.config.key.key(), max_event: self.config.max_event.0, now_ms, trace };
        let batch = Batch::of(&events, taking);
        self.count("rejected", batch.faults.len());
        if let (Some(fault), false) = (batch.faults.first(), batch.records.is_empty()) {
            let (events, trace_id) = (batch.faults.len(), trace.as_ref().map(TraceParent::trace_id));
            tracing::debug!(events, first = fault.error, trace_id, "events of a request refused");
        }
        if batch.records.is_empty() { Err(Reject::NothingAccepted(batch.faults)) } else { Ok(batch) }
    }

    async fn store(&self, batch: Batch, trace: Option<TraceParent>) -> Result<Response<Body>, Reject> {
        let Batch { records, event_ids, faults } = batch;
        fail::fail_point!("append", |_| std::process::abort());
        let stored = timeout(self.append_timeout, self.keep(records)).await;
        let stored = stored.unwrap_or(Err(NotStored::Unanswered));
        let stored = stored.map_err(|why| self.not_stored(event_ids.len(), &why, trace))?;
        fail::fail_point!("appended", |_| std::process::abort());
        self.count("accepted", event_ids.len());
        let taken = Taken {
            accepted: event_ids.len(),
            rejected: faults.len(),
            stored: stored.name(),
            event_ids,
            errors: faults,
        };
        Ok(http::json(StatusCode::ACCEPTED, &taken))
    }

    /// Stores the records, and says on what.
    async fn keep(&self, records: Vec<NewRecord>) -> Result<Stored, NotStored> {
        if let Some(spool) = &self.spool {
            return spool.store(records).await;
        }
        let (events, stored) = (records.len() as u64, self.log.stored());
        self.log.append(records).await?;
        self.metrics.ingest_stored_events_total.with_label_values(&[stored.name()]).inc_by(events);
        Ok(stored)
    }

    /// Nobody acknowledged the events. Why is for the operator; the client is told to try again, unless that were in
    /// vain.
    fn not_stored(&self, events: usize, why: &NotStored, trace: Option<TraceParent>) -> Reject {
        self.count("failed", events);
        let trace_id = trace.as_ref().map(TraceParent::trace_id);
        tracing::warn!(events, reason = %why, trace_id, "events not stored");
        match why {
            NotStored::Log(LogError::TooLarge) => Reject::EventTooLarge,
            _ => Reject::NotStored,
        }
    }

    fn count(&self, result: &str, events: usize) {
        self.metrics.ingest_events_total.with_label_values(&[result]).inc_by(events as u64);
    }
}

impl Handler for Ingest {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        self.answer(request).await
    }
}

/// The trace that a request belongs to, if it says so in one valid header.
fn trace_of(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { TraceParent::parse(first.as_bytes()) }
}
