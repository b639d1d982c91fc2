//! Real services for the tests, and the waiting that goes with them.
//!
//! `kafka()` and `redis()` are shared by all tests of the run: a test takes a topic and a key prefix of
//! its own from [`unique`]. A test that kills, stops or restarts a service starts its own, by
//! [`Kafka::start`] or [`Redis::start`].
#![allow(dead_code, reason = "a tool box: not every run of the tests needs every tool")]

pub(crate) mod app;
pub(crate) mod browser;
pub(crate) mod choices;
pub(crate) mod config_keys;
pub(crate) mod doors;
mod kafka;
pub(crate) mod oracle;
mod ports;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod proxy;
mod redis;
mod redis_cluster;
mod settings;
pub(crate) mod topic;
pub(crate) mod traffic;
mod watchdog;
pub(crate) mod wire;

use std::fmt::Display;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

pub(crate) use kafka::{Kafka, KafkaCluster, Proxied};
pub(crate) use ports::free_ports;
pub(crate) use redis::Redis;
pub(crate) use redis_cluster::RedisCluster;
pub(crate) use settings::Settings;
pub(crate) use streamgauge::clock::now_ms;

const POLL: Duration = Duration::from_millis(20);

/// The broker that the tests share; started by whoever asks first.
pub(crate) async fn kafka() -> &'static Kafka {
    static SHARED: OnceCell<Kafka> = OnceCell::const_new();
    SHARED.get_or_init(Kafka::start).await
}

/// The Redis that the tests share; started by whoever asks first.
pub(crate) async fn redis() -> &'static Redis {
    static SHARED: OnceCell<Redis> = OnceCell::const_new();
    SHARED.get_or_init(Redis::start).await
}

/// A name that no other test of this run has: for topics, groups and key prefixes.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Asks again and again until `probe` has an answer, and fails with its last complaint at the deadline.
///
/// The only place that sleeps: a test waits for a condition, never for an amount of time.
pub(crate) async fn eventually<T, E: Display>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + deadline;
    let mut last = String::from("it never answered");
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(complaint)) => last = complaint.to_string(),
            Err(_) => panic!("{what}: not within {deadline:?}; the last answer was: {last}"),
        }
        tokio::time::sleep(POLL).await;
    }
}
