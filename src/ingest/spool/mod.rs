//! The spool: where events wait on disk while Kafka is away, and the acknowledgement ladder that leads there.
//!
//! An event is answered once it is stored: by Kafka, else in the spool, an embedded log in a file of its own; else it is
//! refused. `ladder` decides which, without I/O and clock, so that the order of a key is kept; the forwarder takes what
//! waits over to Kafka, batch by batch (`parcel`), and deletes it. A kill at any moment loses nothing that was answered: at
//! most the last two batches are forwarded again, and count once.

mod config;
mod error;
mod forwarder;
mod ladder;
mod parcel;
mod report;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use error::SpoolError;

use crate::embedded::{self, EmbeddedFile};
use crate::log::{EmbeddedLog, EventLog, LogError, NewRecord, Stored};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;
pub(in crate::ingest) use error::NotStored;
use ladder::{Ladder, Ticket, Way, Why};
use report::Episode;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};

/// The group in whose name the forwarder's position is saved.
const GROUP: &str = "forwarder";
/// Most records of a batch, whatever the horizon.
const BATCH: u64 = 10_000;
/// KiB of events that may be on their way into the log or the spool; what comes on top waits. Clients that went away do not
/// hold their share of `ingest.max_in_flight` any more, but their events are still stored.
const UNDER_WAY_KIB: u32 = 256 << 10;
/// How long the forwarder may finish its batch once the shutdown has begun.
const LAST_BATCH: Duration = Duration::from_millis(500);

/// The logs between which the spool stands.
pub struct Logs {
    /// Where events go as long as it takes them.
    pub direct: Arc<dyn EventLog>,
    /// The same for the forwarder: it has to keep the order of what it is handed again
    /// ([`crate::log::KafkaLog::connect_in_order`]).
    pub forward: Arc<dyn EventLog>,
}

/// Stores events in the log or on disk, whichever can. Shared by all requests.
pub struct Spool {
    queue: EmbeddedLog,
    file: Arc<EmbeddedFile>,
    logs: Logs,
    ladder: Mutex<Ladder>,
    begun: Instant,
    slow_after: Duration,
    batch: u64,
    /// Told when the ladder's answer may be another one.
    changed: Notify,
    /// Told when the forwarder may have something to do.
    work: Notify,
    under_way: Arc<Semaphore>,
    /// Where the forwarder goes on.
    position: AtomicI64,
    /// Record time in ms of the first event that waits; 0 when none does, or nobody has looked yet.
    oldest_ms: AtomicI64,
    /// Why the last write failed, if it did.
    broken: Mutex<Option<String>>,
    episode: Mutex<Episode>,
    metrics: Arc<Metrics>,
}

