//! Takes what waits in the spool over to the log, in order, and deletes it.

use super::Spool;
use super::ladder::Look;
use super::parcel::Parcel;
use crate::clock::now_ms;
use crate::log::{self, DeadLetter, LogError, NewRecord, Queued};
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

/// Events that the log has, and that the spool still holds.
struct Handed {
    events: u64,
    /// Behind the last of them.
    below: i64,
}

impl Spool {
    /// Forwards until the shutdown begins.
    pub(super) async fn forward(&self, shutdown: &Shutdown) {
        let (mut failures, mut ahead, mut handed) = (0, Vec::new(), None);
        while !shutdown.has_begun() {
            if self.ladder().is_direct() {
                self.idle().await;
                continue;
            }
            let look = self.ladder().look(self.now(), self.logs.direct.is_away());
            let read = match std::mem::take(&mut ahead) {
                read if read.is_empty() => self.front(&handed).await,
                read => Ok(read),
            };
            match read {
                Ok(batch) if !batch.is_empty() => (ahead, handed) = self.take_over(batch, handed).await,
                // Before anything is done that may take long, or lets events go past the spool.
                Ok(_) if handed.is_some() => self.release(handed.take()).await,
                Ok(_) if self.found_nothing(look) => {}
                Ok(_) => self.idle().await,
                Err(error) => {
                    failures += 1;
                    self.held_up("the spool cannot be read", &error, failures);
                    tokio::time::sleep(Backoff::AWAY.after(failures)).await;
                    continue;
                }
            }
            failures = 0;
        }
        self.release(handed).await;
    }

    /// Whether that was the last look: events go to the log again.
    fn found_nothing(&self, look: Look) -> bool {
        let over = self.ladder().found_nothing(look);
        if over {
            self.left();
            self.changed.notify_waiters();
        }
        over
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

    /// The first events that the log does not have.
    async fn front(&self, handed: &Option<Handed>) -> Result<Vec<Queued>, LogError> {
        let from = handed.as_ref().map_or_else(|| self.position.load(Ordering::Acquire), |handed| handed.below);
        self.queue.front(from, usize::try_from(self.batch).unwrap_or(usize::MAX), BATCH_BYTES).await
    }

    /// Brings a batch into the log, however long it takes. Meanwhile the batch before it is deleted, and the next one read,
    /// if there is more. So a kill repeats two batches at most.
    async fn take_over(&self, batch: Vec<Queued>, before: Option<Handed>) -> (Vec<Queued>, Option<Handed>) {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return (batch, before) };
        // With a horizon of almost nothing not even two events may be repeated.
        let before = if self.batch > 1 {
            before
        } else {
            self.release(before).await;
            None
        };
        self.oldest_ms.store(first.time_ms.unwrap_or(0), Ordering::Relaxed);
        let handed = Some(Handed { events: batch.len() as u64, below: last.offset + 1 });
        let both = batch.len() as u64 + before.as_ref().map_or(0, |before| before.events);
        let more = self.ladder().waiting() > both;
        let next = async { if more { self.front(&handed).await.unwrap_or_default() } else { Vec::new() } };
        let ((), (), next) = tokio::join!(self.hand_over(Parcel::new(batch)), self.release(before), next);
        fail::fail_point!("spool-forwarded", |_| std::process::abort());
        (next, handed)
    }

    /// Notes that the log has these events, and deletes them.
    async fn release(&self, handed: Option<Handed>) {
        let Some(Handed { events, below }) = handed else { return };
        let mut failures = 0;
        while let Err(error) = self.queue.release(below).await {
            failures += 1;
            // Before it is noted nothing else may be released, or go past the spool.
            self.held_up("the spool cannot be written", &error, failures);
            tokio::time::sleep(Backoff::AWAY.after(failures)).await;
        }
        fail::fail_point!("spool-released", |_| std::process::abort());
        self.position.store(below, Ordering::Release);
        self.ladder().forwarded(events);
        self.episode().forwarded += events;
        self.metrics.spool_forwarded_events_total.inc_by(events);
        self.ask().await;
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
        let (bytes, cause) = (letter.bytes(), letter.error.clone());
        let failed = |failures, error: &LogError| {
            self.held_up("a dead letter of the spool was not stored", error, failures);
        };
        log::bury(&*self.logs.forward, &[letter], failed).await;
        self.metrics.spool_dead_letters_total.inc();
        tracing::error!(bytes, error = cause, "an event of the spool is too large for Kafka: kept as a dead letter");
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
