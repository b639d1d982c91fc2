//! The store in Redis. One Lua script is the atomic step; keys and fields are a contract with readers of the store.

mod about;
mod fitness;
mod flush;
mod link;
mod names;
mod partition;
mod problem;
mod read;
#[cfg(test)]
mod tests;

pub use about::About;

use super::gap::accepted_at;
use super::layout::{self, Fields, Place};
use super::{
    CounterStore, Flush, Flushed, Layout, Read, RedisConfig, StoreError, StoredBucket, StoredCounter, StoredPartition,
};
use crate::counter::Counters;
use ::redis::{Script, cmd};
use async_trait::async_trait;
use fitness::Fitness;
use link::Link;
use names::Names;

use std::sync::Arc;

/// How often another process may come between reading the layout and adding to it before we give up for now.
const ATTEMPTS: usize = 5;

/// Counts in Redis.
pub struct RedisStore {
    link: Link,
    names: Names,
    shards: u32,
    counters: Arc<Counters>,
    fitness: Fitness,
    flush: Script,
    layout: Script,
    place: Place,
}

impl RedisStore {
    /// A store for these counters. It connects when it is first used, and again whenever the connection fails.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: &RedisConfig, counters: Arc<Counters>) -> Result<RedisStore, StoreError> {
        config.validate()?;
        Ok(RedisStore {
            link: Link::new(&config.url)?,
            names: Names::new(&config.prefix),
            shards: config.shards,
            counters,
            fitness: Fitness::default(),
            flush: Script::new(include_str!("redis/flush.lua")),
            layout: Script::new(include_str!("redis/layout.lua")),
            place: Place {
                what: format!("the keys with prefix `{}` in {}", config.prefix, config.url),
                another: "choose another store.redis.prefix",
            },
        })
    }

    async fn stored_layout(&self) -> Result<Fields, StoreError> {
        self.link.command(cmd("HGETALL").arg(self.names.layout())).await
    }

    /// Adds to the layout unless it changed since `stored` was read; then answers false.
    async fn add_to_layout(&self, stored: &Fields, additions: &Fields) -> Result<bool, StoreError> {
        let mut script = self.layout.prepare_invoke();
        script.key(self.names.layout()).arg(stored.len());
        for (name, value) in additions {
            script.arg(name).arg(value);
        }
        let added: i64 = self.link.script(&script).await?;
        Ok(added == 1)
    }
}

#[async_trait]
impl CounterStore for RedisStore {
    async fn prepare(&self, layout: &Layout, now_s: i64) -> Result<(), StoreError> {
        self.fitness.check(&self.link).await?;
        for _ in 0..ATTEMPTS {
            let stored = self.stored_layout().await?;
            let additions = layout::additions(&stored, layout, self.shards, now_s, &self.place)?;
            if additions.is_empty() || self.add_to_layout(&stored, &additions).await? {
                return Ok(());
            }
        }
        let problem = "other processes keep changing the layout; this passes".to_owned();
        Err(StoreError::Unavailable { place: self.place.what.clone(), problem })
    }

    async fn counters(&self) -> Result<Vec<StoredCounter>, StoreError> {
        layout::counters(&self.stored_layout().await?, &self.place)
    }

    fn shards(&self) -> u32 {
        self.shards
    }

    async fn flush(&self, flush: &Flush) -> Result<Flushed, StoreError> {
        self.fitness.check(&self.link).await?;
        self.flush_once(flush).await
    }

    async fn partitions(&self, topic: &str, partitions: &[i32]) -> Result<Vec<Option<StoredPartition>>, StoreError> {
        self.read_partitions(topic, partitions).await
    }

    async fn accept_gap(&self, topic: &str, partition: i32, next_offset: Option<i64>) -> Result<(), StoreError> {
        let shard = u32::try_from(partition).unwrap_or_default() % self.shards;
        let mut set = cmd("HSET");
        set.arg(self.names.partition(shard, topic, partition)).arg("gap_accepted").arg(accepted_at(next_offset));
        self.link.command::<i64>(&set).await.map(drop)
    }

    async fn key_count(&self, counter: &str, window: &str, starts: &[i64]) -> Result<u64, StoreError> {
        self.count_keys(counter, window, starts).await
    }

    async fn read(&self, read: &Read) -> Result<Vec<StoredBucket>, StoreError> {
        self.read_buckets(read).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        // PING fails while Redis loads its data, which INFO does not.
        let _: String = self.link.command(&cmd("PING")).await?;
        self.fitness.check(&self.link).await
    }
}
