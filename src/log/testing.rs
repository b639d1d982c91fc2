//! For tests of whatever appends.

use super::{Consumer, DeadLetter, EventLog, KeptRecord, LogError, NewRecord, Stored};
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A log that keeps records in memory, fails, or never answers.
#[derive(Default)]
pub(crate) struct FakeLog {
    pub(crate) records: Mutex<Vec<NewRecord>>,
    /// Makes the error that it fails with.
    pub(crate) failing: Option<fn() -> LogError>,
    pub(crate) silent: bool,
    /// Refuses longer values as too large, and with them the whole call.
    pub(crate) largest: Option<usize>,
    pub(crate) letters: Mutex<Vec<DeadLetter>>,
    pub(crate) away: AtomicBool,
}

#[async_trait]
impl EventLog for FakeLog {
    fn topic(&self) -> &str {
        "user.events"
    }

    fn group(&self) -> &str {
        "streamgauge"
    }

    async fn prepare(&self) -> Result<(), LogError> {
        Ok(())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        if self.silent {
            std::future::pending::<()>().await;
        }
        if let Some(error) = self.failing {
            return Err(error());
        }
        let length = |record: &NewRecord| record.value.as_ref().map_or(0, Vec::len);
        if self.largest.is_some_and(|largest| records.iter().any(|record| length(record) > largest)) {
            return Err(LogError::TooLarge);
        }
        self.records.lock().unwrap().extend(records);
        Ok(())
    }

    fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    fn stored(&self) -> Stored {
        Stored::Disk
    }

    async fn dead_letters(&self, letters: &[DeadLetter]) -> Result<(), LogError> {
        self.letters.lock().unwrap().extend(letters.iter().cloned());
        Ok(())
    }

    async fn ready(&self) -> Result<(), LogError> {
        Ok(())
    }

    async fn partitions(&self) -> Result<i32, LogError> {
        Ok(1)
    }

    async fn first_records(&self, _: &[(i32, i64)]) -> Result<Vec<Option<KeptRecord>>, LogError> {
        unreachable!("nobody reads it")
    }

    async fn first_after(&self, _: i32, _: i64) -> Result<Option<i64>, LogError> {
        unreachable!("nobody reads it")
    }

    fn consumer(&self) -> Result<Arc<dyn Consumer>, LogError> {
        Err(LogError::NoTopic("none".into()))
    }

    async fn drain(&self, _: Duration) {}
}
