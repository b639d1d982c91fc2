//! Kafka and Redis that die, restart, go back in time, lose everything or are full.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use toml::Value;

use crate::chaos::round::Round;
use crate::chaos::stage::{Stage, World};
use crate::chaos::{Fault, Lane, Struck};
use crate::support::{Redis, eventually};

const SOON: Duration = Duration::from_secs(10);

pub(super) fn all(world: &World) -> Vec<Box<dyn Fault + '_>> {
    let every = [
        What::KafkaKilled,
        What::KafkaRestarted,
        What::RedisKilled,
        What::RedisBack,
        What::RedisEmptied,
        What::RedisFull,
    ];
    every.into_iter().map(|what| Box::new(Service { world, what }) as Box<dyn Fault>).collect()
}

#[derive(Clone, Copy)]
enum What {
    KafkaKilled,
    KafkaRestarted,
    RedisKilled,
    RedisBack,
    RedisEmptied,
    RedisFull,
}

struct Service<'w> {
    world: &'w World,
    what: What,
}

#[async_trait(?Send)]
impl Fault for Service<'_> {
    fn name(&self) -> &'static str {
        match self.what {
            What::KafkaKilled => "SIGKILL of Kafka",
            What::KafkaRestarted => "restart of Kafka",
            What::RedisKilled => "SIGKILL of Redis",
            What::RedisBack => "Redis back from an older AOF",
            What::RedisEmptied => "FLUSHALL",
            What::RedisFull => "Redis out of memory",
        }
    }

    fn lane(&self) -> Lane {
        Lane::Rough
    }

    async fn stage(&self) -> Box<dyn Stage + '_> {
        Box::new(self.world.own().await.direct())
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        let own = self.world.own().await;
        round.moment(0, 1_500).await;
        match self.what {
            What::KafkaKilled => own.kafka.kill(),
            What::KafkaRestarted => own.kafka.ended().await,
            What::RedisKilled => return killed(&own.redis, round).await,
            What::RedisBack => return back_in_time(&own.redis, round).await,
            What::RedisEmptied => return emptied(&own.redis, round).await,
            What::RedisFull => return full(&own.redis, round).await,
        }
        round.moment(0, 2_000).await;
        own.kafka.spawn();
        Struck { injected: 1, hit: 1 }
    }
}

async fn killed(redis: &Redis, round: &mut Round<'_>) -> Struck {
    let times = round.choices.between(1, 3);
    for _ in 0..times {
        redis.kill();
        round.moment(0, 1_500).await;
        redis.restart().await;
        round.moment(0, 1_500).await;
    }
    Struck { injected: times, hit: times }
}

/// Where the counts of the round's partitions end together.
async fn progress(redis: &Redis, round: &Round<'_>) -> i64 {
    let (prefix, topic) = (round.settings.text_of("store.redis.prefix"), round.settings.text_of("log.kafka.topic"));
    let mut connection = redis.connection().await;
    let mut sum = 0;
    for partition in 0..crate::chaos::round::PARTITIONS {
        let shard =
            i64::from(partition) % round.settings.get("store.redis.shards").and_then(Value::as_integer).unwrap_or(1);
        let name = format!("{prefix}:{{{shard}}}:partition:{topic}:{partition}");
        let next: Option<i64> =
            redis::cmd("HGET").arg(name).arg("next_offset").query_async(&mut connection).await.expect("an offset");
        sum += next.unwrap_or(0);
    }
    sum
}

/// Takes a copy of the append-only files, and some time later starts on that copy.
async fn back_in_time(redis: &Redis, round: &mut Round<'_>) -> Struck {
    let (files, copy) = (redis.dir().join("appendonlydir"), redis.dir().join("copy"));
    copy_files(&files, &copy);
    let then = progress(redis, round).await;
    round.moment(500, 5_000).await;
    let now = progress(redis, round).await;
    redis.kill();
    std::fs::remove_dir_all(&files).expect("the newer files go");
    std::fs::rename(&copy, &files).expect("the older files come back");
    redis.restart().await;
    Struck { injected: 1, hit: u64::from(now > then) }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("append-only files") {
        let entry = entry.expect("a file");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

async fn emptied(redis: &Redis, round: &mut Round<'_>) -> Struck {
    let times = round.choices.between(1, 2);
    let mut hit = 0;
    for _ in 0..times {
        hit += u64::from(progress(redis, round).await > 0);
        let mut connection = redis.connection().await;
        redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.expect("emptied");
        round.moment(500, 2_500).await;
    }
    Struck { injected: times, hit }
}

/// A number of INFO: `name:number` or `name:count=number`.
async fn info(redis: &Redis, section: &str, name: &str) -> u64 {
    let mut connection = redis.connection().await;
    let text: String = redis::cmd("INFO").arg(section).query_async(&mut connection).await.expect("INFO");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map_or(0, |value| value.trim_start_matches("count=").parse().expect("a number"))
}

async fn full(redis: &Redis, round: &mut Round<'_>) -> Struck {
    let refused = info(redis, "errorstats", "errorstat_OOM").await;
    let limit = info(redis, "memory", "used_memory").await + 1024 * round.choices.between(1, 64);
    limit_memory(redis, limit).await;
    eventually(SOON, "a write is refused", async || {
        let now = info(redis, "errorstats", "errorstat_OOM").await;
        if now > refused { Ok(()) } else { Err("none is") }
    })
    .await;
    round.moment(0, 3_000).await;
    limit_memory(redis, 0).await;
    let hit = info(redis, "errorstats", "errorstat_OOM").await - refused;
    Struck { injected: 1, hit }
}

async fn limit_memory(redis: &Redis, bytes: u64) {
    let mut connection = redis.connection().await;
    let mut limit = redis::cmd("CONFIG");
    limit.arg("SET").arg("maxmemory").arg(bytes).query_async::<()>(&mut connection).await.expect("a limit");
}
