//! `streamgauge process` beside a minimal loop on the same topic, in turns: `make bench`.
//!
//! The loop is `BaseConsumer::poll`, a UTF-8 check, serde_json into borrowed fields, and one hash map cell per event:
//! what the work costs with no store, no offsets, no ledger and no metrics. Both run as processes of their own; CPU is
//! user + system of the whole process, events per second begin with the first record.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement that fails, fails")]

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PARTITIONS: i32 = 4;

/// One run.
#[derive(Debug, Clone, Copy)]
struct Figures {
    wall_s: f64,
    cpu_s: f64,
    peak_mib: f64,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, mode, brokers, topic, events] = args.as_slice()
        && mode == "--loop"
    {
        return minimal_loop(brokers, topic, events.parse().unwrap());
    }
    let brokers = std::env::var("STREAMGAUGE_BENCH_KAFKA").expect("run `make bench`: it starts a Kafka");
    let redis = std::env::var("STREAMGAUGE_BENCH_REDIS").expect("run `make bench`: it starts a Redis");
    let events: u64 = number("STREAMGAUGE_BENCH_EVENTS", 2_000_000);
    let rounds = number("STREAMGAUGE_BENCH_ROUNDS", 3);
    let topic = format!("bench-{}", std::process::id());
    produce(&brokers, &topic, events);
    let (mut reference, mut product) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        reference.push(run_loop(&brokers, &topic, events));
        product.push(run_process(&brokers, &redis, &topic, &format!("{topic}-{round}"), events));
        println!("round {}: loop {:.2?}, process {:.2?}", round + 1, reference.last(), product.last());
    }
    println!("\n{events} events, {PARTITIONS} partitions, {rounds} rounds; median (lowest to highest)\n");
    println!("| | events/s | events per CPU-second | peak memory, MiB |\n|---|---|---|---|");
    row("minimal loop", events, &reference);
    row("process", events, &product);
    let ratio = |of: fn(&Figures) -> f64| median(reference.iter().zip(&product).map(|(l, p)| of(l) / of(p)).collect());
    println!("| process / loop | {:.2} | {:.2} | |", ratio(|f| f.wall_s), ratio(|f| f.cpu_s));
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn row(name: &str, events: u64, runs: &[Figures]) {
    let cell = |of: &dyn Fn(&Figures) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        format!("{:.0} ({:.0} to {:.0})", values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let rate = cell(&|f| events as f64 / f.wall_s);
    let per_cpu = cell(&|f| events as f64 / f.cpu_s);
    println!("| {name} | {rate} | {per_cpu} | {} |", cell(&|f| f.peak_mib));
}

/// The i-th event: skewed pages, 50,000 sessions, about 300 bytes, 20 events a millisecond.
fn event(i: u64, first_ms: u128) -> (String, String) {
    let mut x = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 27;
    let page = (((x >> 11) as f64 / (1_u64 << 53) as f64).powi(4) * 10_000.0) as u64;
    let session = format!("sess-{:08}", x % 50_000);
    let json = format!(
        r#"{{"event_type":"page_view","event_id":"bench-{i:026}","event_version":1,"timestamp":{},"user_id":"user-{:07}","session_id":"{session}","payload":{{"path":"/products/item-{page:05}","referrer":"https://www.example.com/search?q=shoes","lang":"en-GB","title":"Product page number {page}"}}}}"#,
        first_ms + u128::from(i / 20),
        x % 20_000,
    );
    (session, json)
}

#[expect(clippy::disallowed_methods, reason = "events of now, so that their windows are still kept")]
fn produce(brokers: &str, topic: &str, events: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let new =
        NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1)).set("message.timestamp.type", "LogAppendTime");
    runtime.block_on(admin.create_topics(&[new], &AdminOptions::new())).unwrap();
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "20")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .create()
        .unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first_ms = now.as_millis() - u128::from(events / 20);
    for i in 0..events {
        let (key, value) = event(i, first_ms);
        let mut record = BaseRecord::to(topic).key(&key).payload(&value);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.flush(Duration::from_millis(5)).ok();
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
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
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench-loop")
        .set("enable.auto.commit", "false")
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.queue.backoff.ms", "5")
        .create()
        .unwrap();
    let mut positions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        positions.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&positions).unwrap();
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
    println!("{}", begun.unwrap().elapsed().as_secs_f64());
    // The parent reads our CPU time before we go.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn run_loop(brokers: &str, topic: &str, events: u64) -> Figures {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--loop", brokers, topic, &events.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let figures = figures_of(&child, line.trim().parse().unwrap());
    drop(child.stdin.take());
    child.wait().unwrap();
    figures
}

fn run_process(brokers: &str, redis: &str, topic: &str, prefix: &str, events: u64) -> Figures {
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

/// CPU and peak memory of a child that is still there, as the kernel counts them.
fn figures_of(child: &Child, wall_s: f64) -> Figures {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap();
    let stat = read("stat");
    // The name of the command, in parentheses, may hold spaces; user and system time are the 12th and 13th after it.
    let after = &stat[stat.rfind(')').unwrap() + 2..];
    let ticks: u64 = after.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
    let status = read("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // Linux counts in hundredths of a second for every program.
    Figures { wall_s, cpu_s: ticks as f64 / 100.0, peak_mib: kib / 1_024.0 }
}
