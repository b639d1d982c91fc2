use super::batch::{Batch, Fault};
use super::in_flight::InFlight;
use super::intake::{Asked, Intake};
use super::news;
use super::reject::Reject;
use super::sites::SiteError;
use super::spool::{NotStored, Spool};
use super::tracker::Tracker;
use super::{Config, Counts, Site, cors};
use crate::clock::now_ms;
use crate::http::{self, Body, Handler, discard, receive};
use crate::log::{EventLog, LogError, NewRecord, Stored};
use crate::tail::Desk;
use crate::telemetry::{Metrics, TRACEPARENT, TraceParent};
use crate::visitor::Salts;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use prometheus::IntCounter;
use serde::Serialize;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A body of more bytes than this is read on a thread of its own: it takes a millisecond or more, in which other
/// requests want to be served.
const LARGE_BYTES: usize = 256 * 1024;
/// After this time no acknowledgement is waited for. A log has time-outs of its own, and they are shorter.
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Takes events: the write side's [`Handler`].
pub struct Ingest {
    intake: Arc<Intake>,
    log: Arc<dyn EventLog>,
    spool: Option<Arc<Spool>>,
    metrics: Arc<Metrics>,
    usual: Usual,
    in_flight: InFlight,
    tracker: Tracker,
    pub(super) append_timeout: Duration,
}

/// What nearly every request counts, looked up once.
struct Usual {
    answered_202: IntCounter,
    accepted: IntCounter,
    stored: IntCounter,
}

impl Usual {
    fn of(metrics: &Metrics, log: &dyn EventLog) -> Usual {
        Usual {
            answered_202: metrics.ingest_requests_total.with_label_values(&[StatusCode::ACCEPTED.as_str()]),
            accepted: metrics.ingest_events_total.with_label_values(&["accepted"]),
            stored: metrics.ingest_stored_events_total.with_label_values(&[log.stored().name()]),
        }
    }
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
    /// Appends to this log; `counts` says what a dry run is told. The configuration has been validated.
    ///
    /// # Errors
    /// When the write keys of a site cannot be read or used.
    pub fn new(
        config: Config,
        sites: &[Site],
        counts: Counts,
        log: Arc<dyn EventLog>,
        metrics: Arc<Metrics>,
    ) -> Result<Ingest, SiteError> {
        let in_flight = InFlight::new(config.max_in_flight.0, metrics.ingest_in_flight_bytes.clone());
        let intake = Arc::new(Intake::new(config, sites, counts)?);
        let usual = Usual::of(&metrics, &*log);
        let tracker = Tracker::new();
        Ok(Ingest { intake, log, spool: None, metrics, usual, in_flight, tracker, append_timeout: APPEND_TIMEOUT })
    }

    /// The same, but what the log does not take goes to this spool.
    pub fn with_spool(self, spool: Option<Arc<Spool>>) -> Ingest {
        Ingest { spool, ..self }
    }

    /// Who is told of what comes in, for the live tail.
    pub fn tail(&self) -> Arc<Desk> {
        Arc::clone(&self.intake.tail)
    }

    /// The salts that ids of visitors are made with, to be filled.
    pub fn salts(&self) -> Arc<Salts> {
        Arc::clone(&self.intake.salts)
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
        let pages = self.intake.sites.pages();
        let origin = pages.asked(request.headers());
        let mut may_read = is_ours;
        let mut response = match self.route(request, trace).await {
            Ok(response) => response,
            Err(reject) => {
                may_read &= !matches!(reject, Reject::Origin);
                self.metrics.ingest_refused_requests_total.with_label_values(&[reject.reason().label()]).inc();
                // A client's mistake is told to the client; for us it is a number.
                let (status, trace_id) = (reject.status().as_u16(), trace.as_ref().map(TraceParent::trace_id));
                tracing::debug!(status, reason = %reject, trace_id, "request refused");
                reject.response()
            }
        };
        if may_read {
            cors::allow(pages, origin, response.headers_mut());
        }
        match response.status() {
            StatusCode::ACCEPTED => self.usual.answered_202.inc(),
            other => self.metrics.ingest_requests_total.with_label_values(&[other.as_str()]).inc(),
        }
        self.metrics.ingest_request_seconds.observe(begun.elapsed().as_secs_f64());
        response
    }

