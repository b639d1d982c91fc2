use super::RedisStore;
use crate::store::layout;
use crate::store::{Layout, StoreError};
use ::redis::cmd;
use std::collections::HashMap;

/// What a Redis says of itself; a hosted one may keep some of it back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Its version.
    pub version: Option<String>,
    /// Whether it writes an append-only file.
    pub append_only: Option<bool>,
    /// Whether it is a replica, which takes no writes.
    pub replica: Option<bool>,
}

impl RedisStore {
    /// Asks Redis about itself. Changes nothing.
    ///
    /// # Errors
    /// When it is away, or does not let this user ask.
    pub async fn about(&self) -> Result<About, StoreError> {
        let info: String = self.link.command(&cmd("INFO")).await?;
        let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
        Ok(About {
            version: fields.get("redis_version").map(|version| (*version).to_owned()),
            append_only: fields.get("aof_enabled").map(|enabled| *enabled == "1"),
            replica: fields.get("role").map(|role| *role == "slave"),
        })
    }

    /// Whether the counts that are there fit this layout; false when nothing is there yet. Changes nothing.
    ///
    /// # Errors
    /// As [`crate::store::CounterStore::prepare`].
    pub async fn fits(&self, wanted: &Layout) -> Result<bool, StoreError> {
        let stored = self.stored_layout().await?;
        layout::additions(&stored, wanted, self.shards, 0, &self.place)?;
        Ok(!stored.is_empty())
    }
}
