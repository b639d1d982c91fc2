//! What a worker counts and says, each in one place.

use super::{Failure, Message};
use crate::telemetry::{Metrics, TraceParent};
use prometheus::{Histogram, IntCounter, IntGauge};
use std::sync::Arc;
use std::time::Duration;

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    Handled,
    Duplicate,
    Skipped,
    DeadLettered,
}

/// The metrics of one consumer group, looked up once.
pub(super) struct Meters {
    pub(super) metrics: Arc<Metrics>,
    pub(super) group: String,
    finished: [IntCounter; 4],
    pub(super) handler_seconds: Histogram,
    pub(super) in_flight: IntGauge,
    breaker_open: IntGauge,
    lost: IntCounter,
}

const RESULTS: [&str; 4] = ["handled", "duplicate", "skipped", "dead_lettered"];
const KINDS: [&str; 5] = ["retryable", "permanent", "timeout", "panic", "unavailable"];

impl Meters {
    pub(super) fn new(metrics: Arc<Metrics>, group: &str) -> Meters {
        for kind in KINDS {
            metrics.worker_failures_total.with_label_values(&[group, kind]);
        }
        Meters {
            group: group.to_owned(),
            finished: RESULTS.map(|result| metrics.worker_events_total.with_label_values(&[group, result])),
            handler_seconds: metrics.worker_handler_seconds.with_label_values(&[group]),
            in_flight: metrics.worker_in_flight.with_label_values(&[group]),
            breaker_open: metrics.worker_breaker_open.with_label_values(&[group]),
            lost: metrics.worker_lost_records_total.with_label_values(&[group]),
            metrics,
        }
    }

    pub(super) fn finished(&self, how: Finished, messages: u64) {
        self.finished[how as usize].inc_by(messages);
    }

    /// An attempt failed.
    pub(super) fn failed(&self, kind: &str) {
        self.metrics.worker_failures_total.with_label_values(&[&self.group, kind]).inc();
    }

    /// A message is tried again after a wait.
    pub(super) fn again(&self, message: &Message, failures: u32, cause: &Cause, wait: Duration) {
        let kind = cause.kind();
        let trace = message.trace();
        let trace_id = trace.as_ref().map(TraceParent::trace_id);
        let reason = cause.reason();
        tracing::warn!(group = self.group, ?message, failures, kind, reason, ?wait, trace_id, "handled again later");
    }

    /// A message is given up: its dead letter is stored.
    pub(super) fn buried(&self, message: &Message, attempts: u32, reason: &str) {
        let trace = message.trace();
        let trace_id = trace.as_ref().map(TraceParent::trace_id);
        tracing::warn!(group = self.group, ?message, attempts, reason, trace_id, "dead letter stored");
    }

    /// A dead letter is not stored yet.
    pub(super) fn not_buried(&self, message: &Message, attempt: u32, error: &impl std::fmt::Display) {
        self.metrics.dead_letter_retries_total.inc();
        tracing::warn!(group = self.group, ?message, attempt, %error, "the dead letter is not stored yet");
    }

    /// Something that every message needs is away.
    pub(super) fn unavailable(&self, message: &Message, reason: &str, opened: bool) {
        if opened {
            self.breaker_open.inc();
            tracing::warn!(group = self.group, ?message, reason, "unavailable: the topic waits");
        } else {
            tracing::debug!(group = self.group, ?message, reason, "still unavailable");
        }
    }

    /// It is back.
    pub(super) fn available(&self) {
        self.breaker_open.dec();
        tracing::info!(group = self.group, "available again: the topic goes on");
    }

    /// Nobody can tell here any more whether it is: there is no partition left.
    pub(super) fn breaker_at_rest(&self) {
        self.breaker_open.dec();
    }

    /// Records were gone before this group had read them.
    pub(super) fn lost(&self, partition: i32, committed: i64, start: i64) {
        self.lost.inc_by((start - committed).unsigned_abs());
        let group = &self.group;
        tracing::error!(group, partition, committed, start, "records are gone that were never handled: goes on behind");
    }
}

/// Why an attempt is repeated.
#[derive(Debug)]
pub(super) enum Cause {
    Handler(Failure),
    TimedOut(Duration),
    Panicked(String),
}

impl Cause {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Cause::Handler(_) => "retryable",
            Cause::TimedOut(_) => "timeout",
            Cause::Panicked(_) => "panic",
        }
    }

    /// For people.
    pub(super) fn reason(&self) -> String {
        match self {
            Cause::Handler(failure) => failure.to_string(),
            Cause::TimedOut(limit) => format!("the handler did not end within {limit:?}"),
            Cause::Panicked(said) => format!("the handler panicked: {said}"),
        }
    }
}
