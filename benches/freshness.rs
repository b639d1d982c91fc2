//! How long it takes from the receipt of an event until the query API counts it: `make bench-freshness`.
//!
//! Ingest, processor and query side run as processes of their own, on a real Kafka and a real Redis. An open loop sends
//! half of what they take at most, measured before. Beside it single events with keys of their own are posted, and the
//! query API is asked for them again and again. The time counts from before such an event is sent, and until the answer
//! that has it is read, so it is never too short.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that fails, fails"
)]

mod shared;
#[path = "../tests/it/support/mod.rs"]
#[allow(unused_imports, reason = "a tool box of which this takes a part")]
mod support;

use serde_json::{Value, json};
use shared::{cpu_s, median, number, spread};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use streamgauge::shutdown::Shutdown;
use streamgauge::traffic::load::{Load, Mix, Plan, Summary, Target, run_name, usual_fields};
use support::app::Binary;
use support::doors::consumed;
use support::{Kafka, Redis, Settings, eventually, unique};
use tokio::time::{MissedTickBehavior, interval};

const PARTITIONS: i32 = 4;
const LONG: Duration = Duration::from_secs(300);
/// Between two sampled events, and between two questions.
const SAMPLE: Duration = Duration::from_millis(19);
const ASK: Duration = Duration::from_millis(5);
const INTERVALS: [&str; 2] = ["2s", "200ms"];

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (kafka, redis) = (Kafka::start().await, Redis::start().await);
        let seconds = Duration::from_secs(number("STREAMGAUGE_BENCH_SECONDS", 20));
        let rounds = number("STREAMGAUGE_BENCH_ROUNDS", 3);
        let rate = match number("STREAMGAUGE_BENCH_RATE", 0) {
            0 => peak(&kafka, &redis).await / 2,
            rate => u32::try_from(rate).unwrap(),
        };
        let mut runs: HashMap<&str, Vec<Fresh>> = HashMap::new();
        for round in 1..=rounds {
            let mut order = INTERVALS;
            if round % 2 == 0 {
                order.reverse();
            }
            for flush in order {
                let fresh = Setting::start(&kafka, &redis, flush).await.freshness(rate, seconds).await;
                println!("round {round}, {flush}: {fresh:.1?}");
                runs.entry(flush).or_default().push(fresh);
            }
        }
        println!("\n{rate} events/s for {seconds:?}, {rounds} rounds; median (lowest to highest); times in ms\n");
        println!(
            "| flush_interval | samples | p50 | p99 | p99.9 | max | CPU-seconds of the processor per million events |"
        );
        println!("|---|---|---|---|---|---|---|");
        for flush in INTERVALS {
            let cell = |of: fn(&Fresh) -> f64| spread(&runs[flush], 1, of);
            println!(
                "| {flush} | {:.0} | {} | {} | {} | {} | {} |",
                runs[flush].iter().map(|fresh| fresh.samples as f64).sum::<f64>(),
                cell(|fresh| fresh.p50),
                cell(|fresh| fresh.p99),
                cell(|fresh| fresh.p99_9),
                cell(|fresh| fresh.max),
                cell(|fresh| fresh.cpu_per_million),
            );
        }
        let pairs = runs[INTERVALS[1]].iter().zip(&runs[INTERVALS[0]]);
        let ratios: Vec<f64> = pairs.map(|(often, seldom)| often.cpu_per_million / seldom.cpu_per_million).collect();
        println!("\nCPU of the processor, {} / {}: {:.2}", INTERVALS[1], INTERVALS[0], median(ratios));
    });
}

/// What one run showed; times in ms.
#[derive(Debug)]
#[allow(dead_code, reason = "all of it is printed")]
struct Fresh {
    samples: usize,
    p50: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
    /// The same from the answer of ingest on.
    from_answer_p99: f64,
    /// Between two answers of the query side, on average: by so much the times may be too long.
    asked_every: f64,
    cpu_per_million: f64,
    /// How late the generator was, and how long ingest took, 99 of 100.
    late_p99: f64,
    ingest_p99: f64,
}

/// The three processes.
struct Setting {
    ingest: Binary,
    process: Binary,
    query: Binary,
}

impl Setting {
    async fn start(kafka: &Kafka, redis: &Redis, flush: &str) -> Setting {
        let topic = kafka.topic_with("fresh", PARTITIONS, &[("message.timestamp.type", "LogAppendTime")]).await;
        let settings = Settings::kafka(kafka, redis, &topic, &unique("fresh"));
        let settings = settings.with("pipeline.flush_interval", flush).counting(
            r#"
            [[counters]]
            name = "page_views"
            event = "page_view"
            by = ["payload.path"]
            windows = [{ size = "10s", keep = "1h" }, { size = "1m", keep = "1d" }, { size = "1h", keep = "30d" }]

            [[counters]]
            name = "samples"
            event = "sample"
            by = ["payload.sample"]
            windows = [{ size = "1s", keep = "1h" }]
            "#,
        );
        let ingest = Binary::start("ingest", &settings).await;
        let process = Binary::start("process", &settings).await;
        let query = Binary::start("query", &settings).await;
        for binary in [&ingest, &process, &query] {
            binary.until_ready().await;
        }
        Setting { ingest, process, query }
    }

