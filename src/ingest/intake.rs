//! What is decided about a request, from its head and from its body. No I/O, and told the time.

use super::batch::{Batch, Taking};
use super::dry_run::{Counts, Rehearsal};
use super::format::Format;
use super::inflate::Encoding;
use super::parameter::is_dry_run;
use super::reject::Reject;
use super::Config;
use crate::telemetry::TraceParent;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;

/// What the head of a request asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) format: Format,
    /// How the body is compressed, if it is.
    pub(super) encoding: Option<Encoding>,
    /// Nothing is to be stored.
    pub(super) dry_run: bool,
    /// The trace that the request belongs to.
    pub(super) trace: Option<TraceParent>,
}

/// The rules of the door.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) config: Config,
    counts: Counts,
}

impl Intake {
    pub(super) fn new(config: Config, counts: Counts) -> Intake {
        Intake { config, counts }
    }

    /// Reads the head of a request that brings events.
    ///
    /// # Errors
    /// When its body is not wanted.
    pub(super) fn head(&self, head: &Parts, trace: Option<TraceParent>) -> Result<Asked, Reject> {
        let dry_run = is_dry_run(head.uri.query())?;
        let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let format = Format::of(content_type).ok_or(Reject::ContentType)?;
        Ok(Asked { format, encoding: Encoding::of(&head.headers)?, dry_run, trace })
    }

    /// Reads a body that was received, and inflated, at this time.
    ///
    /// # Errors
    /// When nothing in it can be taken.
    pub(super) fn body(&self, body: &[u8], asked: &Asked, now_ms: i64) -> Result<Batch, Reject> {
        let content = asked.format.read(body)?;
        let (found, most) = (content.events.len(), self.config.max_events);
        if found > most {
            return Err(Reject::TooManyEvents { found, most });
        }
        let max_event = self.config.max_event.0;
        let taking = Taking { key: self.config.key.key(), max_event, now_ms, trace: asked.trace };
        let batch = Batch::of(&content.events, taking);
        if batch.records.is_empty() { Err(Reject::NothingAccepted(batch.faults)) } else { Ok(batch) }
    }

    /// What would become of a batch.
    pub(super) fn rehearse(&self, batch: Batch, now_ms: i64) -> Rehearsal {
        Rehearsal::of(batch, &self.counts, now_ms)
    }
}