impl Spool {
    /// Opens the spool in this file, which may hold events from before. `dedupe_horizon` is the
    /// pipeline's: a batch that is forwarded twice has to lie well within it.
    ///
    /// # Errors
    /// When another process has the file, it is not ours, or it cannot be written.
    pub async fn open(
        path: PathBuf,
        config: &Config,
        dedupe_horizon: u64,
        logs: Logs,
        metrics: Arc<Metrics>,
    ) -> Result<Spool, SpoolError> {
        let embedded = embedded::Config {
            path,
            max_bytes: config.max_bytes,
            synchronous: config.synchronous,
            ..embedded::Config::default()
        };
        let file = EmbeddedFile::open(&embedded, false)?;
        let names = (logs.direct.topic(), GROUP);
        let queue = EmbeddedLog::open(file.clone(), &embedded, names, metrics.clone()).await;
        let queue = queue.map_err(SpoolError::Queue)?;
        let (position, end) = queue.position().await.map_err(SpoolError::Queue)?;
        let waiting = end.saturating_sub(position).max(0).unsigned_abs();
        // Two batches may be repeated; half of the horizon is left to what others write meanwhile.
        let batch = (dedupe_horizon / 4).clamp(1, BATCH);
        let spool = Spool {
            queue,
            file,
            logs,
            ladder: Mutex::new(Ladder::new(waiting, config.slow_after, batch)),
            begun: Instant::now(),
            slow_after: config.slow_after,
            batch,
            changed: Notify::new(),
            work: Notify::new(),
            under_way: Arc::new(Semaphore::new(UNDER_WAY_KIB as usize)),
            position: AtomicI64::new(position),
            oldest_ms: AtomicI64::new(0),
            broken: Mutex::default(),
            episode: Mutex::default(),
            metrics,
        };
        if waiting > 0 {
            spool.entered(Why::Waiting);
        }
        Ok(spool)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Stores all of the records, and says on what: where some are on disk, that is the answer for all.
    ///
    /// It goes on when nobody waits for it any more: the ladder has to learn what came of every append.
    pub(in crate::ingest) async fn store(self: &Arc<Self>, records: Vec<NewRecord>) -> Result<Stored, NotStored> {
        let kib = records.iter().map(NewRecord::bytes).sum::<usize>() / 1_024 + 1;
        let kib = u32::try_from(kib).unwrap_or(u32::MAX).min(UNDER_WAY_KIB);
        let share = self.under_way.clone().acquire_many_owned(kib).await;
        let spool = self.clone();
        let stored = tokio::spawn(async move {
            let stored = spool.climb(records).await;
            drop(share);
            stored
        });
        stored.await.unwrap_or_else(|error| Err(NotStored::GivenUp(error.to_string())))
    }

    async fn climb(&self, records: Vec<NewRecord>) -> Result<Stored, NotStored> {
        loop {
            // Before asking: what changes afterwards ends the wait.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let way = self.ladder().route(self.now(), self.logs.direct.is_away());
            match way {
                Way::Log(ticket) => return self.append(ticket, records).await,
                Way::Spool(why) => {
                    why.into_iter().for_each(|why| self.entered(why));
                    return self.keep(records).await;
                }
                // What came of the wait is asked of the ladder.
                Way::Wait => drop(tokio::time::timeout(self.slow_after, changed).await),
            }
        }
    }

    async fn append(&self, ticket: Ticket, records: Vec<NewRecord>) -> Result<Stored, NotStored> {
        let events = records.len() as u64;
        let Err(unstored) = self.logs.direct.try_append(&records).await else {
            self.ladder().settled(ticket);
            self.count(Stored::Kafka, events);
            return Ok(Stored::Kafka);
        };
        // No log takes what is too large, so neither does the forwarder's.
        if matches!(unstored.error, LogError::TooLarge) {
            self.ladder().settled(ticket);
            return Err(unstored.error.into());
        }
        let why = self.ladder().failed(ticket);
        self.changed.notify_waiters();
        let left = unstored.of(records);
        tracing::debug!(error = %unstored.error, events = left.len(), "events that were not acknowledged go to the spool");
        why.into_iter().for_each(|why| self.entered(why));
        self.count(Stored::Kafka, events - left.len() as u64);
        self.keep(left).await
    }

    /// Stores records on disk; the ladder has been told that this is under way.
    async fn keep(&self, records: Vec<NewRecord>) -> Result<Stored, NotStored> {
        let events = records.len() as u64;
        fail::fail_point!("spool-append", |_| std::process::abort());
        let kept = self.queue.enqueue(records).await;
        fail::fail_point!("spool-appended", |_| std::process::abort());
        self.ladder().kept(if kept.is_ok() { events } else { 0 });
        self.reported();
        self.work.notify_one();
        *self.broken() = match &kept {
            Ok(()) | Err(LogError::Full { .. }) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Err(error) = kept {
            self.metrics.spool_refused_events_total.inc_by(events);
            return Err(match error {
                LogError::Full { max_bytes } => NotStored::Full { max_bytes },
                error => NotStored::Spool(error),
            });
        }
        self.count(Stored::Disk, events);
        Ok(Stored::Disk)
    }

    /// Forwards what waits, and reports how much that is, until the shutdown begins. What is still there then stays for
    /// the next start.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let cut_off = async {
            shutdown.begun().await;
            tokio::time::sleep(LAST_BATCH).await;
        };
        tokio::select! {
            () = self.forward(&shutdown) => {}
            () = self.report() => {}
            () = cut_off => {}
        }
        self.reported();
        let waiting = self.ladder().waiting();
        if waiting > 0 {
            tracing::info!(waiting, path = %self.path().display(), "events stay in the spool for the next start");
        }
    }

    /// Whether events could be stored here now.
    ///
    /// # Errors
    /// What keeps them from it.
    pub async fn ready(&self) -> Result<(), String> {
        if let Err(LogError::Full { max_bytes }) = self.queue.ready().await {
            return Err(NotStored::Full { max_bytes }.to_string());
        }
        if self.broken().is_none() {
            return Ok(());
        }
        // Nobody may come to try it, as long as this says no. The position is where it was: only the write counts.
        let tried = self.queue.release(self.position.load(Ordering::Acquire)).await;
        let broken = tried.map_err(|error| NotStored::Spool(error).to_string());
        *self.broken() = broken.clone().err();
        broken
    }

    /// Closes the file, whoever may still have it. Blocks.
    pub fn close(&self) {
        self.file.close();
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn ladder(&self) -> MutexGuard<'_, Ladder> {
        // Nothing panics while it holds the lock.
        self.ladder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn episode(&self) -> MutexGuard<'_, Episode> {
        self.episode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self) -> MutexGuard<'_, Option<String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
