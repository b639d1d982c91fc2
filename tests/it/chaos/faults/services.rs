//! Kafka and Redis that die, restart, go back in time, lose everything or are full.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use crate::chaos::round::{Round, progress};
use crate::chaos::stage::{Stage, World};
use crate::chaos::{Fault, Lane, Struck};
use crate::support::{Kafka, Redis, eventually};

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
        if self.is_kafkas() { Lane::Kafka } else { Lane::Redis }
    }

    async fn stage(&self) -> Box<dyn Stage + '_> {
        if self.is_kafkas() {
            Box::new(self.world.kafka().await.stage().await)
        } else {
            Box::new(self.world.redis().await.stage().await)
        }
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        round.moment(0, 1_500).await;
        if self.is_kafkas() {
            return self.strike_kafka(&self.world.kafka().await.kafka, round).await;
        }
        let redis = &self.world.redis().await.redis;
        match self.what {
            What::RedisBack => back_in_time(redis, round).await,
            What::RedisEmptied => emptied(redis, round).await,
            What::RedisFull => full(redis, round).await,
            _ => killed(redis, round).await,
        }
    }
}

impl Service<'_> {
    fn is_kafkas(&self) -> bool {
        matches!(self.what, What::KafkaKilled | What::KafkaRestarted)
    }

    async fn strike_kafka(&self, kafka: &Kafka, round: &mut Round<'_>) -> Struck {
        if matches!(self.what, What::KafkaKilled) {
            kafka.kill();
        } else {
            kafka.ended().await;
        }
        round.moment(0, 2_000).await;
        kafka.spawn();
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
    for _ in 0..times {
        eventually(SOON, "something is stored", async || {
            if progress(redis, round).await > 0 { Ok(()) } else { Err("nothing is") }
        })
        .await;
        let mut connection = redis.connection().await;
        redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.expect("emptied");
        round.moment(500, 2_500).await;
    }
    Struck { injected: times, hit: times }
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
