//! Where the counts are: Redis or an embedded database.
//!
//! A store promises one thing: a flush adds its counts, notes its ledger and moves its offsets in one atomic step,
//! and only when every stored offset is the one that the flush expects. Everything else (who counts, when, how often
//! a reply is lost) may go wrong without changing a count.

mod config;
#[cfg(test)]
mod conformance;
mod embedded;
mod error;
mod gap;
mod handled;
mod layout;
mod merged;
#[cfg(test)]
mod model;
mod notices;
mod parts;
mod redis;
#[cfg(test)]
mod testing;

pub use config::{Config, Kind, RedisConfig, RedisUrl};
pub use embedded::{EmbeddedHandled, EmbeddedStore};
pub use error::StoreError;
pub use handled::{Effects, HandledEvents, Noted};
pub use notices::{LocalNotices, Notices};
pub use redis::{About, RedisHandled, RedisNotices, RedisStore};

use crate::counter::{self, Amounts, Fingerprint, Ledger, Registers, Segment, Spec};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::Arc;

/// What a partition is doing, as the status shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionState {
    /// It counts.
    Running,
    /// It waits for a while: too much is pending.
    Paused,
    /// It does not go on by itself; the reason says what to do.
    Stopped,
}

impl PartitionState {
    /// The name in the store and in the API.
    pub fn name(self) -> &'static str {
        match self {
            PartitionState::Running => "running",
            PartitionState::Paused => "paused",
            PartitionState::Stopped => "stopped",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<PartitionState> {
        [PartitionState::Running, PartitionState::Paused, PartitionState::Stopped]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// How a partition is, written with every flush. It decides no count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What it does.
    pub state: PartitionState,
    /// Why it is paused or stopped.
    pub reason: Option<String>,
    /// While it is stopped because records are gone: which offsets, like "100-249". `accept_gap` lets it go on.
    pub missing: Option<String>,
    /// End of the partition in the log, if known.
    pub high_watermark: Option<i64>,
    /// How many partitions the topic has.
    pub partitions: i32,
}

/// One partition's part of a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFlush {
    /// The partition.
    pub partition: i32,
    /// The offset that must be stored now; `None` when nothing may be stored yet.
    pub expected: Option<i64>,
    /// What to add; the stored offset becomes its `to`. An empty segment moves only the watermark.
    /// `None` writes the condition alone: for a partition that never counted.
    pub segment: Option<Arc<Segment>>,
    /// How the partition is.
    pub condition: Condition,
}

/// What goes to one shard in one atomic step.
#[derive(Debug, Clone)]
pub struct Flush {
    /// The shard that all these partitions belong to.
    pub shard: u32,
    /// The topic they are partitions of.
    pub topic: String,
    /// The processor's clock, in ms: for `updated_at`, and to leave out cells that are kept no longer.
    pub now_ms: i64,
    /// At most one entry for each partition.
    pub parts: Vec<PartitionFlush>,
}

/// What came of a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flushed {
    /// All of it is stored. `cells` were written.
    Applied {
        /// Numbers that were added to.
        cells: usize,
    },
    /// Nothing was written, because at least one offset differs. These are the stored ones, for each part in order.
    Conflict(Vec<(i32, Option<i64>)>),
}

/// What the store holds of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPartition {
    /// Where counting began; `None` as long as nothing was counted.
    pub start_offset: Option<i64>,
    /// Where it goes on; `None` as long as nothing was counted.
    pub next_offset: Option<i64>,
    /// The watermark, in ms.
    pub watermark_ms: Option<i64>,
    /// The last consumed record.
    pub fingerprint: Option<Fingerprint>,
    /// Where every offset went.
    pub ledger: Ledger,
    /// Between which times, in ms, records were lost in gaps that somebody accepted.
    pub lost_ms: Option<(i64, i64)>,
    /// Somebody accepts the gap at `next_offset`.
    pub gap_accepted: bool,
    /// How it was at the last flush.
    pub condition: Condition,
    /// When that was, in ms.
    pub updated_at_ms: i64,
}

