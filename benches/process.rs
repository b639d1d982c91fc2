//! `streamgauge process` beside minimal loops on the same topic, in turns, without and with dedupe: `make bench`.
//!
//! A loop reads, checks UTF-8, parses by serde_json into borrowed fields, and adds to one hash map cell per event: what the
//! work costs with no store, no offsets, no ledger and no metrics. One reads by `BaseConsumer::poll`, one takes batches, by
//! this program's own consumer. All run as processes of their own; CPU is user + system of the whole process, events per
//! second begin with the first record.
//!
//! STREAMGAUGE_BENCH_PEERS names other programs that do the work, as `name=command` with `;` between them: each is run in
//! turns with the others, until it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement that fails, fails")]

mod shared;

use rdkafka::Message;
use shared::processor::{Process, counter, redis_process};
use shared::{Events, Figures, PARTITIONS, cpu_s, figures_of_running};
use shared::{median, number, produce, reader, row, run_child, told};
use std::borrow::Cow;
use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streamgauge::log::{EventLog, KafkaConfig, KafkaLog, Notice};
use streamgauge::telemetry::Metrics;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, mode, brokers, topic, events] = args.as_slice() {
        let events = events.parse().unwrap();
        match mode.as_str() {
            "--loop" => return minimal_loop(brokers, topic, events),
            "--batches" => return batched_loop(brokers, topic, events),
            _ => {}
        }
    }
    let brokers = std::env::var("STREAMGAUGE_BENCH_KAFKA").expect("run `make bench`: it starts a Kafka");
    let redis = std::env::var("STREAMGAUGE_BENCH_REDIS").expect("run `make bench`: it starts a Redis");
    let topic = std::env::var("STREAMGAUGE_BENCH_TOPIC").unwrap_or_else(|_| format!("bench-{}", std::process::id()));
    let bench = Bench { brokers, redis, topic, events: number("STREAMGAUGE_BENCH_EVENTS", 4_000_000) };
    let rounds = number("STREAMGAUGE_BENCH_ROUNDS", 3);
    produce(&bench.brokers, &bench.topic, Events::default(), bench.events);
    let peers = std::env::var("STREAMGAUGE_BENCH_PEERS").unwrap_or_default();
    let peers: Vec<(&str, &str)> = peers.split(';').filter_map(|peer| peer.split_once('=')).collect();
    let names = ["minimal loop", "minimal loop, batches"].into_iter().chain(peers.iter().map(|(name, _)| *name));
    let names: Vec<&str> = names.chain(["process, dedupe off", "process"]).collect();
    let (mut runs, mut redis_cpu) = (vec![Vec::new(); names.len()], Vec::new());
    for round in 0..rounds {
        let mut figures = vec![bench.child("--loop"), bench.child("--batches")];
        figures.extend(peers.iter().map(|(_, command)| peer(command)));
        let store = redis_process(&bench.redis);
        let before = cpu_s(store);
        figures.push(bench.process(&format!("{}-{round}-bare", bench.topic), 0));
        redis_cpu.push((cpu_s(store) - before) / bench.events as f64 * 1e6);
        figures.push(bench.process(&format!("{}-{round}", bench.topic), 200_000));
        println!("round {}: {figures:.2?}", round + 1);
        runs.iter_mut().zip(figures).for_each(|(runs, figures)| runs.push(figures));
    }
    println!("\n{} events, {PARTITIONS} partitions, {rounds} rounds; median (lowest to highest)\n", bench.events);
    println!("| | events/s | events per CPU-second | peak memory, MiB |\n|---|---|---|---|");
    names.iter().zip(&runs).for_each(|(name, runs)| row(name, bench.events, runs));
    let (others, products) = runs.split_at(runs.len() - 2);
    for (name, product) in ["process, dedupe off", "process"].into_iter().zip(products) {
        for (other, runs) in names.iter().zip(others) {
            let ratio =
                |of: fn(&Figures) -> f64| median(runs.iter().zip(product).map(|(o, p)| of(o) / of(p)).collect());
            println!("| {name} / {other} | {:.2} | {:.2} | |", ratio(|f| f.wall_s), ratio(|f| f.cpu_s));
        }
    }
    println!("\nRedis: {:.2} CPU-seconds for a million events", median(redis_cpu));
}

/// What all runs share.
struct Bench {
    brokers: String,
    redis: String,
    topic: String,
    events: u64,
}

impl Bench {
    fn child(&self, mode: &str) -> Figures {
        run_child(mode, &self.brokers, &self.topic, self.events)
    }

    fn process(&self, prefix: &str, horizon: u64) -> Figures {
        let (brokers, redis, topic) = (&self.brokers, &self.redis, &self.topic);
        let counters = counter("page_views", 10_000);
        Process { brokers, redis, topic, partitions: PARTITIONS, prefix, horizon, counters }.run(self.events)
    }
}

/// Another program, from its start to its end.
fn peer(command: &str) -> Figures {
    let mut words = command.split_whitespace();
    let begun = Instant::now();
    let mut child = Command::new(words.next().unwrap()).args(words).spawn().unwrap();
    let mut peak_mib: f64 = 0.0;
    // One that has ended keeps its CPU time, but not its memory, until it is waited for.
    while let Some(figures) = figures_of_running(child.id(), begun.elapsed().as_secs_f64()) {
        peak_mib = figures.peak_mib;
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let figures = Figures { wall_s: begun.elapsed().as_secs_f64(), cpu_s: cpu_s(child.id()), peak_mib };
    assert!(child.wait().unwrap().success(), "{command}");
    figures
}

#[derive(serde::Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    timestamp: u64,
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(serde::Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
}

/// What a minimal loop does with each record.
#[derive(Default)]
struct Counts {
    cells: HashMap<(u64, Box<str>), u64, ahash::RandomState>,
    read: u64,
    begun: Option<Instant>,
}

impl Counts {
    fn count(&mut self, value: &[u8]) {
        self.begun.get_or_insert_with(Instant::now);
        let event: Event<'_> = serde_json::from_str(simdutf8::basic::from_utf8(value).unwrap()).unwrap();
        self.read += 1;
        if event.event_type == "page_view" {
            *self.cells.entry((event.timestamp / 10_000, event.payload.path.into())).or_default() += 1;
        }
    }

    /// Prints the seconds from the first record to the last.
    fn told(&self) {
        told(self.begun.unwrap().elapsed().as_secs_f64());
    }
}

fn minimal_loop(brokers: &str, topic: &str, events: u64) {
    let (consumer, mut counts) = (reader(brokers, topic), Counts::default());
    while counts.read < events {
        if let Some(Ok(message)) = consumer.poll(Duration::from_secs(1)) {
            counts.count(message.payload().unwrap());
        }
    }
    counts.told();
}

fn batched_loop(brokers: &str, topic: &str, events: u64) {
    let (brokers, topic, group) = (brokers.to_owned(), topic.to_owned(), format!("bench-{}", std::process::id()));
    let config = KafkaConfig { brokers, topic, group, ..KafkaConfig::default() };
    let log = KafkaLog::connect(&config, Arc::new(Metrics::new().unwrap())).unwrap();
    let (consumer, mut counts) = (log.consumer().unwrap(), Counts::default());
    while counts.read < events {
        let notices =
            consumer.poll(Duration::from_millis(100), 10_000, &mut |record| counts.count(record.value.unwrap()));
        for notice in notices {
            if let Notice::Assigned(partitions) = notice {
                consumer.start(&partitions.iter().map(|partition| (*partition, 0)).collect::<Vec<_>>()).unwrap();
            }
        }
    }
    counts.told();
    consumer.close();
}
