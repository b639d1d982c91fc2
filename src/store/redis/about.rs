use super::RedisStore;
use crate::store::layout;
use crate::store::{Layout, StoreError};
use ::redis::cmd;
use std::collections::HashMap;

/// What a Redis says of itself; a hosted one may keep some of it back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Which node of a cluster it is.
    pub node: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Whether it writes an append-only file.
    pub append_only: Option<bool>,
    /// Whether it is a replica, which takes no writes.
    pub replica: Option<bool>,
}

impl RedisStore {
    /// Asks Redis about itself, in a cluster each master. Changes nothing.
    ///
    /// # Errors
    /// When it is away, or does not let this user ask.
    pub async fn about(&self) -> Result<Vec<About>, StoreError> {
        let infos = self.link.each_master::<String>(&cmd("INFO")).await?;
        Ok(infos.answers.into_iter().map(|(node, info)| told(node, &info)).collect())
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

fn told(node: Option<String>, info: &str) -> About {
    let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
    About {
        node,
        version: fields.get("redis_version").map(|version| (*version).to_owned()),
        append_only: fields.get("aof_enabled").map(|enabled| *enabled == "1"),
        replica: fields.get("role").map(|role| *role == "slave"),
    }
}
