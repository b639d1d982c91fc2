//! The store in Redis. One Lua script is the atomic step; keys and fields are a contract with readers of the store.

mod about;
mod connection;
mod fitness;
mod flush;
mod handled;
mod laid;
mod link;
mod names;
mod notices;
mod partition;
mod problem;
mod read;
mod script;
#[cfg(test)]
mod tests;

pub use about::About;
pub use handled::RedisHandled;
pub use notices::RedisNotices;

use super::gap::accepted_at;
use super::layout::{self, Place};
use super::{
    CounterStore, Flush, Flushed, Layout, Read, RedisConfig, StoreError, StoredBucket, StoredCounter, StoredPartition,
};
use crate::counter::{Counters, Registers};
use ::redis::cmd;
use async_trait::async_trait;
use fitness::Fitness;
use futures_util::future::try_join_all;
use laid::Laid;
use link::Link;
use names::Names;
use script::Script;
use std::sync::{Arc, Mutex};

/// Counts in Redis.
pub struct RedisStore {
    link: Link,
    cluster: bool,
    names: Names,
    shards: u32,
    counters: Arc<Counters>,
    fitness: Fitness,
    flush: Script,
    layout: Script,
    laid: Mutex<Option<Laid>>,
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
            link: Link::new(config)?,
            cluster: config.is_cluster(),
            names: Names::new(&config.prefix),
            shards: config.shards,
            counters,
            fitness: Fitness::default(),
            flush: Script::new(include_str!("redis/flush.lua")),
            layout: Script::new(include_str!("redis/layout.lua")),
            laid: Mutex::default(),
            place: Place {
                what: format!("the keys with prefix `{}` in {}", config.prefix, config.url),
                another: "choose another store.redis.prefix",
            },
        })
    }

    /// Whether the node of every shard answers.
    async fn answers(&self) -> Result<(), StoreError> {
        if !self.cluster {
            // It fails while Redis loads its data, which INFO does not.
            return self.link.command::<String>(&cmd("PING")).await.map(|_| ());
        }
        let looks = (0..self.shards).map(|shard| async move {
            self.link.command::<i64>(cmd("HLEN").arg(self.names.partition(shard, "", 0))).await
        });
        try_join_all(looks).await.map(|_| ())
    }
}

#[async_trait]
impl CounterStore for RedisStore {
    async fn prepare(&self, layout: &Layout, now_s: i64) -> Result<(), StoreError> {
        self.fitness.check(&self.link).await?;
        self.lay(layout, now_s).await
    }

    async fn counters(&self) -> Result<Vec<StoredCounter>, StoreError> {
        layout::counters(&self.stored_layout().await?, &self.place)
    }

    fn shards(&self) -> u32 {
        self.shards
    }

    async fn flush(&self, flush: &Flush) -> Result<Flushed, StoreError> {
        self.fitness.check(&self.link).await?;
        if flush.parts.iter().any(|part| part.expected.is_none()) {
            self.lay_again().await?;
        }
        self.flush_once(flush).await
    }

    async fn partitions(&self, topic: &str, partitions: &[i32]) -> Result<Vec<Option<StoredPartition>>, StoreError> {
        let stored = self.read_partitions(topic, partitions).await?;
        if stored.iter().any(Option::is_none) {
            self.lay_again().await?;
        }
        Ok(stored)
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

    async fn united(&self, read: &Read) -> Result<Registers, StoreError> {
        self.united_buckets(read).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.answers().await?;
        self.fitness.check(&self.link).await
    }
}
