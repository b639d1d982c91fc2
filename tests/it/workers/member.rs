//! A worker in a process of its own, so that it can be killed: this test binary, started again with its orders in the
//! environment.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use streamgauge::log::{KafkaConfig, KafkaLog};
use streamgauge::shutdown::Shutdown;
use streamgauge::store::{RedisConfig, RedisUrl};
use streamgauge::telemetry::Metrics;
use streamgauge::worker::{Backoff, Config, Effects, Failure, Idempotency, Message, Worker};

const ORDERS: &str = "STREAMGAUGE_TEST_MEMBER";

/// What a member works on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) brokers: String,
    pub(super) topic: String,
    pub(super) group: String,
    pub(super) redis: String,
    /// Whether effects are applied with the notes of handled events, or by the handler itself.
    pub(super) is_idempotent: bool,
}

impl Orders {
    /// Where the numbers of a key's steps are listed, in the order in which they were taken.
    pub(super) fn taken(&self, key: &str) -> String {
        format!("{}:taken:{key}", self.group)
    }

    /// How many steps of a key were taken, where effects are applied with notes.
    pub(super) fn counted(&self, key: &str) -> String {
        format!("{}:counted:{key}", self.group)
    }

    /// While this is there, what every step needs is away.
    pub(super) fn away(&self) -> String {
        format!("{}:away", self.group)
    }

    /// This binary as a member.
    pub(super) fn command(&self, failpoints: Option<&str>) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["workers::member::serves", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(ORDERS, serde_json::to_string(self).expect("orders"));
        failpoints.into_iter().for_each(|points| _ = command.env("FAILPOINTS", points));
        command
    }
}

/// A step of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) key: String,
    pub(super) number: u64,
    pub(super) does: Does,
}

/// How a step behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Does {
    Succeeds,
    Waits {
        ms: u64,
    },
    /// So many first attempts of each process.
    Fails {
        times: u32,
    },
    Panics,
    /// The first attempt of each process never ends.
    Hangs,
    IsPoison,
    NeverSucceeds,
}

impl Does {
    /// Whether it ends as a dead letter.
    pub(super) fn dies(self) -> bool {
        matches!(self, Does::IsPoison | Does::NeverSucceeds)
    }
}

/// More than any step that succeeds in the end needs: three failures, and a time-out for each time that a member is
/// frozen.
pub(super) const ATTEMPTS: u32 = 7;

/// Does nothing in a run of the tests; in a member's process it is the member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Orders = serde_json::from_str(&orders).expect("orders");
    let _scenario = fail::FailScenario::setup();
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    let shutdown = Shutdown::new();
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals");
    tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            terminated.recv().await;
            shutdown.begin();
        }
    });
    work(orders, shutdown).await;
}

async fn work(orders: Orders, shutdown: Shutdown) {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let mut kafka = KafkaConfig {
        brokers: orders.brokers.clone(),
        topic: orders.topic.clone(),
        group: orders.group.clone(),
        ..KafkaConfig::default()
    };
    for (name, value) in [("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "500")] {
        kafka.properties.insert(name.to_owned(), value.to_owned());
    }
    let redis = RedisConfig { url: RedisUrl::from(orders.redis.clone()), ..RedisConfig::default() };
    let notes = Idempotency::redis(&redis, Duration::from_secs(3_600)).expect("an address");
    let config = Config {
        concurrency: 4,
        max_attempts: ATTEMPTS,
        backoff: Backoff { first: Duration::from_millis(5), longest: Duration::from_millis(100) },
        probe: Backoff { first: Duration::from_millis(50), longest: Duration::from_millis(500) },
        commit_interval: Duration::from_millis(200),
        max_in_flight: 64,
        handler_timeout: Duration::from_secs(1),
        // Shorter: a handler that hangs is cancelled when its partition is given up.
        drain: Duration::from_millis(300),
        idempotency: orders.is_idempotent.then_some(notes),
        ..Config::default()
    };
    let log = Arc::new(KafkaLog::connect(&kafka, metrics.clone()).expect("a configuration"));
    let taker = Arc::new(Taker { orders, attempts: Mutex::default(), redis: tokio::sync::Mutex::default() });
    let handler = move |message| {
        let taker = taker.clone();
        async move { taker.take(message).await }
    };
    Worker::new(log, config, metrics, handler).expect("a worker").run(shutdown).await.expect("a clean end");
}

/// Takes steps.
struct Taker {
    orders: Orders,
    /// By step: attempts of this process.
    attempts: Mutex<HashMap<(String, u64), u32>>,
    redis: tokio::sync::Mutex<Option<MultiplexedConnection>>,
}

impl Taker {
    async fn take(&self, message: Message) -> Result<Effects, Failure> {
        let value = message.value().ok_or_else(|| Failure::permanent("a tombstone"))?;
        let event: serde_json::Value = serde_json::from_slice(value).map_err(Failure::permanent)?;
        let step: Step = serde_json::from_value(event["payload"].clone()).map_err(Failure::permanent)?;
        let away = redis::Cmd::exists(self.orders.away());
        if self.ask::<bool>(&away).await? {
            return Err(Failure::unavailable("what every step needs is away"));
        }
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            let attempt = attempts.entry((step.key.clone(), step.number)).or_default();
            *attempt += 1;
            *attempt
        };
        match step.does {
            Does::Waits { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            Does::Fails { times } if attempt <= times => return Err(Failure::retryable("not yet")),
            Does::Panics if attempt == 1 => panic!("the first time"),
            Does::Hangs if attempt == 1 => std::future::pending().await,
            Does::IsPoison => return Err(Failure::permanent("poison")),
            Does::NeverSucceeds => return Err(Failure::retryable("never")),
            _ => {}
        }
        let push = redis::Cmd::rpush(self.orders.taken(&step.key), step.number);
        if self.orders.is_idempotent {
            return Ok(Effects::redis([push, redis::Cmd::incr(self.orders.counted(&step.key), 1)]));
        }
        self.ask::<u64>(&push).await.map(|_| ().into())
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Failure> {
        let mut place = self.redis.lock().await;
        if place.is_none() {
            let client = redis::Client::open(self.orders.redis.as_str()).expect("an address");
            *place = Some(client.get_multiplexed_async_connection().await.map_err(Failure::unavailable)?);
        }
        let mut connection = place.clone().expect("it was made");
        drop(place);
        let answer = command.query_async(&mut connection).await;
        if answer.is_err() {
            *self.redis.lock().await = None;
        }
        answer.map_err(Failure::unavailable)
    }
}
