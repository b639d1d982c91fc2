use super::RedisStore;
use crate::counter::Ledger;
use crate::store::gap::accepted_at;
use crate::store::{Condition, PartitionState, StoreError, StoredPartition};
use ::redis::cmd;
use futures_util::future::try_join_all;
use std::collections::HashMap;
use std::str::FromStr;

type Hash = HashMap<String, String>;

impl RedisStore {
    pub(super) async fn read_partitions(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Vec<Option<StoredPartition>>, StoreError> {
        // One by one, and all at once: in a cluster each finds its own way, even while its slot is being moved.
        let hashes = try_join_all(partitions.iter().map(|partition| async {
            let shard = u32::try_from(*partition).unwrap_or_default() % self.shards;
            self.link.command::<Hash>(cmd("HGETALL").arg(self.names.partition(shard, topic, *partition))).await
        }));
        let hashes = hashes.await?;
        let parsed = partitions.iter().zip(hashes).map(|(partition, hash)| {
            let parsed = if hash.is_empty() { Ok(None) } else { parse(&hash).map(Some) };
            parsed.map_err(|problem| self.corrupt(format!("{topic} partition {partition}: {problem}")))
        });
        parsed.collect()
    }
}

fn parse(hash: &Hash) -> Result<StoredPartition, String> {
    let state = required::<String>(hash, "state")?;
    let state = PartitionState::named(&state).ok_or_else(|| format!("state is {state:?}"))?;
    let condition = Condition {
        state,
        reason: hash.get("reason").filter(|reason| !reason.is_empty()).cloned(),
        missing: hash.get("missing").filter(|missing| !missing.is_empty()).cloned(),
        high_watermark: optional(hash, "high_watermark")?,
        partitions: required(hash, "partitions")?,
    };
    let mut ledger = Ledger::default();
    for (name, value) in ledger.fields_mut() {
        *value = optional(hash, name)?.unwrap_or_default();
    }
    let next_offset = optional(hash, "next_offset")?;
    let lost_from: Option<i64> = optional(hash, "lost_from")?;
    Ok(StoredPartition {
        start_offset: optional(hash, "start_offset")?,
        next_offset,
        watermark_ms: optional(hash, "watermark")?,
        fingerprint: optional(hash, "fingerprint")?,
        ledger,
        lost_ms: lost_from.zip(optional(hash, "lost_until")?),
        gap_accepted: hash.get("gap_accepted") == Some(&accepted_at(next_offset)),
        condition,
        updated_at_ms: required(hash, "updated_at")?,
    })
}

fn required<T: FromStr>(hash: &Hash, name: &str) -> Result<T, String> {
    optional(hash, name)?.ok_or_else(|| format!("{name} is missing"))
}

fn optional<T: FromStr>(hash: &Hash, name: &str) -> Result<Option<T>, String> {
    let parsed = hash.get(name).map(|text| text.parse().map_err(|_| format!("{name} is {text:?}")));
    parsed.transpose()
}
