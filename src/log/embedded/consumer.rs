//! A group's one reader of the embedded log.

use super::{Inner, PARTITION, schema};
use crate::clock::now_ms;
use crate::log::{Consumer, Extent, LogError, LogRecord, Notice};
use rusqlite::Connection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// See [`Consumer`].
pub(super) struct EmbeddedConsumer {
    log: Arc<Inner>,
    group: Arc<str>,
    /// Used by the thread that polls, and by those that ask where the log ends: a statement at a time.
    connection: Mutex<Connection>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether this consumer has the partition.
    assigned: bool,
    /// Where to go on; `None` when not started, or out of range.
    next: Option<i64>,
    paused: bool,
    closed: bool,
}

/// What a look at the log brought.
enum Found {
    Records,
    Nothing,
    OutOfRange,
}

impl EmbeddedConsumer {
    pub(super) fn new(log: Arc<Inner>, group: Arc<str>) -> Result<EmbeddedConsumer, LogError> {
        let connection = Mutex::new(log.file.reader()?);
        Ok(EmbeddedConsumer { log, group, connection, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the partition as soon as nobody else has it.
    fn assigned_now(&self) -> bool {
        let mut state = self.state();
        if state.assigned || state.closed {
            return false;
        }
        state.assigned = self.log.taken().insert(self.group.clone());
        state.assigned
    }

    fn look(&self, max: usize, each: &mut dyn FnMut(LogRecord<'_>)) -> Result<Found, LogError> {
        let (next, paused) = {
            let state = self.state();
            (state.next, state.paused)
        };
        let Some(from) = next.filter(|_| !paused) else { return Ok(Found::Nothing) };
        let connection = self.connection();
        let mut next = from;
        // The log has no holes: a record beyond `next` means that `next` is trimmed away.
        let count = schema::read(&connection, (from, i64::MAX), max, &mut |record| {
            let expected = record.offset == next;
            if expected {
                next += 1;
                each(record);
            }
            expected
        })?;
        // It may be trimmed away, or was appended between the two statements: where the log begins and ends tells.
        let suspicious = next == from && (count > 0 || from != schema::end(&connection)?);
        let lost = suspicious && (from < schema::start(&connection)? || from > schema::end(&connection)?);
        self.state().next = (!lost).then_some(next);
        Ok(match (lost, next > from) {
            (true, _) => Found::OutOfRange,
            (_, true) => Found::Records,
            _ => Found::Nothing,
        })
    }
}

impl Consumer for EmbeddedConsumer {
    fn poll(&self, timeout: Duration, max: usize, each: &mut dyn FnMut(LogRecord<'_>)) -> Vec<Notice> {
        if self.assigned_now() {
            return vec![Notice::Assigned(vec![PARTITION])];
        }
        let deadline = Instant::now() + timeout;
        let mut failed = Vec::new();
        loop {
            // Before looking: what is appended afterwards ends the wait.
            let seen = self.log.file.appended();
            match self.look(max, each) {
                Ok(Found::Records) => return failed,
                Ok(Found::OutOfRange) => return vec![Notice::OutOfRange(Some(PARTITION))],
                Ok(Found::Nothing) => {}
                Err(error) => {
                    self.log.metrics.log_errors_total.inc();
                    failed = vec![Notice::Failed(error.to_string())];
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return failed;
            }
            self.log.file.wait(seen, left);
        }
    }

    fn start(&self, positions: &[(i32, i64)]) -> Result<(), LogError> {
        let mut state = self.state();
        if let Some(offset) = own(positions).filter(|_| state.assigned) {
            state.next = Some(offset);
            state.paused = false;
        }
        Ok(())
    }

    fn pause(&self, partitions: &[i32]) -> Result<(), LogError> {
        self.state().paused |= partitions.contains(&PARTITION);
        Ok(())
    }

    fn resume(&self, partitions: &[i32]) -> Result<(), LogError> {
        self.state().paused &= !partitions.contains(&PARTITION);
        Ok(())
    }

    fn release(&self, partitions: &[i32]) -> Result<(), LogError> {
        if partitions.contains(&PARTITION) {
            self.state().next = None;
        }
        Ok(())
    }

    fn commit(&self, positions: &[(i32, i64)]) {
        if let Some(to) = own(positions) {
            let group = self.group.clone();
            self.log.in_background(move |log, connection| log.commit(connection, &group, to, now_ms()));
        }
    }

    fn commit_now(&self, positions: &[(i32, i64)]) -> Result<(), LogError> {
        let Some(to) = own(positions) else { return Ok(()) };
        let (log, group) = (self.log.clone(), self.group.clone());
        Ok(self.log.file.write_blocking(move |connection| log.commit(connection, &group, to, now_ms()))?)
    }

    fn extents(&self, partitions: &[i32]) -> Result<Vec<Extent>, LogError> {
        let connection = self.connection();
        let (start, end) = (schema::start(&connection)?, schema::end(&connection)?);
        let committed = schema::committed(&connection, &self.group)?;
        Ok(partitions.iter().map(|partition| Extent { partition: *partition, start, end, committed }).collect())
    }

    fn ends(&self, partitions: &[i32]) -> Result<Vec<(i32, i64)>, LogError> {
        let end = schema::end(&self.connection())?;
        Ok(partitions.iter().map(|partition| (*partition, end)).collect())
    }

    fn close(&self) {
        let mut state = self.state();
        if state.assigned {
            self.log.taken().remove(&self.group);
        }
        *state = State { closed: true, ..State::default() };
        drop(state);
        self.log.file.notify();
    }
}

/// The position of the one partition, if it is among these.
fn own(positions: &[(i32, i64)]) -> Option<i64> {
    positions.iter().find(|(partition, _)| *partition == PARTITION).map(|(_, offset)| *offset)
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.close();
    }
}