    /// Sends page views at this rate, in requests of 50, of 300 bytes each.
    async fn load(&self, rate: u32, lasting: Duration, answer_within: Duration) -> Summary {
        let mix: Mix = "page_view".parse().unwrap();
        let fields = usual_fields(&mix);
        let plan = Plan {
            target: Target::new(&self.ingest.ingest_url(""), None).unwrap(),
            rate,
            lasting,
            connections: 32,
            batch: 50,
            mix,
            keys: 1_000,
            zipf: 1.0,
            event_bytes: 300,
            answer_within,
        };
        Load::new(plan, &run_name(), &fields).unwrap().run(Shutdown::new()).await.unwrap()
    }

    /// Measures while half of the peak comes in.
    async fn freshness(self, rate: u32, seconds: Duration) -> Fresh {
        // Code, connections and caches are warm, and the first window is not the measured one.
        let mut sent = self.load(rate, Duration::from_secs(3), LONG).await.events.accepted;
        self.until_counted(sent).await;
        let (stop, seen) = (Shutdown::new(), Arc::new(Mutex::new(HashMap::new())));
        let setting = Arc::new(self);
        let sampling = tokio::spawn(sample(setting.clone(), stop.clone(), seen.clone()));
        let asking = tokio::spawn(ask(setting.clone(), stop.clone(), seen.clone()));
        let cpu_before = cpu_s(setting.process.pid());
        let summary = setting.load(rate, seconds, LONG).await;
        stop.begin();
        let samples = sampling.await.unwrap();
        sent += summary.events.accepted + samples;
        setting.until_counted(sent).await;
        let cpu = cpu_s(setting.process.pid()) - cpu_before;
        let asked_every = asking.await.unwrap();
        let seen = seen.lock().unwrap();
        let of = |time: fn(&Sample) -> f64| {
            let mut times: Vec<f64> = seen.values().map(time).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        let times = of(|sample| (sample.visible.unwrap() - sample.sent).as_secs_f64() * 1_000.0);
        let answered = of(|sample| sample.visible.unwrap().duration_since(sample.answered).as_secs_f64() * 1_000.0);
        let at = |times: &[f64], quantile: f64| times[(times.len() as f64 * quantile) as usize];
        Fresh {
            samples: times.len(),
            p50: at(&times, 0.5),
            p99: at(&times, 0.99),
            p99_9: at(&times, 0.999),
            max: times[times.len() - 1],
            from_answer_p99: at(&answered, 0.99),
            asked_every,
            cpu_per_million: cpu * 1e6 / (summary.events.accepted + samples) as f64,
            late_p99: summary.late.p99,
            ingest_p99: summary.latency.p99,
        }
    }

    async fn until_counted(&self, events: u64) {
        eventually(LONG, "all is counted", async || {
            let counted = consumed(&self.query.status().await);
            if counted >= events { Ok(()) } else { Err(format!("{counted} of {events}")) }
        })
        .await;
    }
}

/// The rate at which events can be sent and counted, on and on.
async fn peak(kafka: &Kafka, redis: &Redis) -> u32 {
    let setting = Setting::start(kafka, redis, INTERVALS[0]).await;
    let most = |seconds| setting.load(1_000_000, Duration::from_secs(seconds), Duration::from_secs(1));
    // A broker that has just been started takes half of what it takes later.
    let warm = most(10).await.events.accepted;
    setting.until_counted(warm).await;
    let began = Instant::now();
    let summary = most(10).await;
    setting.until_counted(warm + summary.events.accepted).await;
    let peak = summary.events.accepted as f64 / began.elapsed().as_secs_f64();
    println!("at most {:.0} events/s go in, and {peak:.0} events/s go in and are counted", summary.rate_achieved);
    peak as u32
}

/// An event with a key of its own.
struct Sample {
    sent: Instant,
    answered: Instant,
    visible: Option<Instant>,
}

type Seen = Arc<Mutex<HashMap<String, Sample>>>;

/// Posts single events until told to stop, and answers how many.
async fn sample(setting: Arc<Setting>, stop: Shutdown, seen: Seen) -> u64 {
    let mut ticks = interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !stop.has_begun() {
        ticks.tick().await;
        let key = format!("sample-{number}");
        let event = json!({"event_type": "sample", "session_id": key, "payload": {"sample": key}});
        let sent = Instant::now();
        setting.ingest.post(&event).await;
        let answered = Instant::now();
        seen.lock().unwrap().insert(key, Sample { sent, answered, visible: None });
        number += 1;
    }
    number
}

/// Asks for the sampled events until all are seen after `stop`, and answers the mean time between two answers, in ms.
async fn ask(setting: Arc<Setting>, stop: Shutdown, seen: Seen) -> f64 {
    let (began, mut answers) = (Instant::now(), 0_u32);
    let mut ticks = interval(ASK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let was_stopped = stop.has_begun();
        let answer = setting.query.counter("samples", "window=1s&from=-6s&top=10000").await;
        let now = Instant::now();
        answers += 1;
        let mut seen = seen.lock().unwrap();
        for key in answer["buckets"].as_array().unwrap().iter().flat_map(|bucket| bucket["keys"].as_array().unwrap()) {
            // One that is not there yet was counted before its answer came back: the next answer has it again.
            let known = key["key"].as_str().and_then(|key| seen.get_mut(key));
            known.into_iter().for_each(|sample| _ = sample.visible.get_or_insert(now));
        }
        if was_stopped && seen.values().all(|sample| sample.visible.is_some()) {
            return began.elapsed().as_secs_f64() * 1_000.0 / f64::from(answers);
        }
        assert!(began.elapsed() < LONG, "samples are not seen: {}", Value::from(answers));
    }
}
