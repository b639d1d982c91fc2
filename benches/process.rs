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
use shared::{Figures, PARTITIONS, cpu_s, figures_of, figures_of_running};
use shared::{median, number, produce, reader, row, run_child, told};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
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
    produce(&bench.brokers, &bench.topic, bench.events);
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
        run_process(&self.brokers, &self.redis, &self.topic, prefix, self.events, horizon)
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

/// The process of the Redis that the benchmark was given.
fn redis_process(redis: &str) -> u32 {
    let mut connection = redis::Client::open(redis).unwrap().get_connection().unwrap();
    let about: String = redis::cmd("INFO").arg("server").query(&mut connection).unwrap();
    about.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().parse().unwrap()
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

fn run_process(brokers: &str, redis: &str, topic: &str, prefix: &str, events: u64, horizon: u64) -> Figures {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bench.toml");
    let text = format!(
        r#"
        [log.kafka]
        brokers = "{brokers}"
        topic = "{topic}"
        group = "{prefix}"
        [pipeline]
        workers = 1
        dedupe_horizon = {horizon}
        # What the clock waits for at the end.
        flush_interval = "500ms"
        [store.redis]
        url = "{redis}"
        prefix = "{prefix}"
        [admin]
        listen = "127.0.0.1:0"
        [[counters]]
        name = "page_views"
        event = "page_view"
        by = ["payload.path"]
        windows = [{{ size = "10s", keep = "1d" }}, {{ size = "1m", keep = "1d" }}, {{ size = "1h", keep = "30d" }}]
        "#
    );
    std::fs::write(&config, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_streamgauge"))
        .args(["process", "--config"])
        .arg(&config)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("partition starts")).expect("a partition starts").unwrap();
    let begun = Instant::now();
    // Somebody has to read on, or the process would block on a full pipe.
    let rest = std::thread::spawn(move || lines.for_each(drop));
    let mut connection = redis::Client::open(redis).unwrap().get_connection().unwrap();
    while counted(&mut connection, prefix, topic) < events {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let figures = figures_of(&child, begun.elapsed().as_secs_f64());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    rest.join().unwrap();
    figures
}

fn counted(connection: &mut redis::Connection, prefix: &str, topic: &str) -> u64 {
    let of = |partition| {
        let key = format!("{prefix}:{{0}}:partition:{topic}:{partition}");
        redis::cmd("HGET").arg(key).arg("consumed").query::<Option<u64>>(connection).unwrap().unwrap_or(0)
    };
    (0..PARTITIONS).map(of).sum()
}
