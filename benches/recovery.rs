//! How soon counting goes on after something broke, and what it costs: `make recovery`.
//!
//! A word behind it picks one: `cargo bench --bench recovery -- static`.
//!
//! Real processes on a real Kafka and a real Redis, which it starts itself; see docs/reliability.md for what is measured.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that fails, fails"
)]

#[path = "../tests/it/support/mod.rs"]
#[allow(unused_imports, reason = "a tool box of which this takes a part")]
mod support;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::app::Binary;
use support::topic::Raw;
use support::{Kafka, Redis, Settings, eventually, now_ms, unique};

const PARTITIONS: i32 = 4;
const LONG: Duration = Duration::from_secs(300);
/// How long Redis is away.
const AWAY: Duration = Duration::from_secs(60);

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (kafka, redis) = (Kafka::start().await, Redis::start().await);
        let wanted = |name: &str| std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).all(|arg| arg == name);
        println!("| what | measured |\n|---|---|");
        if wanted("killed") {
            killed(&kafka, &redis).await;
        }
        if wanted("static") {
            static_member(&kafka, &redis).await;
        }
        if wanted("keys") {
            many_keys(&kafka, &redis).await;
        }
        if wanted("away") {
            store_away(&kafka, &redis).await;
        }
    });
}

fn row(what: &str, measured: String) {
    println!("| {what} | {measured} |");
}

fn seconds(of: Duration) -> String {
    format!("{:.2} s", of.as_secs_f64())
}

/// The shortest and the longest.
fn spread(all: &mut [Duration]) -> String {
    all.sort_unstable();
    format!("{} to {}", seconds(all[0]), seconds(all[all.len() - 1]))
}

/// A topic, and a processor's configuration with nothing changed that matters for time.
async fn bench(kafka: &Kafka, redis: &Redis, name: &str) -> Settings {
    let topic = kafka.topic_with(name, PARTITIONS, &[("message.timestamp.type", "LogAppendTime")]).await;
    Settings::kafka(kafka, redis, &topic, &unique(name)).with("pipeline.flush_interval", "2s").counting(
        r#"
        [[counters]]
        name = "page_views"
        event = "page_view"
        by = ["payload.path"]
        windows = [{ size = "10s", keep = "1h" }, { size = "1h", keep = "1d" }]
        max_keys = 1000000
        "#,
    )
}

/// The i-th event, about 250 bytes, spread over all partitions, one of so many pages.
fn event(i: u64, pages: u64) -> Raw {
    let value = format!(
        r#"{{"event_type":"page_view","event_id":"recovery-{i:020}","event_version":1,"timestamp":{},"user_id":"user-{:07}","payload":{{"path":"/products/item-{:07}","referrer":"https://www.example.com/","title":"Product page"}}}}"#,
        now_ms(),
        i % 20_000,
        i % pages,
    );
    Raw { key: Some(format!("k{i}").into_bytes()), value: Some(value.into_bytes()), ..Raw::default() }
}

/// `next_offset` of each partition.
async fn offsets(redis: &mut MultiplexedConnection, settings: &Settings) -> Vec<i64> {
    let (prefix, topic) = (settings.text_of("store.redis.prefix"), settings.text_of("log.kafka.topic"));
    let mut offsets = Vec::new();
    for partition in 0..PARTITIONS {
        let key = format!("{prefix}:{{0}}:partition:{topic}:{partition}");
        offsets.push(redis.hget::<_, _, Option<i64>>(key, "next_offset").await.unwrap().unwrap_or(0));
    }
    offsets
}

