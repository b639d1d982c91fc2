//! What the pipeline says of itself: each notable event is one function, its metric and its log line together.

use super::Shared;
use super::partition::Partition;
use crate::counter::{Dedupe, Outcome, Segment};
use crate::log::DeadLetter;
use crate::store::{PartitionFlush, StoreError};
use crate::telemetry::{Role, TraceParent};
use crate::window::Watermark;

/// Most lines about single dead letters of a batch: a flood of them is one matter, not thousands.
const TRACED_LINES: usize = 20;

impl Shared {
    pub(super) fn report_ready(&self) {
        self.readiness.ready(Role::Process);
    }

    pub(super) fn report_not_ready(&self, reason: &str) {
        self.readiness.not_ready(Role::Process, reason);
    }

    pub(super) fn report_log_error(&self, what: &str, error: &str) {
        self.metrics.log_errors_total.inc();
        tracing::warn!(error, "{what}");
    }

    pub(super) fn report_stopped(&self, partition: i32, reason: &str) {
        tracing::error!(partition, reason, "partition stopped");
        self.report_not_ready(&format!("partition {partition} is stopped: {reason}"));
    }

    pub(super) fn report_stalled(&self, partition: i32, for_ms: i64, waits_for: String) {
        tracing::warn!(partition, for_seconds = for_ms / 1_000, waits_for, "partition does not get on");
    }

    pub(super) fn report_stalling(&self, partition: i32, stalls: bool) {
        self.metrics.partition_stalled.with_label_values(&[&partition.to_string()]).set(i64::from(stalls));
    }

    pub(super) fn report_flush_failed(&self, error: &StoreError) {
        self.metrics.flush_failures_total.inc();
        tracing::warn!(%error, pending_cells = self.registry.pending_cells(), "flush failed; it is tried again");
        self.report_not_ready(&error.to_string());
    }

    pub(super) fn report_flushed(&self, now_ms: i64) {
        self.metrics.last_flush_timestamp_seconds.set(seconds(now_ms));
    }

    pub(super) fn report_conflict(&self, shard: u32, parts: &[PartitionFlush], stored: &[(i32, Option<i64>)]) {
        self.metrics.flush_conflicts_total.inc();
        for part in parts {
            let now = stored.iter().find(|(id, _)| *id == part.partition).and_then(|(_, offset)| *offset);
            if now != part.expected {
                let (partition, expected) = (part.partition, part.expected);
                tracing::warn!(shard, partition, ?expected, stored = ?now, "the store is at another offset");
            }
        }
    }

    /// A segment is in the store.
    pub(super) fn report_counted(&self, segment: &Segment, now_ms: i64) {
        for outcome in Outcome::ALL {
            let of = self.metrics.processed_events_total.with_label_values(&[outcome.name()]);
            of.inc_by(segment.ledger.of(outcome));
        }
        self.metrics.consumed_records_total.inc_by(segment.ledger.consumed);
        self.metrics.skipped_offsets_total.inc_by(segment.ledger.skipped);
        self.metrics.lost_records_total.inc_by(segment.ledger.lost);
        for (counter, events) in self.counters.iter().zip(&segment.counter_events) {
            self.metrics.counter_events_total.with_label_values(&[counter.name()]).inc_by(*events);
        }
        for (counter, events) in self.counters.iter().zip(&segment.unmeasured) {
            self.metrics.unmeasured_events_total.with_label_values(&[counter.name()]).inc_by(*events);
        }
        if let Some(received_ms) = segment.oldest_received_ms {
            self.metrics.freshness_seconds.observe(seconds(now_ms - received_ms).max(0.0));
        }
    }

    /// Dead letters are stored: one line for all of them, and one for each that a trace leads to.
    pub(super) fn report_dead_letters(&self, first: &DeadLetter, letters: &[DeadLetter]) {
        self.metrics.dead_letters_total.inc_by(letters.len() as u64);
        let DeadLetter { partition, offset, error, .. } = first;
        let trace = first.trace();
        let trace_id = trace.as_ref().map(TraceParent::trace_id);
        tracing::warn!(partition, offset, letters = letters.len(), error, trace_id, "dead letters stored");
        let traced = letters[1..].iter().filter_map(|letter| Some((letter, letter.trace()?)));
        for (letter, trace) in traced.take(TRACED_LINES) {
            let (DeadLetter { partition, offset, error, .. }, trace_id) = (letter, trace.trace_id());
            tracing::warn!(partition, offset, error, trace_id, "dead letter stored");
        }
    }

    /// How all partitions are, after each flush.
    pub(super) fn report_partitions(&self, now_ms: i64) {
        let (mut unaccounted, mut lowest) = (0, None::<Watermark>);
        for id in self.registry.ids() {
            self.registry.look(id, |partition| {
                unaccounted += partition.unaccounted();
                lowest = Some(lowest.map_or(partition.watermark(), |low| low.min(partition.watermark())));
                self.report_partition(partition, now_ms);
            });
        }
        self.metrics.pending_cells.set(gauge(self.registry.pending_cells() as u64));
        self.metrics.unaccounted_events.set(gauge(unaccounted));
        if let Some(ms) = lowest.and_then(Watermark::ms) {
            self.metrics.watermark_delay_seconds.set(seconds(now_ms - ms));
        }
    }

    fn report_partition(&self, partition: &Partition, now_ms: i64) {
        let id = partition.id().to_string();
        let label = [id.as_str()];
        self.metrics.partition_stopped.with_label_values(&label).set(i64::from(partition.stopped().is_some()));
        self.metrics.partition_paused.with_label_values(&label).set(i64::from(partition.is_paused()));
        let Some(lag) = partition.lag_records() else { return };
        self.metrics.consumer_lag_records.with_label_values(&label).set(lag);
        let age = partition.stored_watermark().ms().map_or(0.0, |watermark| seconds(now_ms - watermark).max(0.0));
        self.metrics.consumer_lag_seconds.with_label_values(&label).set(if lag == 0 { 0.0 } else { age });
    }

    pub(super) fn report_dedupe(&self, partition: i32, dedupe: &Dedupe) {
        let reach = seconds(dedupe.reaches_back_ms());
        self.metrics.dedupe_horizon_seconds.with_label_values(&[&partition.to_string()]).set(reach);
    }

    /// The partition is another's now: its gauges are not ours to show.
    pub(super) fn forget(&self, partition: i32) {
        let id = partition.to_string();
        let label = [id.as_str()];
        // A label that was never set cannot be removed, which is fine.
        let _ = self.metrics.partition_stopped.remove_label_values(&label);
        let _ = self.metrics.partition_stalled.remove_label_values(&label);
        let _ = self.metrics.partition_paused.remove_label_values(&label);
        let _ = self.metrics.consumer_lag_records.remove_label_values(&label);
        let _ = self.metrics.dedupe_horizon_seconds.remove_label_values(&label);
        let _ = self.metrics.consumer_lag_seconds.remove_label_values(&label);
    }

    pub(super) fn report_undrained(&self) {
        tracing::warn!(
            pending_cells = self.registry.pending_cells(),
            "the shutdown's time is over before all counts were flushed; the log has them, they are counted at the \
             next start"
        );
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
