//! What a worker costs beside a bare consumer loop, both with nothing to do: `make bench-worker`.
//!
//! The loop is `BaseConsumer::poll` and a look at the value's length. The worker keeps the order of each key, tracks what
//! is finished, commits, counts and measures. Both run as processes of their own, in turns, on the same topic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement that fails, fails")]

mod shared;

use rdkafka::Message as _;
use shared::{Events, PARTITIONS, median, number, produce, reader, row, run_child, told};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streamgauge::log::{KafkaConfig, KafkaLog};
use streamgauge::shutdown::Shutdown;
use streamgauge::telemetry::Metrics;
use streamgauge::worker::{Config, Failure, Message, Worker};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, mode, brokers, topic, events] = args.as_slice() {
        let events = events.parse().unwrap();
        match mode.as_str() {
            "--loop" => return bare_loop(brokers, topic, events),
            "--worker" => return worker(brokers, topic, events),
            _ => {}
        }
    }
    let brokers = std::env::var("STREAMGAUGE_BENCH_KAFKA").expect("run `make bench-worker`: it starts a Kafka");
    let events: u64 = number("STREAMGAUGE_BENCH_EVENTS", 2_000_000);
    let rounds = number("STREAMGAUGE_BENCH_ROUNDS", 3);
    let topic = format!("bench-worker-{}", std::process::id());
    produce(&brokers, &topic, Events::default(), events);
    let (mut reference, mut product) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        reference.push(run_child("--loop", &brokers, &topic, events));
        product.push(run_child("--worker", &brokers, &topic, events));
        println!("round {}: loop {:.2?}, worker {:.2?}", round + 1, reference.last(), product.last());
    }
    println!("\n{events} events, {PARTITIONS} partitions, {rounds} rounds; median (lowest to highest)\n");
    println!("| | events/s | events per CPU-second | peak memory, MiB |\n|---|---|---|---|");
    row("bare loop", events, &reference);
    row("worker, no-op handler", events, &product);
    let ratio = |of: fn(&shared::Figures) -> f64| {
        median(reference.iter().zip(&product).map(|(bare, worker)| of(worker) / of(bare)).collect())
    };
    println!("| CPU per event, worker / loop | | {:.2} | |", ratio(|figures| figures.cpu_s));
}

/// Reads all of them and looks at each.
fn bare_loop(brokers: &str, topic: &str, events: u64) {
    let consumer = reader(brokers, topic);
    let (mut read, mut begun) = (0, None);
    while read < events {
        let Some(Ok(message)) = consumer.poll(Duration::from_secs(1)) else { continue };
        begun.get_or_insert_with(Instant::now);
        black_box(message.payload().map(<[u8]>::len));
        read += 1;
    }
    told(begun.unwrap().elapsed().as_secs_f64());
}

/// The same by a worker whose handler looks at each.
fn worker(brokers: &str, topic: &str, events: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let group = format!("{topic}-{}", std::process::id());
    let kafka =
        KafkaConfig { brokers: brokers.into(), topic: topic.into(), group: group.clone(), ..Default::default() };
    let metrics = Arc::new(Metrics::new().unwrap());
    let handled = metrics.worker_events_total.with_label_values(&[&group, "handled"]);
    let log = Arc::new(KafkaLog::connect(&kafka, metrics.clone()).unwrap());
    let handler = async |message: Message| {
        black_box(message.value().map(<[u8]>::len));
        Ok::<(), Failure>(())
    };
    let worker = Worker::new(log, Config::default(), metrics, handler).unwrap();
    let shutdown = Shutdown::new();
    let running = runtime.spawn(worker.run(shutdown.clone()));
    let mut begun = None;
    while handled.get() < events {
        if handled.get() > 0 {
            begun.get_or_insert_with(Instant::now);
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    told(begun.unwrap().elapsed().as_secs_f64());
    shutdown.begin();
    runtime.block_on(running).unwrap().unwrap();
}
