//! Notes of handled events in an embedded file.

use crate::clock::now_ms;
use crate::embedded::{EmbeddedError, EmbeddedFile};
use crate::store::StoreError;
use crate::store::handled::{Effects, HandledEvents, Kind, Noted};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS handled (
    consumer_group TEXT NOT NULL,
    event_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, event_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS handled_by_time ON handled (at_ms);";
/// How often notes past their horizon are deleted, in ms.
const EXPIRE_EVERY_MS: i64 = 60_000;

/// Notes of handled events in an embedded file, beside whatever else is in it.
pub struct EmbeddedHandled {
    file: Arc<EmbeddedFile>,
    horizon_ms: i64,
    expired_at_ms: AtomicI64,
}

impl EmbeddedHandled {
    /// Keeps notes for `horizon` in an open file; makes its table.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn open(file: Arc<EmbeddedFile>, horizon: Duration) -> Result<EmbeddedHandled, StoreError> {
        let horizon_ms = i64::try_from(horizon.as_millis()).unwrap_or(i64::MAX);
        let notes = EmbeddedHandled { file, horizon_ms, expired_at_ms: AtomicI64::new(0) };
        let made = notes.file.write(|connection| connection.execute_batch(TABLE)).await;
        made.map_err(|error| notes.unavailable(&error)).map(|()| notes)
    }

    fn place(&self) -> String {
        self.file.path().display().to_string()
    }

    fn unavailable(&self, error: &EmbeddedError) -> StoreError {
        StoreError::Unavailable { place: self.place(), problem: error.to_string() }
    }

    /// Before which time notes are to be deleted, if it is time to do so.
    fn expire_before(&self, now_ms: i64) -> Option<i64> {
        let last = self.expired_at_ms.load(Ordering::Relaxed);
        let is_due = now_ms - last >= EXPIRE_EVERY_MS;
        if is_due {
            self.expired_at_ms.store(now_ms, Ordering::Relaxed);
        }
        is_due.then(|| now_ms.saturating_sub(self.horizon_ms))
    }
}

#[async_trait]
impl HandledEvents for EmbeddedHandled {
    async fn look(&self, group: &str, event_id: &str) -> Result<Option<Noted>, StoreError> {
        let (group, event_id) = (group.to_owned(), event_id.to_owned());
        // By the writing thread: its connection is open, and it is asked a question of microseconds.
        let asked = self.file.write(move |connection| is_handled(connection, &group, &event_id)).await;
        let is_handled = asked.map_err(|error| self.unavailable(&error))?;
        Ok(is_handled.then_some(Noted::Before))
    }

    async fn note(&self, group: &str, event_id: &str, effects: Effects) -> Result<Noted, StoreError> {
        let refused = |problem: String| StoreError::Effects { place: self.place(), problem, is_partly: false };
        let statements = match effects.0 {
            Kind::None => None,
            Kind::Sql(statements) => Some(statements),
            Kind::Redis(_) => return Err(refused("they are for Redis: return Effects::sql".to_owned())),
        };
        let (group, event_id) = (group.to_owned(), event_id.to_owned());
        let (now_ms, expire_before) = (now_ms(), self.expire_before(now_ms()));
        let are_wrong = Arc::new(AtomicBool::new(false));
        let wrong = are_wrong.clone();
        let job = move |connection: &Connection| {
            if is_handled(connection, &group, &event_id)? {
                return Ok(Noted::Before);
            }
            if let Some(statements) = statements {
                // A panic would end the file's writing thread, and with it everything that is in the file.
                let ran = catch_unwind(AssertUnwindSafe(|| statements(connection)));
                let ran = ran.unwrap_or_else(|_| Err(rusqlite::Error::ToSqlConversionFailure("they panicked".into())));
                ran.inspect_err(|error| wrong.store(!is_passing(error), Ordering::Relaxed))?;
            }
            let mut insert = connection.prepare_cached("INSERT INTO handled VALUES (?1, ?2, ?3)")?;
            insert.execute(params![group, event_id, now_ms])?;
            if let Some(before) = expire_before {
                connection.prepare_cached("DELETE FROM handled WHERE at_ms < ?1")?.execute([before])?;
            }
            Ok(Noted::Now)
        };
        match self.file.write(job).await {
            Err(EmbeddedError::Job(error)) if are_wrong.load(Ordering::Relaxed) => Err(refused(error.to_string())),
            result => result.map_err(|error| self.unavailable(&error)),
        }
    }
}

/// Whether the file could not be written, whatever was to be.
fn is_passing(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, SystemIoFailure};
    let passing = [DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, SystemIoFailure];
    error.sqlite_error_code().is_some_and(|code| passing.contains(&code))
}

fn is_handled(connection: &Connection, group: &str, event_id: &str) -> rusqlite::Result<bool> {
    let mut look = connection.prepare_cached("SELECT 1 FROM handled WHERE consumer_group = ?1 AND event_id = ?2")?;
    look.exists(params![group, event_id])
}
