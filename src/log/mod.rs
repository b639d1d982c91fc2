//! Where events are kept between ingest and the pipeline: a Kafka topic or an embedded log.
//!
//! [`EventLog`] is the side that appends, [`Consumer`] the side that reads. Both promise the same: what `append`
//! confirmed survives a `kill -9`, offsets of a partition only grow, and a record never changes.
//! This room knows nothing of counts: where a partition starts is the pipeline's decision.

mod config;
mod dead_letter;
mod embedded;
mod error;
mod kafka;
mod letter;
mod record;
#[cfg(test)]
pub(crate) mod testing;

pub use config::{Config, KafkaConfig, Kind};
pub use embedded::{
    EmbeddedLog, Queued, extent as embedded_extent, letters as embedded_letters, scan as scan_embedded,
};
pub use error::LogError;
pub use kafka::{
    KafkaCopies, KafkaLog, OnItsWay, RecordCopy, delete_below, letters as kafka_letters, scan as scan_kafka,
};
pub use letter::{Kept, KeptLetter, LetterId, LetterOrigin, Mark, Marks};
pub use record::{About, DeadLetter, Header, Headers, KeptRecord, LogRecord, NewRecord, trace_among};

use crate::retry::Backoff;
use crate::shutdown::Shutdown;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// What an acknowledged record is stored on, as ingest's answer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// All in-sync replicas of a Kafka topic.
    Kafka,
    /// A local file that a `kill -9` does not lose.
    Disk,
}

impl Stored {
    /// The name in an answer.
    pub fn name(self) -> &'static str {
        match self {
            Stored::Kafka => "kafka",
            Stored::Disk => "disk",
        }
    }
}

/// Which records of an append were not acknowledged. Some of these may have been stored.
#[derive(Debug)]
pub struct Unstored {
    /// Why not.
    pub error: LogError,
    /// Their places in the append, in order.
    pub places: Vec<usize>,
}

impl Unstored {
    /// Of what there is one for each record of the append, those of the records that were not acknowledged.
    pub fn of<T>(&self, mut all: Vec<T>) -> Vec<T> {
        let mut place = 0..;
        all.retain(|_| place.next().is_some_and(|place| self.places.binary_search(&place).is_ok()));
        all
    }
}

/// What a consumer learns besides records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// These partitions are ours now. Nothing is read of them until [`Consumer::start`].
    Assigned(Vec<i32>),
    /// These are to be given up: finish what is pending, then [`Consumer::release`].
    Revoked(Vec<i32>),
    /// These were taken away already (the session timed out): give them up at once by [`Consumer::release`].
    Lost(Vec<i32>),
    /// A partition's position is not in the log: it has to be located anew. `None` concerns all of them.
    OutOfRange(Option<i32>),
    /// Something failed that concerns no position; the client itself tries again.
    Failed(String),
    /// This consumer reads nothing any more, for this reason.
    Fatal(String),
}

/// What the log knows of a partition: where one may start to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub partition: i32,
    /// First offset that the log still holds.
    pub start: i64,
    /// The offset that the next record gets.
    pub end: i64,
    /// The consumer group's committed offset, if any.
    pub committed: Option<i64>,
}

impl Extent {
    /// Whether the log holds this offset.
    pub fn holds(&self, offset: i64) -> bool {
        (self.start..self.end).contains(&offset)
    }
}

/// The side of a log that appends. Shared by all requests.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// The topic's name.
    fn topic(&self) -> &str;

    /// The consumer group that [`EventLog::consumer`] joins.
    fn group(&self) -> &str;

    /// Makes sure that the topic and the dead-letter topic are there, creating them if configured so.
    ///
    /// # Errors
    /// When the log is away, or a topic is missing and must not be created.
    async fn prepare(&self) -> Result<(), LogError>;

    /// Appends the records and returns once all of them are durable. The records of a key stay in order.
    ///
    /// # Errors
    /// When any of them may not have been stored; some may have been.
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError>;

    /// As [`EventLog::append`], and says exactly which records were not acknowledged: who keeps them can append them
    /// again, or keep them elsewhere.
    ///
    /// # Errors
    /// When there are any.
    async fn try_append(&self, records: &[NewRecord]) -> Result<(), Unstored> {
        let all = 0..records.len();
        self.append(records.to_vec()).await.map_err(|error| Unstored { error, places: all.collect() })
    }

    /// Whether the log is known to be away at this moment. `false` promises nothing.
    fn is_away(&self) -> bool {
        false
    }

    /// What an acknowledged record is stored on.
    fn stored(&self) -> Stored;

    /// Keeps dead letters and returns once all of them are durable. What is too large for the log is cut and says so.
    ///
    /// # Errors
    /// When any of them may not have been stored. Storing one twice is harmless.
    async fn dead_letters(&self, letters: &[DeadLetter]) -> Result<(), LogError>;

    /// Whether records can be appended at the moment.
    ///
    /// # Errors
    /// What keeps them from it.
    async fn ready(&self) -> Result<(), LogError>;

    /// How many partitions the topic has.
    ///
    /// # Errors
    /// When the log is away.
    async fn partitions(&self) -> Result<i32, LogError>;

    /// The first record at or behind each of these places (partition and offset, at most one of each partition), read
    /// beside the consumer group. `None` where the partition ends before there is one.
    ///
    /// # Errors
    /// When the log is away, or does not hold such an offset any more.
    async fn first_records(&self, places: &[(i32, i64)]) -> Result<Vec<Option<KeptRecord>>, LogError>;

    /// The offset of the first record of a partition that is younger than `time_ms`; `None` when none is.
    ///
    /// # Errors
    /// When the log is away.
    async fn first_after(&self, partition: i32, time_ms: i64) -> Result<Option<i64>, LogError>;

    /// A new member of the consumer group, for one worker.
    ///
    /// # Errors
    /// When the client cannot be built from its configuration.
    fn consumer(&self) -> Result<Arc<dyn Consumer>, LogError>;

    /// Waits until everything handed over is acknowledged or has failed, at most `timeout`.
    async fn drain(&self, timeout: Duration);
}

