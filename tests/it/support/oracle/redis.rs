//! What Redis really holds, by the documented names of its keys, against the recount.

use std::collections::{BTreeMap, HashMap};

use redis::aio::MultiplexedConnection;

use super::{Bucket, Differences, Found, OUTCOMES, Recount, Wanted};
use crate::support::{Redis, RedisCluster, Settings};

/// After how many seconds past its retention a key of a bucket expires.
const GRACE_S: i64 = 600;
/// How many keys are asked for at a time.
const CHUNK: usize = 500;

type Hash = HashMap<String, String>;

/// What is under the keys of one prefix, whichever node has them.
struct Stored {
    /// When a key expires, in unix seconds (-1 for never), and what it holds.
    keys: BTreeMap<String, (i64, Hash)>,
}

impl Recount {
    /// Fails unless Redis holds exactly what the records add up to: every bucket with its keys and its expiry, every
    /// partition with its ledger, and nothing else.
    pub(crate) async fn assert_in_redis(&self, redis: &Redis, settings: &Settings) {
        self.differences_in_redis(redis, settings).await.assert_none("Redis");
    }

    /// The same of a cluster, each of its masters asked for what it has.
    pub(crate) async fn assert_in_cluster(&self, cluster: &RedisCluster, settings: &Settings) {
        self.differences_in_cluster(cluster, settings).await.assert_none("the Redis Cluster");
    }

    /// In what Redis differs from what the records add up to.
    pub(crate) async fn differences_in_redis(&self, redis: &Redis, settings: &Settings) -> Differences {
        self.differences_in_nodes(vec![redis.connection().await], settings).await
    }

    /// In what a cluster differs from what the records add up to.
    pub(crate) async fn differences_in_cluster(&self, cluster: &RedisCluster, settings: &Settings) -> Differences {
        self.differences_in_nodes(cluster.connections().await, settings).await
    }

    async fn differences_in_nodes(&self, nodes: Vec<MultiplexedConnection>, settings: &Settings) -> Differences {
        let (topic, prefix) = (settings.text_of("log.kafka.topic"), settings.text_of("store.redis.prefix"));
        let (mut stored, mut lines) = Stored::read(nodes, prefix).await;
        lines.extend(self.partitions_differ(prefix, topic, &mut stored));
        let mut differences = Differences { lines, ..Differences::default() };
        self.buckets_differ(prefix, &mut stored, &mut differences);
        if stored.keys.remove(&format!("{prefix}:{{0}}:layout")).is_none() {
            differences.lines.push("there is no layout".to_owned());
        }
        let mut not_kept: Vec<_> = self.buckets.iter().collect();
        not_kept.retain(|(bucket, _)| !self.kept().any(|(kept, _)| kept == *bucket));
        for (bucket, shards) in not_kept {
            for shard in shards.keys() {
                stored.keys.remove(&self.name(prefix, *shard, "sum", bucket));
                stored.keys.remove(&self.name(prefix, *shard, "keys", bucket));
            }
        }
        differences.lines.extend(stored.keys.into_keys().map(|name| format!("{name}: should not be there")));
        differences
    }

    fn partitions_differ(&self, prefix: &str, topic: &str, stored: &mut Stored) -> Vec<String> {
        let mut differences = Vec::new();
        for (number, wanted) in &self.partitions {
            let shard = number.rem_euclid(self.rules.shards);
            let name = format!("{prefix}:{{{shard}}}:partition:{topic}:{number}");
            let (expires, hash) = stored.keys.remove(&name).unwrap_or((-1, Hash::new()));
            if expires != -1 {
                differences.push(format!("{name}: expires at {expires}, should never"));
            }
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

    fn buckets_differ(&self, prefix: &str, stored: &mut Stored, differences: &mut Differences) {
        let kept =
            self.kept().flat_map(|(bucket, shards)| shards.iter().map(move |(shard, wanted)| (bucket, *shard, wanted)));
        for (bucket, shard, wanted) in kept {
            let (counter, window) = self.counter_of(bucket);
            let expires = window.kept_until_ms(bucket.2) / 1_000 + GRACE_S;
            let mut hash = |kind: &str| {
                let name = self.name(prefix, shard, kind, bucket);
                let (found, hash) = stored.keys.remove(&name)?;
                if found != expires {
                    differences.lines.push(format!("{name}: expires at {found}, should at {expires}"));
                }
                Some(hash)
            };
            let (sum, keys) = (hash("sum").unwrap_or_default(), hash("keys").unwrap_or_default());
            let of = |field: &str| sum.get(field).map_or(0, |text| text.parse().expect("a count"));
            let keys = keys.into_iter().map(|(key, count)| (key, count.parse().expect("a count")));
            let found = Found { total: of("total"), other: of("other"), keys: keys.collect() };
            let name = self.name(prefix, shard, "sum", bucket);
            differences.compare(&name, bucket, &Wanted::sum([wanted], counter.max_keys), &found);
        }
    }

    fn name(&self, prefix: &str, shard: i32, kind: &str, bucket: &Bucket) -> String {
        let (counter, window) = self.counter_of(bucket);
        format!("{prefix}:{{{shard}}}:{kind}:{}:{}:{}", counter.name, window.label, bucket.2)
    }
}

impl Stored {
    /// All of it, and the keys that more than one node has.
    async fn read(nodes: Vec<MultiplexedConnection>, prefix: &str) -> (Stored, Vec<String>) {
        let (mut stored, mut twice) = (Stored { keys: BTreeMap::new() }, Vec::new());
        for mut node in nodes {
            let mut all = names(&mut node, &format!("{prefix}:*")).await;
            // What ids of visitors are made with: no counts.
            all.retain(|name| !name.starts_with(&format!("{prefix}:{{0}}:salt:")));
            for some in all.chunks(CHUNK) {
                let mut pipeline = redis::pipe();
                some.iter().for_each(|name| _ = pipeline.cmd("EXPIRETIME").arg(name).hgetall(name));
                let found: Vec<redis::Value> = pipeline.query_async(&mut node).await.expect("hashes");
                for (name, pair) in some.iter().zip(found.chunks_exact(2)) {
                    let expires = redis::from_redis_value(pair[0].clone()).expect("a time");
                    let hash = redis::from_redis_value(pair[1].clone()).expect("a hash");
                    if stored.keys.insert(name.clone(), (expires, hash)).is_some() {
                        twice.push(format!("{name}: is on two nodes"));
                    }
                }
            }
        }
        (stored, twice)
    }
}

/// All keys of this pattern that a node has, each once.
async fn names(node: &mut MultiplexedConnection, pattern: &str) -> Vec<String> {
    let mut names = std::collections::BTreeSet::new();
    let mut cursor = 0_u64;
    loop {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(10_000);
        let (next, some): (u64, Vec<String>) = command.query_async(node).await.expect("keys");
        names.extend(some);
        cursor = next;
        if cursor == 0 {
            return names.into_iter().collect();
        }
    }
}