/// Waits until each partition is further than it was, and returns how long that took since `begun`.
async fn until_all_moved(redis: &Redis, settings: &Settings, before: &[i64], begun: Instant) -> Duration {
    let mut connection = redis.connection().await;
    eventually(LONG, "all partitions get on", async || {
        let now = offsets(&mut connection, settings).await;
        if now.iter().zip(before).all(|(now, before)| now > before) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    begun.elapsed()
}

async fn until_counted(redis: &Redis, settings: &Settings, events: i64) {
    let mut connection = redis.connection().await;
    eventually(LONG, "all is counted", async || {
        let now: i64 = offsets(&mut connection, settings).await.iter().sum();
        if now >= events { Ok(()) } else { Err(format!("{now} of {events}")) }
    })
    .await;
}

/// Events at a steady rate until told to stop.
struct Drip {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Drip {
    fn start(kafka: &Kafka, settings: &Settings, first: u64, per_second: u64) -> Drip {
        let stop = Arc::new(AtomicBool::new(false));
        let (client, topic, told) = (kafka.client(), settings.text_of("log.kafka.topic").to_owned(), stop.clone());
        let thread = std::thread::spawn(move || {
            let (mut next, begun) = (first, Instant::now());
            let told = &told;
            support::topic::produce(
                &client,
                &topic,
                std::iter::from_fn(|| {
                    while (next - first) as f64 > begun.elapsed().as_secs_f64() * per_second as f64 {
                        if told.load(Ordering::Relaxed) {
                            return None;
                        }
                        std::thread::park_timeout(Duration::from_millis(1));
                    }
                    next += 1;
                    Some(event(next - 1, 10_000))
                }),
            );
            next
        });
        Drip { stop, thread }
    }

    /// The number of events so far, those before its first included.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// One of two processors dies; the other takes its partitions once its session is over (10 s).
async fn killed(kafka: &Kafka, redis: &Redis) {
    let settings = bench(kafka, redis, "killed").await;
    let drip = Drip::start(kafka, &settings, 0, 1_000);
    let (one, other) = (Binary::start("process", &settings).await, Binary::start("process", &settings).await);
    until_all_moved(redis, &settings, &[0; 4], Instant::now()).await;
    eventually(LONG, "both have partitions", async || {
        let count = |binary: &Binary| binary.output().matches("partition starts").count();
        if count(&one) > 0 && count(&other) > 0 { Ok(()) } else { Err("not both") }
    })
    .await;
    one.until_ready().await;
    other.until_ready().await;
    let mut connection = redis.connection().await;
    one.kill();
    let begun = Instant::now();
    // What it had sent may still be applied: only what comes a second later is progress of the other.
    let before = offsets(&mut connection, &settings).await.iter().map(|offset| offset + 500).collect::<Vec<_>>();
    let took = until_all_moved(redis, &settings, &before, begun).await;
    row("a processor killed, another alive: all partitions get on again after", seconds(took));
    drip.stop();
}

/// A processor with an `instance_id` dies and is started again at once.
async fn static_member(kafka: &Kafka, redis: &Redis) {
    let settings = bench(kafka, redis, "static").await.with("log.kafka.instance_id", "counter-1");
    let drip = Drip::start(kafka, &settings, 0, 1_000);
    let binary = Binary::start("process", &settings).await;
    until_all_moved(redis, &settings, &[0; 4], Instant::now()).await;
    let mut connection = redis.connection().await;
    let (mut assigned, mut flushed) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let before = offsets(&mut connection, &settings).await;
        let begun = Instant::now();
        binary.restart().await;
        eventually(LONG, "it has all partitions", async || {
            let started = binary.output().matches("partition starts").count();
            if started >= 4 { Ok(()) } else { Err(format!("{started} of 4")) }
        })
        .await;
        assigned.push(begun.elapsed());
        flushed.push(until_all_moved(redis, &settings, &before, begun).await);
    }
    row("static member killed and started again, 5 times: reads its partitions after", spread(&mut assigned));
    row("and all of them are flushed again after", spread(&mut flushed));
    drip.stop();
}

/// 1 M distinct keys in the store, a full dedupe horizon before each start.
async fn many_keys(kafka: &Kafka, redis: &Redis) {
    const EVENTS: u64 = 1_000_000;
    let settings = bench(kafka, redis, "keys").await.with("log.kafka.instance_id", "counter-2");
    kafka.produce(settings.text_of("log.kafka.topic"), (0..EVENTS).map(|i| event(i, EVENTS))).await;
    let binary = Binary::start("process", &settings).await;
    let begun = Instant::now();
    until_counted(redis, &settings, EVENTS as i64).await;
    let rate = EVENTS as f64 / begun.elapsed().as_secs_f64();
    row("1 M events with 1 M distinct keys: counted per second, start included", format!("{rate:.0}"));
    let drip = Drip::start(kafka, &settings, EVENTS, 1_000);
    let mut connection = redis.connection().await;
    let before = offsets(&mut connection, &settings).await;
    binary.restart().await;
    let begun = eventually(LONG, "it is assigned", async || {
        if binary.output().contains("partitions assigned") { Ok(Instant::now()) } else { Err("not yet") }
    })
    .await;
    let took = until_all_moved(redis, &settings, &before, begun).await;
    row("4 partitions, 1 M keys stored, horizon read again: from assignment to the first flush of all", seconds(took));
    drip.stop();
    row("peak memory of that processor", format!("{} MiB", binary.peak_memory() >> 20));
}

/// Redis is gone for a minute under a load of 40,000 events/s.
async fn store_away(kafka: &Kafka, redis: &Redis) {
    const PER_SECOND: u64 = 40_000;
    let settings = bench(kafka, redis, "away").await;
    let binary = Binary::start("process", &settings).await;
    let drip = Drip::start(kafka, &settings, 0, PER_SECOND);
    until_all_moved(redis, &settings, &[0; 4], Instant::now()).await;
    let before = binary.peak_memory() >> 20;
    let assignments = || binary.output().matches("partitions assigned").count();
    let assigned = assignments();
    redis.kill();
    tokio::time::sleep(AWAY).await;
    redis.restart().await;
    let made = drip.stop();
    let mut connection = redis.connection().await;
    let left = made as i64 - offsets(&mut connection, &settings).await.iter().sum::<i64>();
    let begun = Instant::now();
    until_counted(redis, &settings, made as i64).await;
    let rate = left as f64 / begun.elapsed().as_secs_f64();
    row("Redis away for 60 s at 40,000 events/s: peak memory before and in all", {
        format!("{before} MiB, {} MiB", binary.peak_memory() >> 20)
    });
    row(&format!("and the {left} events that waited are counted per second"), format!("{rate:.0}"));
    row("and partitions were assigned anew meanwhile", format!("{} times", assignments() - assigned));
}
