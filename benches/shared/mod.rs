//! What the benchmarks have in common: a topic of events, children that are measured, and tables.
#![allow(dead_code, reason = "a tool box: not every benchmark needs every tool")]

pub(crate) mod load;
pub(crate) mod processor;
pub(crate) mod target;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use streamgauge::clock::now_ms;

pub(crate) const PARTITIONS: i32 = 4;

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) peak_mib: f64,
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median, and in parentheses the lowest and the highest.
pub(crate) fn spread<T>(runs: &[T], decimals: usize, of: impl Fn(&T) -> f64) -> String {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[0], values[values.len() - 1]);
    format!("{:.decimals$} ({low:.decimals$} to {high:.decimals$})", median(values))
}

pub(crate) fn row(name: &str, events: u64, runs: &[Figures]) {
    let cell = |of: &dyn Fn(&Figures) -> f64| spread(runs, 0, of);
    let rate = cell(&|f| events as f64 / f.wall_s);
    let per_cpu = cell(&|f| events as f64 / f.cpu_s);
    println!("| {name} | {rate} | {per_cpu} | {} |", cell(&|f| f.peak_mib));
}

/// What a topic is filled with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Events {
    pub(crate) partitions: i32,
    pub(crate) pages: u64,
    /// All pages alike, or a few much more than the others.
    pub(crate) evenly: bool,
    /// About; the smallest events are of 150 bytes.
    pub(crate) bytes: usize,
}

impl Default for Events {
    fn default() -> Events {
        Events { partitions: PARTITIONS, pages: 10_000, evenly: false, bytes: 300 }
    }
}

impl Events {
    /// Session and text of the i-th event: 50,000 sessions, 20 events a millisecond.
    pub(crate) fn event(&self, i: u64, first_ms: i64) -> (String, String) {
        let mut x = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x ^= x >> 27;
        let part = (x >> 11) as f64 / (1_u64 << 53) as f64;
        let page = (if self.evenly { part } else { part.powi(4) } * self.pages as f64) as u64;
        let (session, time_ms) = (format!("sess-{:08}", x % 50_000), first_ms + (i / 20) as i64);
        let json = if self.bytes < 300 {
            format!(
                r#"{{"event_type":"page_view","event_id":"bench-{i:018}","timestamp":{time_ms},"user_id":"user-{:07}","payload":{{"path":"/products/item-{page:05}"}}}}"#,
                x % 20_000,
            )
        } else {
            format!(
                r#"{{"event_type":"page_view","event_id":"bench-{i:026}","event_version":1,"timestamp":{time_ms},"user_id":"user-{:07}","session_id":"{session}","payload":{{"path":"/products/item-{page:05}","referrer":"https://www.example.com/search?q=shoes","lang":"en-GB","title":"Product page number {page}{}"}}}}"#,
                x % 20_000,
                filler(x, self.bytes - 300),
            )
        };
        (session, json)
    }
}

/// Text of that length that compresses to about a half.
fn filler(mut x: u64, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        x = x.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        let _ = write!(text, "{x:016x}");
    }
    text.truncate(bytes);
    text
}

/// The i-th event of the usual ones.
pub(crate) fn event(i: u64, first_ms: i64) -> (String, String) {
    Events::default().event(i, first_ms)
}

/// Makes the topic of a benchmark.
pub(crate) async fn create(brokers: &str, topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let new =
        NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("message.timestamp.type", "LogAppendTime");
    admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
}

/// Fills a topic with events of now, so that their windows are still kept.
pub(crate) fn produce(brokers: &str, topic: &str, kind: Events, events: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(create(brokers, topic, kind.partitions));
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "20")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .create()
        .unwrap();
    let first_ms = now_ms() - (events / 20) as i64;
    for i in 0..events {
        let (key, value) = kind.event(i, first_ms);
        let mut record = BaseRecord::to(topic).key(&key).payload(&value);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.flush(Duration::from_millis(5)).ok();
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

/// Runs this program again in a mode of its own, which prints the seconds it took and then waits to be measured.
pub(crate) fn run_child(mode: &str, brokers: &str, topic: &str, events: u64) -> Figures {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([mode, brokers, topic, &events.to_string()])
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

/// In a child: says how long it took, and waits until it was measured.
pub(crate) fn told(seconds: f64) {
    println!("{seconds}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// A bare consumer of the whole topic.
pub(crate) fn reader(brokers: &str, topic: &str) -> BaseConsumer {
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
    consumer
}

/// CPU and peak memory of a child that is still there, as the kernel counts them.
pub(crate) fn figures_of(child: &Child, wall_s: f64) -> Figures {
    figures_of_process(child.id(), wall_s)
}

/// The same of any process that runs.
pub(crate) fn figures_of_process(process: u32, wall_s: f64) -> Figures {
    figures_of_running(process, wall_s).unwrap()
}

/// The same; nothing once it has ended.
pub(crate) fn figures_of_running(process: u32, wall_s: f64) -> Option<Figures> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    Some(Figures { wall_s, cpu_s: cpu_s(process), peak_mib: kib / 1_024.0 })
}

/// CPU seconds of a process so far, user and system, as the kernel counts them.
pub(crate) fn cpu_s(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name of the command, in parentheses, may hold spaces; user and system time are the 12th and 13th after it.
    let after = &stat[stat.rfind(')').unwrap() + 2..];
    let ticks: u64 = after.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
    // Linux counts in hundredths of a second for every program.
    ticks as f64 / 100.0
}
