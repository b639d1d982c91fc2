//! `streamgauge process` beside a minimal loop on the same topic, in turns, without and with dedupe: `make bench`.
//!
//! The loop is `BaseConsumer::poll`, a UTF-8 check, serde_json into borrowed fields, and one hash map cell per event:
//! what the work costs with no store, no offsets, no ledger and no metrics. Both run as processes of their own; CPU is
//! user + system of the whole process, events per second begin with the first record.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement that fails, fails")]

mod shared;

use rdkafka::Message;
use shared::{Figures, PARTITIONS, cpu_s, figures_of, median, number, produce, reader, row, run_child, told};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, mode, brokers, topic, events] = args.as_slice()
        && mode == "--loop"
    {
        return minimal_loop(brokers, topic, events.parse().unwrap());
    }
    let brokers = std::env::var("STREAMGAUGE_BENCH_KAFKA").expect("run `make bench`: it starts a Kafka");
    let redis = std::env::var("STREAMGAUGE_BENCH_REDIS").expect("run `make bench`: it starts a Redis");
    let events: u64 = number("STREAMGAUGE_BENCH_EVENTS", 4_000_000);
    let rounds = number("STREAMGAUGE_BENCH_ROUNDS", 3);
    let topic = format!("bench-{}", std::process::id());
    produce(&brokers, &topic, events);
    let (mut reference, mut bare, mut whole, mut redis_cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        reference.push(run_child("--loop", &brokers, &topic, events));
        let store = redis_process(&redis);
        let before = cpu_s(store);
        bare.push(run_process(&brokers, &redis, &topic, &format!("{topic}-{round}-bare"), events, 0));
        redis_cpu.push((cpu_s(store) - before) / events as f64 * 1e6);
        whole.push(run_process(&brokers, &redis, &topic, &format!("{topic}-{round}"), events, 200_000));
        println!("round {}: {:.2?} {:.2?} {:.2?}", round + 1, reference.last(), bare.last(), whole.last());
    }
    println!("\n{events} events, {PARTITIONS} partitions, {rounds} rounds; median (lowest to highest)\n");
    println!("| | events/s | events per CPU-second | peak memory, MiB |\n|---|---|---|---|");
    row("minimal loop", events, &reference);
    row("process, dedupe off", events, &bare);
    row("process", events, &whole);
    for (name, product) in [("process, dedupe off / loop", &bare), ("process / loop", &whole)] {
        let ratio =
            |of: fn(&Figures) -> f64| median(reference.iter().zip(product).map(|(l, p)| of(l) / of(p)).collect());
        println!("| {name} | {:.2} | {:.2} | |", ratio(|f| f.wall_s), ratio(|f| f.cpu_s));
    }
    println!("\nRedis: {:.2} CPU-seconds for a million events", median(redis_cpu));
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

/// Prints the seconds from the first record to the last.
fn minimal_loop(brokers: &str, topic: &str, events: u64) {
    let consumer = reader(brokers, topic);
    let mut counts: HashMap<(u64, Box<str>), u64, ahash::RandomState> = HashMap::default();
    let (mut read, mut begun) = (0, None);
    while read < events {
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        let Ok(message) = message else { continue };
        begun.get_or_insert_with(Instant::now);
        let text = simdutf8::basic::from_utf8(message.payload().unwrap()).unwrap();
        let event: Event<'_> = serde_json::from_str(text).unwrap();
        read += 1;
        if event.event_type == "page_view" {
            *counts.entry((event.timestamp / 10_000, event.payload.path.into())).or_default() += 1;
        }
    }
    told(begun.unwrap().elapsed().as_secs_f64());
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