/// Prepares a log as soon as it answers. `false`: the shutdown began first. `waiting` is told each time that it does not.
///
/// # Errors
/// When it will never answer as it is configured.
pub async fn prepare(log: &dyn EventLog, shutdown: &Shutdown, waiting: impl Fn(&LogError)) -> Result<bool, LogError> {
    let mut failures = 0;
    loop {
        let prepared = tokio::select! {
            prepared = log.prepare() => prepared,
            () = shutdown.begun() => return Ok(false),
        };
        match prepared {
            Ok(()) => return Ok(true),
            Err(error) if !error.is_retryable() => return Err(error),
            Err(error) => waiting(&error),
        }
        failures += 1;
        if tokio::time::timeout(Backoff::AWAY.after(failures), shutdown.begun()).await.is_ok() {
            return Ok(false);
        }
    }
}

/// Keeps dead letters, as often as it takes. `failed` is told of each failure, by its number.
pub async fn bury(log: &dyn EventLog, letters: &[DeadLetter], failed: impl Fn(u32, &LogError)) {
    let mut failures = 0;
    while let Err(error) = log.dead_letters(letters).await {
        failures += 1;
        failed(failures, &error);
        tokio::time::sleep(Backoff::AWAY.after(failures)).await;
    }
}

/// The side of a log that reads: one member of the consumer group.
///
/// One thread polls, starts, pauses and releases; [`Consumer::extents`] and [`Consumer::ends`] block on the
/// network and may be called from others at the same time, [`Consumer::close`] once no other call comes.
///
/// The group waits for the answer to a revocation: every [`Notice::Revoked`] has to be followed by
/// [`Consumer::release`] of all its partitions, an empty one too. Until then the client holds its other partitions
/// still. An assignment waits for nobody: partitions may be started when and in as many steps as it suits.
pub trait Consumer: Send + Sync {
    /// Hands up to `max` records to `each`, in order per partition, waiting at most `timeout` for the first, and
    /// returns what else happened. Must be called often even when nothing is wanted: it keeps the membership.
    fn poll(&self, timeout: Duration, max: usize, each: &mut dyn FnMut(LogRecord<'_>)) -> Vec<Notice>;

    /// Begins to read the partitions at these offsets, not paused, wherever they were read before. Partitions that were
    /// taken away meanwhile are left out. Records handed out afterwards are from there.
    ///
    /// # Errors
    /// When the client refuses.
    fn start(&self, positions: &[(i32, i64)]) -> Result<(), LogError>;

    /// Stops handing out records of these partitions for a while; the membership is kept.
    ///
    /// # Errors
    /// When the client refuses.
    fn pause(&self, partitions: &[i32]) -> Result<(), LogError>;

    /// Ends a pause.
    ///
    /// # Errors
    /// When the client refuses.
    fn resume(&self, partitions: &[i32]) -> Result<(), LogError>;

    /// Gives partitions up, started or not, and answers a revocation with the last of its partitions; an empty list
    /// answers a revocation of nothing.
    ///
    /// # Errors
    /// When the client refuses.
    fn release(&self, partitions: &[i32]) -> Result<(), LogError>;

    /// Commits positions for the group, in the background. Where a failure matters the next call makes up for it, or
    /// [`Consumer::commit_now`].
    fn commit(&self, positions: &[(i32, i64)]);

    /// Commits positions for the group and returns once they are. Blocks, as long as the group's coordinator is away.
    ///
    /// # Errors
    /// When they are not committed: the partitions are somebody else's, or the log is away.
    fn commit_now(&self, positions: &[(i32, i64)]) -> Result<(), LogError>;

    /// Where these partitions begin and end and what the group committed. Blocks.
    ///
    /// # Errors
    /// When the log is away.
    fn extents(&self, partitions: &[i32]) -> Result<Vec<Extent>, LogError>;

    /// Where these partitions end, by a fresh answer. Blocks.
    ///
    /// # Errors
    /// When the log is away.
    fn ends(&self, partitions: &[i32]) -> Result<Vec<(i32, i64)>, LogError>;

    /// Leaves the group, within seconds whatever is down. The consumer is not polled afterwards. Blocks.
    fn close(&self);
}
