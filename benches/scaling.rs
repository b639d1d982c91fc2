//! How the cost of `streamgauge process` grows, one factor at a time: `make bench-scaling`.
//!
//! Dedupe is off. Each topic is read by a process of its own, as in `make bench`; pages are all alike here, so that there
//! are as many keys as it says. The first line of each table is what its ratios refer to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement that fails, fails")]

mod shared;

use shared::processor::{Process, counter, redis_process};
use shared::{Events, Figures, cpu_s, median, number, produce};

const USUAL: Events = Events { partitions: 4, pages: 1_000, evenly: true, bytes: 300 };

/// What is read, and by how many counters.
struct Case {
    name: &'static str,
    kind: Events,
    events: u64,
    counters: usize,
}

impl Case {
    fn of(name: &'static str, kind: Events) -> Case {
        Case { name, kind, events: number("STREAMGAUGE_BENCH_EVENTS", 2_000_000), counters: 1 }
    }
}

fn main() {
    let of = |name, change: fn(&mut Events)| {
        let mut kind = USUAL;
        change(&mut kind);
        Case::of(name, kind)
    };
    let fewer = |part: u64, case: Case| Case { events: case.events / part, ..case };
    let with = |counters, name| Case { counters, ..of(name, |_| ()) };
    table(
        "partitions",
        &[
            of("1", |kind| kind.partitions = 1),
            of("4", |_| ()),
            of("16", |kind| kind.partitions = 16),
            of("64", |kind| kind.partitions = 64),
        ],
    );
    table(
        "keys",
        &[
            of("1,000", |_| ()),
            of("100,000", |kind| kind.pages = 100_000),
            of("1,000,000", |kind| kind.pages = 1_000_000),
        ],
    );
    table("counters", &[with(1, "1"), with(5, "5"), with(20, "20")]);
    table(
        "bytes of an event",
        &[
            of("300", |_| ()),
            of("150", |kind| kind.bytes = 150),
            fewer(4, of("2,000", |kind| kind.bytes = 2_000)),
            fewer(40, of("20,000", |kind| kind.bytes = 20_000)),
        ],
    );
}

fn table(factor: &str, cases: &[Case]) {
    println!(
        "\n| {factor} | events/s | CPU-seconds per million events | times the first | peak memory, MiB | Redis, CPU-seconds per million events |"
    );
    println!("|---|---|---|---|---|---|");
    let mut first = None;
    for case in cases {
        let runs = measured(factor, case);
        let cell = |of: fn(&(Figures, f64)) -> f64| median(runs.iter().map(of).collect());
        let millions = case.events as f64 / 1e6;
        let cpu = cell(|(figures, _)| figures.cpu_s) / millions;
        let rate = case.events as f64 / cell(|(figures, _)| figures.wall_s);
        let times = cpu / *first.get_or_insert(cpu);
        let (peak, redis) = (cell(|(figures, _)| figures.peak_mib), cell(|(_, redis)| *redis) / millions);
        println!("| {} | {rate:.0} | {cpu:.2} | {times:.2} | {peak:.0} | {redis:.2} |", case.name);
    }
}

/// What each run took, of the process and of Redis.
fn measured(factor: &str, case: &Case) -> Vec<(Figures, f64)> {
    let brokers = std::env::var("STREAMGAUGE_BENCH_KAFKA").expect("run `make bench-scaling`: it starts a Kafka");
    let redis = std::env::var("STREAMGAUGE_BENCH_REDIS").expect("run `make bench-scaling`: it starts a Redis");
    let topic = format!("scaling-{}-{}", factor.replace(' ', "-"), case.name.replace(',', ""));
    produce(&brokers, &topic, case.kind, case.events);
    let store = redis_process(&redis);
    let run = |round| {
        let prefix = format!("{topic}-{round}");
        let counters = (0..case.counters).map(|n| counter(&format!("page_views_{n}"), 1_000_000)).collect();
        let (brokers, redis, topic, prefix) = (&*brokers, &*redis, &*topic, &*prefix);
        let process = Process { brokers, redis, topic, partitions: case.kind.partitions, prefix, horizon: 0, counters };
        let before = cpu_s(store);
        let figures = process.run(case.events);
        (figures, cpu_s(store) - before)
    };
    (0..number("STREAMGAUGE_BENCH_ROUNDS", 3)).map(run).collect()
}
