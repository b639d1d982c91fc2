//! The log as a table of the embedded file: one partition, one consumer at a time.

mod consumer;
mod headers;
mod letters;
mod queue;
mod schema;
#[cfg(test)]
mod tests;

pub use letters::{extent, letters};
pub use queue::Queued;

use super::{Consumer, DeadLetter, EventLog, KeptRecord, LogError, LogRecord, NewRecord, Stored};
use crate::clock::now_ms;
use crate::embedded::{Config, EmbeddedFile, open_read_only, used_bytes};
use crate::telemetry::Metrics;
use async_trait::async_trait;
use consumer::EmbeddedConsumer;
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The one partition.
const PARTITION: i32 = 0;
/// Bytes appended between two looks at the size of the file.
const MEASURED: u64 = 1 << 20;
/// Records that a scan reads at a time.
const SCANNED: usize = 1_000;

/// An embedded log, as one consumer group sees it. Clones share it.
#[derive(Clone)]
pub struct EmbeddedLog {
    inner: Arc<Inner>,
    group: Arc<str>,
}

struct Inner {
    file: Arc<EmbeddedFile>,
    topic: String,
    retain_ms: i64,
    max_bytes: u64,
    metrics: Arc<Metrics>,
    /// Size of the file when it was last looked at, and what was appended since.
    used: AtomicU64,
    appended: AtomicU64,
    /// Groups of which a consumer has the partition.
    taken: Mutex<HashSet<Arc<str>>>,
}

impl EmbeddedLog {
    /// Uses the file, making the log's tables when they are missing. A file holds one topic.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn open(
        file: Arc<EmbeddedFile>,
        config: &Config,
        (topic, group): (&str, &str),
        metrics: Arc<Metrics>,
    ) -> Result<EmbeddedLog, LogError> {
        let group: Arc<str> = group.into();
        let first = group.clone();
        let make = move |connection: &rusqlite::Connection| {
            schema::create(connection, &first)?;
            used_bytes(connection)
        };
        let used = file.write(make).await?;
        let inner = Inner {
            file,
            topic: topic.to_owned(),
            retain_ms: i64::try_from(config.retain.as_millis()).unwrap_or(i64::MAX),
            max_bytes: config.max_bytes.as_u64(),
            metrics,
            used: AtomicU64::new(used),
            appended: AtomicU64::new(0),
            taken: Mutex::default(),
        };
        Ok(EmbeddedLog { inner: Arc::new(inner), group })
    }

    /// The same log for another consumer group.
    pub fn for_group(&self, group: &str) -> EmbeddedLog {
        EmbeddedLog { inner: self.inner.clone(), group: group.into() }
    }

    /// Deletes records below an offset, which all groups must have read: those that were kept long enough, and when the
    /// file is nearly full the oldest of the others too. In the background; a part of the work at each call.
    pub fn trim(&self, below_offset: i64, now_ms: i64) {
        self.inner.in_background(move |log, connection| log.trim(connection, below_offset, now_ms));
    }
}

impl Inner {
    /// Does something with the file that the next commit would do as well.
    fn in_background(
        self: &Arc<Self>,
        job: impl FnOnce(&Inner, &rusqlite::Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        let this = self.clone();
        if !self.file.try_write(move |connection| job(&this, connection)) {
            tracing::debug!("the embedded file is busy; records are trimmed with the next commit");
        }
    }

    /// Notes how far a group has read, and trims what no group reads any more. A job of the file.
    fn commit(&self, connection: &rusqlite::Connection, group: &str, to: i64, now_ms: i64) -> rusqlite::Result<()> {
        schema::commit(connection, group, to)?;
        self.trim(connection, schema::read_by_all(connection)?, now_ms)
    }

    fn trim(&self, connection: &rusqlite::Connection, below: i64, now_ms: i64) -> rusqlite::Result<()> {
        // Nearly full: better to keep counted records for a shorter time than to take no new ones.
        let nearly_full = self.used() > self.max_bytes / 10 * 9;
        let oldest_ms = now_ms.saturating_sub(self.retain_ms);
        if schema::trim(connection, below, oldest_ms, nearly_full)? > 0 {
            self.measured(used_bytes(connection)?);
        }
        Ok(())
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed) + self.appended.load(Ordering::Relaxed)
    }

