//! The store in the embedded file. One SQLite transaction is the atomic step.

mod flush;
mod handled;
mod read;
mod tables;
#[cfg(test)]
mod tests;
mod values;

pub use handled::EmbeddedHandled;

use super::gap::accepted_at;
use super::layout::{self, Place};
use super::merged::{additions, cells, merged};
use super::{CounterStore, Flush, Flushed, Layout, Read, StoreError, StoredBucket, StoredCounter, StoredPartition};
use crate::counter::{Counters, Registers};
use crate::embedded::{EmbeddedError, EmbeddedFile, open_read_only};
use async_trait::async_trait;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The file is one place: there is nothing to spread partitions over.
const SHARDS: u32 = 1;
/// How often buckets past their retention are looked for, in ms.
const EXPIRE_EVERY_MS: i64 = 10_000;
/// Connections kept for readers to come.
const IDLE_READERS: usize = 4;

/// Counts in the embedded file.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// Absent where another process has the file and this one only reads.
    file: Option<Arc<EmbeddedFile>>,
    counters: Arc<Counters>,
    /// When buckets past their retention were last looked for, by the flushes' clock.
    expired_at_ms: Arc<AtomicI64>,
}

/// What reading threads need.
struct Shared {
    path: PathBuf,
    place: Place,
    idle: Mutex<Vec<Connection>>,
}

impl EmbeddedStore {
    /// A store for these counters in an open file; makes its tables.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn open(file: Arc<EmbeddedFile>, counters: Arc<Counters>) -> Result<EmbeddedStore, StoreError> {
        let store = EmbeddedStore::new(file.path(), Some(Arc::clone(&file)), counters);
        store.write(|connection| connection.execute_batch(include_str!("embedded/schema.sql"))).await?;
        Ok(store)
    }

    /// The same for reading only, from a file that another process may have open. It takes no flushes.
    ///
    /// # Errors
    /// When there is no such file, or it is not ours.
    pub fn reading(path: &Path) -> Result<EmbeddedStore, StoreError> {
        let counters = Arc::new(Counters::new(Vec::new()).map_err(|e| StoreError::Contradiction(e.to_string()))?);
        let store = EmbeddedStore::new(path, None, counters);
        let connection = store.shared.reader()?;
        store.shared.keep(connection);
        Ok(store)
    }

    /// Whether the counts that are there fit this layout; false when nothing is there yet. Changes nothing.
    ///
    /// # Errors
    /// As [`CounterStore::prepare`].
    pub async fn fits(&self, wanted: &Layout) -> Result<bool, StoreError> {
        let stored = self.ask(tables::layout).await?;
        layout::additions(&stored, wanted, SHARDS, 0, &self.shared.place)?;
        Ok(!stored.is_empty())
    }

    fn new(path: &Path, file: Option<Arc<EmbeddedFile>>, counters: Arc<Counters>) -> EmbeddedStore {
        let what = format!("the counts in {}", path.display());
        let place = Place { what, another: "choose another embedded.path" };
        let shared = Shared { path: path.to_owned(), place, idle: Mutex::default() };
        EmbeddedStore { shared: Arc::new(shared), file, counters, expired_at_ms: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(file) = &self.file else {
            return Err(self.shared.unavailable("it is open for reading only".to_owned()));
        };
        file.write(job).await.map_err(|error| self.shared.error(error))
    }

    /// Runs a question in a thread that may block, against one snapshot of the file.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let asked = tokio::task::spawn_blocking(move || {
            let mut connection = shared.reader()?;
            let answer = snapshot(&mut connection, question).map_err(|error| shared.sqlite_error(&error))?;
            shared.keep(connection);
            Ok(answer)
        });
        asked.await.map_err(|error| self.shared.unavailable(format!("a reading thread failed: {error}")))?
    }
}

/// The transaction is ended when it goes out of scope: a reader that stays in one lets the WAL grow.
fn snapshot<T>(
    connection: &mut Connection,
    question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction()?;
    question(&transaction)
}

