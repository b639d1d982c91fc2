//! What Redis really holds, by the documented names of its keys, against the recount.

use std::collections::{BTreeMap, HashMap};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::{Bucket, Differences, Found, OUTCOMES, Recount, Wanted};
use crate::support::{Redis, Settings};

/// After how many seconds past its retention a key of a bucket expires.
const GRACE_S: i64 = 600;
/// How many keys are asked for at a time.
const CHUNK: usize = 500;

type Hash = HashMap<String, String>;

impl Recount {
    /// Fails unless Redis holds exactly what the records add up to: every bucket with its keys and its expiry, every
    /// partition with its ledger, and nothing else.
    pub(crate) async fn assert_in_redis(&self, redis: &Redis, settings: &Settings) {
        self.differences_in_redis(redis, settings).await.assert_none("Redis");
    }

    /// In what Redis differs from what the records add up to.
    pub(crate) async fn differences_in_redis(&self, redis: &Redis, settings: &Settings) -> Differences {
        let (topic, prefix) = (settings.text_of("log.kafka.topic"), settings.text_of("store.redis.prefix"));
        let mut connection = redis.connection().await;
        let mut names = scan(&mut connection, &format!("{prefix}:*")).await;
        let lines = self.partitions_differ(&mut connection, prefix, topic, &mut names).await;
        let mut differences = Differences { lines, ..Differences::default() };
        self.buckets_differ(&mut connection, prefix, &mut names, &mut differences).await;
        if names.remove(&format!("{prefix}:{{0}}:layout")).is_none() {
            differences.lines.push("there is no layout".to_owned());
        }
        let mut not_kept: Vec<_> = self.buckets.iter().collect();
        not_kept.retain(|(bucket, _)| !self.kept().any(|(kept, _)| kept == *bucket));
        for (bucket, shards) in not_kept {
            for shard in shards.keys() {
                names.remove(&self.name(prefix, *shard, "sum", bucket));
                names.remove(&self.name(prefix, *shard, "keys", bucket));
            }
        }
        differences.lines.extend(names.into_keys().map(|name| format!("{name}: should not be there")));
        differences
    }

    async fn partitions_differ(
        &self,
        connection: &mut MultiplexedConnection,
        prefix: &str,
        topic: &str,
        names: &mut BTreeMap<String, i64>,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        for (number, wanted) in &self.partitions {
            let shard = number.rem_euclid(self.rules.shards);
            let name = format!("{prefix}:{{{shard}}}:partition:{topic}:{number}");
            if let Some(expires) = names.remove(&name).filter(|expires| *expires != -1) {
                differences.push(format!("{name}: expires at {expires}, should never"));
            }
            let hash: Hash = connection.hgetall(&name).await.expect("a hash");
            let number = |field: &str| hash.get(field).map(|text| text.parse::<i64>().expect("a number"));
            let of = |field: &str| number(field).unwrap_or(0);
            let mut check = |what: &str, found: i64, wanted: i64| {
                if found != wanted {
                    differences.push(format!("{name}: {what} is {found}, should be {wanted}: {hash:?}"));
                }
            };
            for outcome in OUTCOMES {
                check(outcome, of(outcome), wanted.ledger.get(outcome).copied().unwrap_or(0) as i64);
            }
            check("consumed", of("consumed"), OUTCOMES.iter().map(|outcome| of(outcome)).sum());
            check("skipped", of("skipped"), wanted.skipped(of("start_offset")));
            check("lost", of("lost"), wanted.lost);
            let behind = of("next_offset") - of("start_offset");
            check("next_offset - start_offset", behind, of("consumed") + of("skipped") + of("lost"));
            // A partition without a record may never have been written; its next offset is 0 then.
            check("next_offset", of("next_offset"), wanted.next);
            if let Some(least) = wanted.watermark
                && number("watermark").is_none_or(|found| found < least)
            {
                differences.push(format!("{name}: watermark is {:?}, should be at least {least}", number("watermark")));
            }
        }
        differences
    }

    async fn buckets_differ(
        &self,
        connection: &mut MultiplexedConnection,
        prefix: &str,
        names: &mut BTreeMap<String, i64>,
        differences: &mut Differences,
    ) {
        let kept: Vec<_> = self
            .kept()
            .flat_map(|(bucket, shards)| shards.iter().map(move |(shard, wanted)| (bucket, *shard, wanted)))
            .collect();
        for some in kept.chunks(CHUNK) {
            let mut pipeline = redis::pipe();
            for (bucket, shard, _) in some {
                pipeline
                    .hgetall(self.name(prefix, *shard, "sum", bucket))
                    .hgetall(self.name(prefix, *shard, "keys", bucket));
            }
            let hashes: Vec<Hash> = pipeline.query_async(connection).await.expect("hashes");
            for ((bucket, shard, wanted), pair) in some.iter().zip(hashes.chunks(2)) {
                let (counter, window) = self.counter_of(bucket);
                let name = self.name(prefix, *shard, "sum", bucket);
                let of = |field: &str| pair[0].get(field).map_or(0, |text| text.parse().expect("a count"));
                let keys = pair[1].iter().map(|(key, count)| (key.clone(), count.parse().expect("a count")));
                let found = Found { total: of("total"), other: of("other"), keys: keys.collect() };
                differences.compare(&name, bucket, &Wanted::sum([*wanted], counter.max_keys), &found);
                let expires = window.kept_until_ms(bucket.2) / 1_000 + GRACE_S;
                for name in [name, self.name(prefix, *shard, "keys", bucket)] {
                    if let Some(found) = names.remove(&name).filter(|found| *found != expires) {
                        differences.lines.push(format!("{name}: expires at {found}, should at {expires}"));
                    }
                }
            }
        }
    }

    fn name(&self, prefix: &str, shard: i32, kind: &str, bucket: &Bucket) -> String {
        let (counter, window) = self.counter_of(bucket);
        format!("{prefix}:{{{shard}}}:{kind}:{}:{}:{}", counter.name, window.label, bucket.2)
    }
}

/// All keys of this pattern, each with the time in unix seconds when it expires; -1 for never.
async fn scan(connection: &mut MultiplexedConnection, pattern: &str) -> BTreeMap<String, i64> {
    let mut names: Vec<String> = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(10_000);
        let (next, some): (u64, Vec<String>) = command.query_async(connection).await.expect("keys");
        names.extend(some);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let mut expiries = BTreeMap::new();
    for some in names.chunks(CHUNK) {
        let mut pipeline = redis::pipe();
        some.iter().for_each(|name| _ = pipeline.cmd("EXPIRETIME").arg(name));
        let times: Vec<i64> = pipeline.query_async(connection).await.expect("times");
        expiries.extend(some.iter().cloned().zip(times));
    }
    expiries
}
