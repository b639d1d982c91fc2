//! Takes what waits in the spool over to the log, in order, and deletes it.

use super::Spool;
use super::parcel::Parcel;
use crate::clock::now_ms;
use crate::log::{DeadLetter, LogError, NewRecord, Queued};
use crate::retry::Backoff;
use crate::shutdown::Shutdown;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes of a batch: half of what the client's queue holds would do as well.
const BATCH_BYTES: usize = 4 << 20;
/// How often to look whether the log is there again, when nobody says so.
const LOOK: Duration = Duration::from_millis(500);
/// Where a dead letter of the spool came from: from no partition, for it never got into one.
const NO_PARTITION: i32 = -1;

impl Spool {
    /// Forwards until the shutdown begins.
    pub(super) async fn forward(&self, shutdown: &Shutdown) {
        let (mut failures, mut ahead) = (0, Vec::new());
        while !shutdown.has_begun() {
            if self.ladder().is_direct() {
                self.idle().await;
                continue;
            }
            let look = self.ladder().look(self.now(), self.logs.direct.is_away());
            let batch = match std::mem::take(&mut ahead) {
                read if read.is_empty() => self.front(self.position.load(Ordering::Acquire)).await,
                read => Ok(read),
            };
            match batch {
                Ok(batch) if batch.is_empty() => {
                    failures = 0;
                    let over = self.ladder().found_nothing(look);
                    if over {
                        self.left();
                        self.changed.notify_waiters();
                    } else {
                        self.idle().await;
                    }
                }
                Ok(batch) => {
                    failures = 0;
                    ahead = self.take_over(batch).await;
                }
                Err(error) => {
                    failures += 1;
                    self.held_up("the spool cannot be read", &error, failures);
                    tokio::time::sleep(Backoff::AWAY.after(failures)).await;
                }
            }
        }
    }

    /// Waits until there may be something to do.
    async fn idle(&self) {
        self.oldest_ms.store(0, Ordering::Relaxed);
        // It fails when the time is over: then it is looked at all the same.
        let _ = tokio::time::timeout(LOOK, self.work.notified()).await;
        self.ask().await;
    }

    /// Asks the log whether it is there again, if it was away: nobody else may ask.
    async fn ask(&self) {
        if self.logs.direct.is_away() {
            // What it answers is seen by `is_away`.
            drop(self.logs.direct.ready().await);
        }
    }

    async fn front(&self, from: i64) -> Result<Vec<Queued>, LogError> {
        self.queue.front(from, usize::try_from(self.batch).unwrap_or(usize::MAX), BATCH_BYTES).await
    }

    /// Brings a batch into the log, notes that, and deletes it, however long it takes. Returns what was read meanwhile of
    /// the next one; nothing says nothing.
    async fn take_over(&self, batch: Vec<Queued>) -> Vec<Queued> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Vec::new() };
        self.oldest_ms.store(first.time_ms.unwrap_or(0), Ordering::Relaxed);
        let (events, below) = (batch.len() as u64, last.offset + 1);
        let more = self.ladder().waiting() > events;
        let next = async { if more { self.front(below).await.unwrap_or_default() } else { Vec::new() } };
        let ((), next) = tokio::join!(self.hand_over(Parcel::new(batch)), next);
        fail::fail_point!("spool-forwarded", |_| std::process::abort());
        let mut failures = 0;
        while let Err(error) = self.queue.release(below).await {
            failures += 1;
            // Before it is noted nothing else is forwarded: it would be forwarded again after a restart, out of order.
            self.held_up("the spool cannot be written", &error, failures);
            tokio::time::sleep(Backoff::AWAY.after(failures)).await;
        }
        fail::fail_point!("spool-released", |_| std::process::abort());
        self.position.store(below, Ordering::Release);
        self.ladder().forwarded(events);
        self.episode().forwarded += events;
        self.metrics.spool_forwarded_events_total.inc_by(events);
        self.ask().await;
        next
    }

    /// Hands a batch to the log until it has all of it, but for what it will never take.
    async fn hand_over(&self, mut parcel: Parcel) {
        let mut failures = 0;
        loop {
            let part = parcel.next();
            let handed_over = part.len();
            if handed_over == 0 {
                return;
            }
            fail::fail_point!("spool-forward", |_| std::process::abort());
            let (places, records): (Vec<_>, Vec<_>) = part.into_iter().map(taken_apart).unzip();
            let Err(unstored) = self.logs.forward.try_append(&records).await else {
                parcel.stored();
                failures = 0;
                continue;
            };
            let left = unstored.of(places).into_iter().zip(unstored.of(records)).map(put_together).collect();
            if matches!(unstored.error, LogError::TooLarge) {
                if let Some(alone) = parcel.too_large(handed_over, left) {
                    self.bury(alone).await;
                }
            } else {
                failures += 1;
                self.held_up("events of the spool were not acknowledged", &unstored.error, failures);
                parcel.failed(left);
                tokio::time::sleep(Backoff::AWAY.after(failures)).await;
            }
        }
    }

    /// Keeps a record as a dead letter that the log takes in no case.
    async fn bury(&self, queued: Queued) {
        let Queued { offset, time_ms, record } = queued;
        let letter = DeadLetter {
            partition: NO_PARTITION,
            offset,
            time_ms,
            key: record.key,
            value: record.value,
            headers: record.headers,
            error: format!("ingest's spool: {}", LogError::TooLarge),
            attempts: 1,
            failed_at_ms: now_ms(),
        };
        let mut failures = 0;
        while let Err(error) = self.logs.forward.dead_letters(std::slice::from_ref(&letter)).await {
            failures += 1;
            self.held_up("a dead letter of the spool was not stored", &error, failures);
            tokio::time::sleep(Backoff::AWAY.after(failures)).await;
        }
        self.metrics.spool_dead_letters_total.inc();
        let bytes = letter.bytes();
        tracing::error!(
            bytes,
            error = letter.error,
            "an event of the spool is too large for Kafka: kept as a dead letter"
        );
    }

    /// The forwarder does not get on: new events need not wait for it. It goes on trying, but says so ever less often.
    fn held_up(&self, what: &str, error: &LogError, failures: u32) {
        self.ladder().held_up();
        self.changed.notify_waiters();
        self.metrics.spool_forward_failures_total.inc();
        if failures.is_power_of_two() {
            tracing::warn!(%error, failures, "{what}; tried again");
        }
    }
}

/// A record, and what is only ours of it.
type Apart = ((i64, Option<i64>), NewRecord);

fn taken_apart(queued: Queued) -> Apart {
    ((queued.offset, queued.time_ms), queued.record)
}

fn put_together(((offset, time_ms), record): Apart) -> Queued {
    Queued { offset, time_ms, record }
}