impl Shared {
    fn reader(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| open_read_only(&self.path).map_err(|error| self.error(error)), Ok)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
    }

    fn error(&self, error: EmbeddedError) -> StoreError {
        match error.sqlite() {
            Some(sqlite) if !error.is_disk_full() => self.sqlite_error(sqlite),
            _ => self.unavailable(error.to_string()),
        }
    }

    fn sqlite_error(&self, error: &rusqlite::Error) -> StoreError {
        use rusqlite::{Error, ErrorCode};
        let corrupt = match error {
            Error::InvalidColumnType(..) | Error::FromSqlConversionFailure(..) | Error::IntegralValueOutOfRange(..) => {
                true
            }
            // What STRICT refuses: a sum that overflows.
            Error::SqliteFailure(failure, _) => {
                matches!(failure.code, ErrorCode::ConstraintViolation | ErrorCode::DatabaseCorrupt)
            }
            _ => false,
        };
        if corrupt {
            return StoreError::Corrupt { place: self.place.what.clone(), problem: error.to_string() };
        }
        self.unavailable(error.to_string())
    }

    fn unavailable(&self, problem: String) -> StoreError {
        StoreError::Unavailable { place: self.place.what.clone(), problem }
    }
}

#[async_trait]
impl CounterStore for EmbeddedStore {
    async fn prepare(&self, layout: &Layout, now_s: i64) -> Result<(), StoreError> {
        let (layout, place) = (layout.clone(), self.shared.place.clone());
        self.write(move |connection| {
            let additions = layout::additions(&tables::layout(connection)?, &layout, SHARDS, now_s, &place);
            match additions {
                Ok(additions) => tables::add_to_layout(connection, &additions).map(Ok),
                Err(error) => Ok(Err(error)),
            }
        })
        .await?
    }

    async fn counters(&self) -> Result<Vec<StoredCounter>, StoreError> {
        layout::counters(&self.ask(tables::layout).await?, &self.shared.place)
    }

    fn shards(&self) -> u32 {
        SHARDS
    }

    async fn flush(&self, flush: &Flush) -> Result<Flushed, StoreError> {
        let (flush, counters, expired_at_ms) = (flush.clone(), self.counters.clone(), self.expired_at_ms.clone());
        self.write(move |connection| {
            let deltas = match merged(&flush, SHARDS) {
                Ok(deltas) => deltas,
                Err(error) => return Ok(Err(error)),
            };
            let additions = match additions(&deltas, flush.now_ms, &counters) {
                Ok(additions) => additions,
                Err(error) => return Ok(Err(error)),
            };
            if let Some(conflict) = flush::conflict(connection, &flush)? {
                return Ok(Ok(conflict));
            }
            flush::apply(connection, &flush, &additions)?;
            if flush.now_ms >= expired_at_ms.load(Ordering::Relaxed).saturating_add(EXPIRE_EVERY_MS)
                && flush::expire(connection, flush.now_ms)?
            {
                expired_at_ms.store(flush.now_ms, Ordering::Relaxed);
            }
            Ok(Ok(Flushed::Applied { cells: cells(&additions) }))
        })
        .await?
    }

    async fn partitions(&self, topic: &str, partitions: &[i32]) -> Result<Vec<Option<StoredPartition>>, StoreError> {
        let (topic, partitions) = (topic.to_owned(), partitions.to_vec());
        self.ask(move |connection| partitions.iter().map(|n| tables::partition(connection, &topic, *n)).collect()).await
    }

    async fn accept_gap(&self, topic: &str, partition: i32, next_offset: Option<i64>) -> Result<(), StoreError> {
        let (topic, at) = (topic.to_owned(), accepted_at(next_offset));
        self.write(move |connection| flush::accept_gap(connection, &topic, partition, &at)).await
    }

    async fn key_count(&self, counter: &str, window: &str, starts: &[i64]) -> Result<u64, StoreError> {
        let (counter, window, starts) = (counter.to_owned(), window.to_owned(), starts.to_vec());
        self.ask(move |connection| read::key_count(connection, &counter, &window, &starts)).await
    }

    async fn read(&self, read: &Read) -> Result<Vec<StoredBucket>, StoreError> {
        let read = read.clone();
        self.ask(move |connection| read::buckets(connection, &read)).await
    }

    async fn united(&self, read: &Read) -> Result<Registers, StoreError> {
        let read = read.clone();
        self.ask(move |connection| read::united(connection, &read)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        match &self.file {
            // Takes the way of a flush: the queue, the thread, the lock on the file.
            Some(_) => self.write(|_| Ok(())).await,
            None => self.ask(|connection| connection.query_row("SELECT 1", [], |_| Ok(()))).await,
        }
    }
}