    fn measured(&self, used: u64) {
        self.appended.store(0, Ordering::Relaxed);
        self.used.store(used, Ordering::Relaxed);
    }

    /// Looks at the size now and then, and always when the log seems full.
    fn room(&self) -> Result<(), LogError> {
        if self.used() < self.max_bytes {
            return Ok(());
        }
        Err(LogError::Full { max_bytes: self.max_bytes })
    }

    /// Asks the file by a connection of its own, beside everything else.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let file = self.file.clone();
        let asked = tokio::task::spawn_blocking(move || Ok::<T, LogError>(question(&file.reader()?)?));
        asked.await.map_err(|e| LogError::Client(e.to_string()))?
    }

    async fn append(self: &Arc<Self>, records: Vec<NewRecord>) -> Result<(), LogError> {
        if self.room().is_err() {
            let used = self.file.write(used_bytes).await?;
            self.measured(used);
            self.room()?;
        }
        let bytes: usize = records.iter().map(NewRecord::bytes).sum();
        let this = self.clone();
        let write = move |connection: &rusqlite::Connection| {
            // The time of the append, as a broker would give it, and given in the order of the offsets.
            schema::append(connection, now_ms(), &records)?;
            if this.appended.fetch_add(bytes as u64, Ordering::Relaxed) > MEASURED {
                this.measured(used_bytes(connection)?);
            }
            Ok(())
        };
        self.file.write(write).await?;
        self.file.notify();
        Ok(())
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    fn topic(&self) -> &str {
        &self.inner.topic
    }

    fn group(&self) -> &str {
        &self.group
    }

    async fn prepare(&self) -> Result<(), LogError> {
        Ok(())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        let begun = Instant::now();
        let appended = self.inner.append(records).await;
        match &appended {
            Ok(()) => self.inner.metrics.log_append_seconds.observe(begun.elapsed().as_secs_f64()),
            Err(_) => self.inner.metrics.log_errors_total.inc(),
        }
        appended
    }

    fn stored(&self) -> Stored {
        Stored::Disk
    }

    async fn dead_letters(&self, letters: &[DeadLetter]) -> Result<(), LogError> {
        let (letters, group) = (letters.to_vec(), self.group.clone());
        // A dead letter is taken even by a full log: it must not block what comes after it.
        self.inner.file.write(move |connection| schema::bury(connection, &group, &letters)).await?;
        Ok(())
    }

    async fn ready(&self) -> Result<(), LogError> {
        self.inner.room()
    }

    async fn partitions(&self) -> Result<i32, LogError> {
        Ok(1)
    }

    async fn first_records(&self, places: &[(i32, i64)]) -> Result<Vec<Option<KeptRecord>>, LogError> {
        let places = places.to_vec();
        self.inner
            .ask(move |connection| places.iter().map(|(_, offset)| schema::first_record(connection, *offset)).collect())
            .await
    }

    async fn first_after(&self, _: i32, time_ms: i64) -> Result<Option<i64>, LogError> {
        self.inner.ask(move |connection| schema::first_after(connection, time_ms)).await
    }

    fn consumer(&self) -> Result<Arc<dyn Consumer>, LogError> {
        Ok(Arc::new(EmbeddedConsumer::new(self.inner.clone(), self.group.clone())?))
    }

    async fn drain(&self, _: Duration) {
        // An append returns after its commit: nothing is ever under way.
    }
}

/// Hands the records of [from, to) of a file's log to `each`, in order. The file may be in use. Blocks.
///
/// # Errors
/// When the file cannot be read, or its log does not hold all of them any more.
pub fn scan(path: &Path, from: i64, to: i64, each: &mut dyn FnMut(LogRecord<'_>)) -> Result<(), LogError> {
    let connection = open_read_only(path)?;
    let mut next = from;
    loop {
        let mut hole = None;
        let count = schema::read(&connection, (next, to), SCANNED, &mut |record| {
            if record.offset != next {
                hole = Some(next);
                return false;
            }
            next += 1;
            each(record);
            true
        })?;
        // Trimmed away, before this scan or during it.
        if let Some(offset) = hole {
            return Err(LogError::OutOfRange { partition: PARTITION, offset });
        }
        if count == 0 {
            let gone = next < to.min(schema::end(&connection)?);
            return if gone { Err(LogError::OutOfRange { partition: PARTITION, offset: next }) } else { Ok(()) };
        }
    }
}
