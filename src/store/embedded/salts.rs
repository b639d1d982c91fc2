//! Salts in the embedded file. What is forgotten there is overwritten, in the file and in its WAL.

use crate::embedded::{EmbeddedError, EmbeddedFile};
use crate::store::{Day, Salt, SaltStore, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS visitor_salt (day INTEGER PRIMARY KEY, salt BLOB NOT NULL) STRICT";

/// Salts in an embedded file, beside whatever else is in it.
pub struct EmbeddedSalts {
    file: Arc<EmbeddedFile>,
    /// The WAL may still hold salts that were deleted, as it may after a start.
    traces: AtomicBool,
}

impl EmbeddedSalts {
    /// Keeps salts in an open file; makes its table.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn open(file: Arc<EmbeddedFile>) -> Result<EmbeddedSalts, StoreError> {
        let salts = EmbeddedSalts { file, traces: AtomicBool::new(true) };
        let made = salts.file.write(|connection| connection.execute_batch(TABLE)).await;
        made.map_err(|error| salts.unavailable(&error)).map(|()| salts)
    }

    fn place(&self) -> String {
        format!("the salts in {}", self.file.path().display())
    }

    fn unavailable(&self, error: &EmbeddedError) -> StoreError {
        StoreError::Unavailable { place: self.place(), problem: error.to_string() }
    }
}

#[async_trait]
impl SaltStore for EmbeddedSalts {
    async fn agree(&self, day: Day, offered: &Salt) -> Result<Salt, StoreError> {
        let (number, offered) = (day.number(), Salt::of(offered.expose()));
        let job = move |connection: &Connection| {
            if let Some(offered) = &offered {
                let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO visitor_salt VALUES (?1, ?2)")?;
                insert.execute(params![number, &offered.expose()[..]])?;
            }
            let mut kept = connection.prepare_cached("SELECT salt FROM visitor_salt WHERE day = ?1")?;
            kept.query_row([number], |row| row.get_ref(0)?.as_blob().map(Salt::of).map_err(Into::into))
        };
        let kept = self.file.write(job).await.map_err(|error| self.unavailable(&error))?;
        let problem = || format!("that of {day} is none");
        kept.ok_or_else(|| StoreError::Corrupt { place: self.place(), problem: problem() })
    }

    async fn forget(&self, now_ms: i64) -> Result<(), StoreError> {
        let first_kept = Day::first_kept(now_ms).number();
        let deleted = self.file.write(move |connection| delete(connection, first_kept)).await;
        if deleted.map_err(|error| self.unavailable(&error))? > 0 {
            self.traces.store(true, Ordering::Relaxed);
        }
        if self.traces.load(Ordering::Relaxed) {
            self.file.empty_wal().await.map_err(|error| self.unavailable(&error))?;
            self.traces.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Deletes salts, and overwrites where they stood. For everything else in the file that would be work for nothing.
pub(super) fn delete(connection: &Connection, first_kept: i64) -> rusqlite::Result<usize> {
    let overwrite = |on: bool| connection.pragma_update_and_check(None, "secure_delete", on, |_| Ok(()));
    overwrite(true)?;
    let deleted = connection.execute("DELETE FROM visitor_salt WHERE day < ?1", [first_kept]);
    overwrite(false)?;
    deleted
}