    async fn route<B>(&self, request: Request<B>, trace: Option<TraceParent>) -> Result<Response<Body>, Reject>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let (head, mut body) = request.into_parts();
        if let Some(file) = self.tracker.answer(&head) {
            discard(&head.headers, body).await;
            return Ok(file);
        }
        let result = match (head.uri.path(), &head.method) {
            ("/events", &Method::POST) => self.post(&head, &mut body, trace).await,
            ("/events", &Method::OPTIONS) => Ok(cors::preflight()),
            ("/events", _) => Err(Reject::Method),
            _ => Err(Reject::NotFound),
        };
        if let Err(reject) = &result {
            news::request(&self.intake, &head, reject, now_ms());
        }
        if result.as_ref().is_err_and(Reject::leaves_body) {
            discard(&head.headers, body).await;
        }
        result
    }

    async fn post<B>(&self, head: &Parts, body: &mut B, trace: Option<TraceParent>) -> Result<Response<Body>, Reject>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let asked = self.intake.head(head, trace)?;
        let limits = &self.intake.config;
        let mut held = self.in_flight.begin();
        let mut body = receive(body, limits.max_body.0, limits.body_timeout, |bytes| held.take(bytes)).await?;
        if let Some(encoding) = asked.encoding {
            body = encoding.inflate(&body, limits.max_inflated.0, |bytes| held.take(bytes)).await?;
        }
        let received_ms = now_ms();
        if asked.dry_run {
            return self.rehearse(body, asked, received_ms).await;
        }
        let batch = self.read(body, asked, received_ms).await?;
        self.store(batch, received_ms, trace).await
    }

    /// Reads a body, and counts what is wrong in it.
    async fn read(&self, body: Bytes, asked: Asked, received_ms: i64) -> Result<Batch, Reject> {
        let trace = asked.trace;
        let read = self.apart(body.len(), move |intake| intake.body(&body, &asked, received_ms)).await;
        let faults = match &read {
            Ok(batch) => &batch.faults[..],
            Err(Reject::NothingAccepted(faults)) => faults,
            Err(_) => &[],
        };
        if !faults.is_empty() {
            self.count("rejected", faults.len());
        }
        for fault in faults {
            self.metrics.ingest_refused_events_total.with_label_values(&[fault.reason.label()]).inc();
        }
        if let (Some(fault), true) = (faults.first(), read.is_ok()) {
            let (events, trace_id) = (faults.len(), trace.as_ref().map(TraceParent::trace_id));
            tracing::debug!(events, first = fault.error, trace_id, "events of a request refused");
        }
        read
    }

    /// Answers what would become of the events, and leaves no trace of them.
    async fn rehearse(&self, body: Bytes, asked: Asked, received_ms: i64) -> Result<Response<Body>, Reject> {
        let work = move |intake: &Intake| {
            let batch = intake.body(&body, &asked, received_ms)?;
            Ok(http::json(StatusCode::OK, &intake.rehearse(batch, received_ms)))
        };
        // An event takes ten times as long as one that is only read.
        self.apart(usize::MAX, work).await
    }

    /// Does what takes its time with a large body where nobody waits for it.
    async fn apart<T: Send + 'static>(&self, bytes: usize, work: impl FnOnce(&Intake) -> T + Send + 'static) -> T {
        if bytes <= LARGE_BYTES {
            return work(&self.intake);
        }
        let intake = Arc::clone(&self.intake);
        match tokio::task::spawn_blocking(move || work(&intake)).await {
            Ok(done) => done,
            // A panic goes on here, where it is caught and answered. The runtime cancels nothing that has begun.
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }

    async fn store(
        &self,
        batch: Batch,
        received_ms: i64,
        trace: Option<TraceParent>,
    ) -> Result<Response<Body>, Reject> {
        let Batch { records, event_ids, faults, lacks_visitor } = batch;
        let sample = news::sample(&self.intake.tail, &records, received_ms);
        fail::fail_point!("append", |_| std::process::abort());
        let stored = timeout(self.append_timeout, self.keep(records)).await;
        let stored = stored.unwrap_or(Err(NotStored::Unanswered));
        let stored = stored.map_err(|why| self.not_stored(event_ids.len(), &why, trace))?;
        fail::fail_point!("appended", |_| std::process::abort());
        self.usual.accepted.inc_by(event_ids.len() as u64);
        if lacks_visitor {
            self.metrics.ingest_visitor_missing_total.inc_by(event_ids.len() as u64);
        }
        if let Some(sample) = sample {
            sample.stored(&self.intake.tail, now_ms());
        }
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
        let events = records.len() as u64;
        self.log.append(records).await?;
        self.usual.stored.inc_by(events);
        Ok(self.log.stored())
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
