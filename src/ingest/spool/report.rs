//! What the spool says of itself: log lines, and the metrics that go with them.

use super::ladder::Why;
use super::{Spool, Stored};
use crate::clock::now_ms;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the numbers are brought up to date.
const REPORT: Duration = Duration::from_secs(1);

/// A time in which events go to the spool.
#[derive(Debug, Default)]
pub(super) struct Episode {
    begun: Option<Instant>,
    pub(super) forwarded: u64,
}

impl Spool {
    /// New events go to the spool from now on.
    pub(super) fn entered(&self, why: Why) {
        *self.episode() = Episode { begun: Some(Instant::now()), forwarded: 0 };
        self.metrics.spool_active.set(1);
        let (reason, waiting) = (why.text(), self.ladder().waiting());
        tracing::warn!(reason, waiting, path = %self.path().display(), "Kafka takes no events: they go to the spool");
    }

    /// New events go to the log again.
    pub(super) fn left(&self) {
        self.reported();
        let Episode { begun, forwarded } = std::mem::take(&mut *self.episode());
        let seconds = begun.map_or(0, |begun| begun.elapsed().as_secs());
        tracing::info!(forwarded, seconds, "the spool is empty: events go to Kafka again");
    }

    /// Events of an answer are stored.
    pub(super) fn count(&self, on: Stored, events: u64) {
        self.metrics.ingest_stored_events_total.with_label_values(&[on.name()]).inc_by(events);
    }

    /// Keeps the numbers up to date.
    pub(super) async fn report(&self) {
        loop {
            self.reported();
            tokio::time::sleep(REPORT).await;
        }
    }

    pub(super) fn reported(&self) {
        let (waiting, direct) = {
            let ladder = self.ladder();
            (ladder.waiting(), ladder.is_direct())
        };
        let bytes = if waiting > 0 { self.queue.used_bytes() } else { 0 };
        let oldest_ms = self.oldest_ms.load(Ordering::Relaxed);
        let age_ms = if waiting > 0 && oldest_ms > 0 { (now_ms() - oldest_ms).max(0) } else { 0 };
        self.metrics.spool_active.set(i64::from(!direct));
        self.metrics.spool_waiting_events.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.metrics.spool_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.metrics.spool_oldest_seconds.set(age_ms as f64 / 1_000.0);
    }
}
