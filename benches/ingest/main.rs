//! `streamgauge ingest` beside servers that do less, in turns, under the same load: `make bench-ingest`.
//!
//! `bare` reads a body and answers. `kafka` also parses the events and answers once Kafka has all of them. All three run
//! at the same time as processes of their own, and one of them at a time is loaded; CPU is user + system of the whole
//! process. STREAMGAUGE_BENCH_BUILDS names other builds of the program, with commas, to be measured as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement that fails, fails")]

mod reference;
#[path = "../shared/mod.rs"]
mod shared;

use shared::load::{Load, Requests, closed, open};
use shared::target::{BINARY, Target};
use shared::{PARTITIONS, cpu_s, create, median, number, spread};
use std::time::Duration;

/// Of the open loop: requests a second.
const RATE: u32 = 1_000;
const WARM_UP: Duration = Duration::from_millis(500);

/// One run of one server.
struct Run {
    load: Load,
    events: u64,
    cpu_s: f64,
}

impl Run {
    fn requests_per_s(&self) -> f64 {
        self.load.requests as f64 / self.load.wall_s
    }

    fn events_per_s(&self) -> f64 {
        self.events as f64 / self.load.wall_s
    }

    fn cpu_s_per_million(&self) -> f64 {
        self.cpu_s * 1e6 / self.events as f64
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "--bare"] => return reference::serve(None),
        [_, "--kafka", brokers, topic] => return reference::serve(Some((brokers, topic))),
        _ => {}
    }
    let brokers = std::env::var("STREAMGAUGE_BENCH_KAFKA").expect("run `make bench-ingest`: it starts a Kafka");
    let rounds = number("STREAMGAUGE_BENCH_ROUNDS", 3);
    let during = Duration::from_millis(number("STREAMGAUGE_BENCH_MS", 3_000));
    let topic = format!("bench-ingest-{}", std::process::id());
    tokio::runtime::Runtime::new().unwrap().block_on(create(&brokers, &topic, PARTITIONS));
    let mut targets = vec![
        Target::reference(&["--bare"]),
        Target::reference(&["--kafka", &brokers, &topic]),
        Target::ingest(BINARY, &brokers, &topic),
    ];
    for build in std::env::var("STREAMGAUGE_BENCH_BUILDS").iter().flat_map(|builds| builds.split(',')) {
        targets.push(Target::ingest(build, &brokers, &topic).named(build));
    }
    // A broker takes its time to get up to speed; nobody is measured meanwhile.
    closed(
        targets[1].addr,
        &mut Requests::of(50),
        64,
        Duration::from_millis(number("STREAMGAUGE_BENCH_WARM_MS", 10_000)),
    );
    println!("{rounds} rounds of {during:?}; median (lowest to highest)");
    for per_request in chosen("STREAMGAUGE_BENCH_PER_REQUEST", &[1, 50]) {
        let mut requests = Requests::of(per_request);
        for connections in chosen("STREAMGAUGE_BENCH_CONNECTIONS", &[64, 512]) {
            let load =
                |target: &Target, requests: &mut Requests, during| closed(target.addr, requests, connections, during);
            let runs = in_turns(&targets, &mut requests, rounds, during, load);
            table(&format!("{per_request} per request, {connections} connections"), &targets, &runs);
        }
        let load = |target: &Target, requests: &mut Requests, during| open(target.addr, requests, 64, RATE, during);
        if per_request == 1 {
            let runs = in_turns(&targets, &mut requests, rounds, during, load);
            table(&format!("{per_request} per request, open loop, {RATE} requests/s"), &targets, &runs);
        }
    }
}

/// Numbers in a variable, with commas, or these.
fn chosen(name: &str, default: &[usize]) -> Vec<usize> {
    let all = |text: String| text.split(',').map(|one| one.parse().expect(name)).collect();
    std::env::var(name).map_or_else(|_| default.to_vec(), all)
}

/// Runs of each target, a round after the other.
fn in_turns(
    targets: &[Target],
    requests: &mut Requests,
    rounds: u64,
    during: Duration,
    load: impl Fn(&Target, &mut Requests, Duration) -> Load,
) -> Vec<Vec<Run>> {
    let mut runs: Vec<Vec<Run>> = targets.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        // `bare` leaves the broker alone: whoever follows it finds a rested one, so that is not always the same.
        let mut order: Vec<usize> = (0..targets.len()).collect();
        if round % 2 == 1 {
            order[1..].reverse();
        }
        for place in order {
            let target = &targets[place];
            load(target, requests, WARM_UP);
            let before = cpu_s(target.process());
            let load = load(target, requests, during);
            let cpu_s = cpu_s(target.process()) - before;
            runs[place].push(Run { load, events: load.requests * requests.per_request() as u64, cpu_s });
        }
    }
    runs
}

fn table(title: &str, targets: &[Target], runs: &[Vec<Run>]) {
    println!("\n| {title} | requests/s | events/s | CPU-seconds per million events | p50, ms | p99, ms |");
    println!("|---|---|---|---|---|---|");
    for (target, runs) in targets.iter().zip(runs) {
        let cell = |decimals, of: &dyn Fn(&Run) -> f64| spread(runs, decimals, of);
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            target.name,
            cell(0, &Run::requests_per_s),
            cell(0, &Run::events_per_s),
            cell(2, &Run::cpu_s_per_million),
            cell(2, &|run| run.load.p50_ms),
            cell(2, &|run| run.load.p99_ms),
        );
    }
    let of = |place: usize| runs[place].iter().map(Run::cpu_s_per_million);
    let ratio = |other: usize| median(of(2).zip(of(other)).map(|(product, other)| product / other).collect());
    println!("| streamgauge / bare, / kafka | | | {:.2}, {:.2} | | |", ratio(0), ratio(1));
}
