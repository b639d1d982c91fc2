//! A store in memory, for the tests of this room.

use crate::counter::{Ledger, Raise, Registers, Spec};
use crate::store::{
    Condition, CounterStore, Flush, Flushed, Keys, Layout, PartitionState, Read, StoreError, StoredBucket,
    StoredCounter, StoredPartition,
};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub(super) struct Fake {
    pub(super) rows: Mutex<HashMap<i32, StoredPartition>>,
    pub(super) buckets: Mutex<HashMap<(String, String, i64), StoredBucket>>,
    pub(super) known: Mutex<Vec<StoredCounter>>,
    /// What was asked, in order.
    pub(super) calls: Mutex<Vec<&'static str>>,
    pub(super) away: AtomicBool,
    /// The counter whose buckets are never read to the end.
    pub(super) stuck: Mutex<Option<&'static str>>,
}

/// A partition that counted offsets 0 to 9 and is at the end of its log.
pub(super) fn row(partitions: i32, watermark_ms: i64, updated_at_ms: i64) -> StoredPartition {
    let state = PartitionState::Running;
    StoredPartition {
        start_offset: Some(0),
        next_offset: Some(10),
        watermark_ms: Some(watermark_ms),
        fingerprint: None,
        ledger: Ledger { consumed: 10, counted: 10, ..Ledger::default() },
        lost_ms: None,
        gap_accepted: false,
        condition: Condition { state, reason: None, missing: None, high_watermark: Some(10), partitions },
        updated_at_ms,
    }
}

impl Fake {
    pub(super) fn put(&self, partition: i32, row: StoredPartition) {
        self.rows.lock().unwrap().insert(partition, row);
    }

    pub(super) fn know(&self, spec: Spec, since: i64) {
        self.known.lock().unwrap().push(StoredCounter { spec, since });
    }

    pub(super) fn fill(&self, counter: &str, window: &str, start: i64, other: u64, keys: &[(&str, u64)]) {
        let keys: Vec<_> = keys.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect();
        let total = other + keys.iter().map(|(_, n)| n).sum::<u64>();
        let place = (counter.to_owned(), window.to_owned(), start);
        self.buckets.lock().unwrap().insert(place, StoredBucket { total, other, keys, ..StoredBucket::default() });
    }

    fn answer(&self, call: &'static str) -> Result<(), StoreError> {
        self.calls.lock().unwrap().push(call);
        if self.away.load(Ordering::Relaxed) { Err(StoreError::Layout("it is away".into())) } else { Ok(()) }
    }

    fn bucket(&self, counter: &str, window: &str, start: i64) -> StoredBucket {
        let place = (counter.to_owned(), window.to_owned(), start);
        self.buckets.lock().unwrap().get(&place).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl CounterStore for Fake {
    async fn prepare(&self, _: &Layout, _: i64) -> Result<(), StoreError> {
        self.answer("prepare")
    }

    async fn counters(&self) -> Result<Vec<StoredCounter>, StoreError> {
        self.answer("counters")?;
        Ok(self.known.lock().unwrap().clone())
    }

    fn shards(&self) -> u32 {
        1
    }

    async fn flush(&self, _: &Flush) -> Result<Flushed, StoreError> {
        self.answer("flush")?;
        Ok(Flushed::Applied { cells: 0 })
    }

    async fn partitions(&self, _: &str, partitions: &[i32]) -> Result<Vec<Option<StoredPartition>>, StoreError> {
        self.answer("partitions")?;
        let rows = self.rows.lock().unwrap();
        Ok(partitions.iter().map(|n| rows.get(n).cloned()).collect())
    }

    async fn accept_gap(&self, _: &str, _: i32, _: Option<i64>) -> Result<(), StoreError> {
        unreachable!("the query side accepts nothing")
    }

    async fn key_count(&self, counter: &str, window: &str, starts: &[i64]) -> Result<u64, StoreError> {
        self.answer("key_count")?;
        Ok(starts.iter().map(|start| self.bucket(counter, window, *start).keys.len() as u64).sum())
    }

    async fn read(&self, read: &Read) -> Result<Vec<StoredBucket>, StoreError> {
        self.answer("read")?;
        if self.stuck.lock().unwrap().is_some_and(|stuck| stuck == read.counter) {
            std::future::pending::<()>().await;
        }
        let wanted = |start: &i64| {
            let mut bucket = self.bucket(&read.counter, &read.window, *start);
            match &read.keys {
                Keys::None => bucket.keys.clear(),
                Keys::One(one) => bucket.keys.retain(|(key, _)| key == one),
                Keys::All => {}
            }
            bucket
        };
        Ok(read.starts.iter().map(wanted).collect())
    }

    /// Whoever was counted in any of them, as if nobody was in two.
    async fn united(&self, read: &Read) -> Result<Registers, StoreError> {
        self.answer("united")?;
        let mut registers = Registers::default();
        for start in &read.starts {
            let bucket = self.bucket(&read.counter, &read.window, *start);
            (0..bucket.total).for_each(|n| registers.raise(Raise::of(format!("{start} {n}").as_bytes())));
        }
        Ok(registers)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.answer("ready")
    }
}
