//! How fast the spool gets into a real Kafka once it is back: `make bench-spool`.
//!
//! A spool file is filled beforehand; the time counts from the start of the forwarder to the last event that is noted as
//! forwarded and deleted. Beside it, how fast events are taken into the file in requests of 100.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement that fails, fails")]

mod shared;

use bytesize::ByteSize;
use shared::{PARTITIONS, cpu_s, create, event, median, number};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streamgauge::clock::now_ms;
use streamgauge::embedded::{Config, EmbeddedFile};
use streamgauge::ingest::{Spool, SpoolConfig, SpoolLogs};
use streamgauge::log::{About, EmbeddedLog, EventLog, KafkaConfig, KafkaLog, NewRecord};
use streamgauge::shutdown::Shutdown;
use streamgauge::telemetry::Metrics;

/// In whose name the spool saves how far it is.
const GROUP: &str = "forwarder";
const REQUEST: u64 = 100;

fn main() {
    let brokers = std::env::var("STREAMGAUGE_BENCH_KAFKA").expect("run `make bench-spool`: it starts a Kafka");
    let events = number("STREAMGAUGE_BENCH_EVENTS", 1_000_000);
    let rounds = number("STREAMGAUGE_BENCH_ROUNDS", 3);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut filled, mut drained, mut per_cpu) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool.db");
        let topic = format!("bench-spool-{}-{round}", std::process::id());
        runtime.block_on(create(&brokers, &topic, PARTITIONS));
        filled.push(events as f64 / runtime.block_on(fill(&path, &topic, events)).as_secs_f64());
        let mib = std::fs::metadata(&path).unwrap().len() >> 20;
        let cpu_before = cpu_s(std::process::id());
        drained.push(events as f64 / runtime.block_on(drain(&brokers, &topic, &path, events)).as_secs_f64());
        per_cpu.push(events as f64 / (cpu_s(std::process::id()) - cpu_before));
        let (into, out) = (filled[filled.len() - 1], drained[drained.len() - 1]);
        println!("round {}: into the spool {into:.0} events/s ({mib} MiB), into Kafka {out:.0} events/s", round + 1);
    }
    println!("\n{events} events of about 300 bytes, {PARTITIONS} partitions, {rounds} rounds; medians");
    println!("into the spool, {REQUEST} a request: {:.0} events/s", median(filled));
    println!("from the spool into Kafka: {:.0} events/s", median(drained));
    println!("the same per CPU-second of this process, broker apart: {:.0} events", median(per_cpu));
}

async fn fill(path: &Path, topic: &str, events: u64) -> Duration {
    let config = Config { path: path.into(), max_bytes: ByteSize::gib(100), ..Config::default() };
    let file = EmbeddedFile::open(&config, false).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let queue = EmbeddedLog::open(file.clone(), &config, (topic, GROUP), metrics).await.unwrap();
    let first_ms = now_ms();
    let begun = Instant::now();
    for request in 0..events.div_ceil(REQUEST) {
        let records = (request * REQUEST..((request + 1) * REQUEST).min(events)).map(|i| {
            let (key, json) = event(i, first_ms);
            let about = About {
                event_type: "page_view".into(),
                event_version: 1,
                content_type: "application/json",
                trace: None,
            };
            NewRecord::event(key, json.into_bytes(), about)
        });
        queue.enqueue(records.collect()).await.unwrap();
    }
    let took = begun.elapsed();
    drop(queue);
    file.close();
    took
}

async fn drain(brokers: &str, topic: &str, path: &Path, events: u64) -> Duration {
    let kafka = KafkaConfig { brokers: brokers.into(), topic: topic.into(), ..KafkaConfig::default() };
    let metrics = Arc::new(Metrics::new().unwrap());
    let direct: Arc<dyn EventLog> = Arc::new(KafkaLog::connect(&kafka, metrics.clone()).unwrap());
    let forward = Arc::new(KafkaLog::connect_in_order(&kafka, metrics.clone()).unwrap());
    direct.ready().await.unwrap();
    forward.ready().await.unwrap();
    let config = SpoolConfig { max_bytes: ByteSize::gib(100), ..SpoolConfig::default() };
    let logs = SpoolLogs { direct, forward };
    let spool = Spool::open(path.into(), &config, 200_000, logs, metrics.clone()).await.unwrap();
    let spool = Arc::new(spool);
    let shutdown = Shutdown::new();
    let begun = Instant::now();
    let running = tokio::spawn(spool.clone().run(shutdown.clone()));
    while metrics.spool_forwarded_events_total.get() < events {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = begun.elapsed();
    shutdown.begin();
    running.await.unwrap();
    tokio::task::spawn_blocking(move || spool.close()).await.unwrap();
    took
}