/// What must stay the same from start to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The topic that is counted.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// The counters' definitions.
    pub counters: Vec<Spec>,
}

/// A counter as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCounter {
    /// Its definition.
    pub spec: Spec,
    /// Since when it counts, in unix seconds; 0 when it was there from the first record on.
    pub since: i64,
}

/// Which keys of a bucket are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// None: only the sums.
    None,
    /// One.
    One(String),
    /// All.
    All,
}

/// A question for buckets of one counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Name of the counter.
    pub counter: String,
    /// What it tells of a window.
    pub kind: counter::Kind,
    /// Label of the window.
    pub window: String,
    /// Starts of the buckets, in unix seconds.
    pub starts: Vec<i64>,
    /// Which keys.
    pub keys: Keys,
}

/// What a bucket holds, shards added up. A bucket that nobody counted into is all zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredBucket {
    /// Events, `other` included.
    pub total: u64,
    /// Events whose key found no place.
    pub other: u64,
    /// The wanted keys that have a count, in no order.
    pub keys: Vec<(String, u64)>,
    /// What the events amount to; nothing where they are only counted, or there are none.
    pub value: Option<StoredValue>,
    /// The same of those of `keys`.
    pub values: HashMap<String, StoredValue>,
}

/// What events amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredValue {
    /// Numbers, scaled by their counter's factor.
    Amounts(Amounts),
    /// About how many different ones.
    Distinct(u64),
}

/// A store of counts. Built with the counters that it counts.
#[async_trait]
pub trait CounterStore: Send + Sync {
    /// Checks that the store fits this layout and adds what is new to it: the whole layout to an empty store, a new
    /// counter with `since` = `now_s`.
    ///
    /// # Errors
    /// [`StoreError::Layout`] when it does not fit; else when the store is away or unfit (it may evict keys).
    async fn prepare(&self, layout: &Layout, now_s: i64) -> Result<(), StoreError>;

    /// The counters that the store knows; empty before the first `prepare`.
    ///
    /// # Errors
    /// When the store is away.
    async fn counters(&self) -> Result<Vec<StoredCounter>, StoreError>;

    /// Over how many shards partitions are spread; a partition belongs to shard `partition % shards`.
    fn shards(&self) -> u32;

    /// Compares and, if all offsets are as expected, adds: one atomic step.
    ///
    /// # Errors
    /// When it is unknown whether the flush was applied, or it certainly was not; the same flush may be sent again,
    /// and [`StoreError::is_retryable`] tells whether that may help.
    async fn flush(&self, flush: &Flush) -> Result<Flushed, StoreError>;

    /// What is stored of these partitions, in their order; `None` for one that was never written.
    ///
    /// # Errors
    /// When the store is away, or holds something that is no partition.
    async fn partitions(&self, topic: &str, partitions: &[i32]) -> Result<Vec<Option<StoredPartition>>, StoreError>;

    /// Lets a partition that is stopped at this offset go on behind the records that are gone.
    ///
    /// # Errors
    /// When the store is away.
    async fn accept_gap(&self, topic: &str, partition: i32, next_offset: Option<i64>) -> Result<(), StoreError>;

    /// How many keys these buckets hold together: what a `read` of all of them would cost.
    ///
    /// # Errors
    /// When the store is away.
    async fn key_count(&self, counter: &str, window: &str, starts: &[i64]) -> Result<u64, StoreError>;

    /// The buckets of a question, in the order of its starts. Each bucket is of one moment; only how many different
    /// ones a key had may be told later than how many events.
    ///
    /// # Errors
    /// When the store is away.
    async fn read(&self, read: &Read) -> Result<Vec<StoredBucket>, StoreError>;

    /// What all buckets of a question about a distinct count had together: a value that stood in two of them is one.
    /// With a key, what it had in them.
    ///
    /// # Errors
    /// When the store is away.
    async fn united(&self, read: &Read) -> Result<Registers, StoreError>;

    /// Whether the store can take flushes at the moment.
    ///
    /// # Errors
    /// What keeps it from it.
    async fn ready(&self) -> Result<(), StoreError>;
}
