//! The embedded mode, from the request to the count: `make bench-embedded`. It needs no Kafka and no Redis.
//!
//! `streamgauge run` on a file of its own in each round, under a closed loop; the clock runs until the query API says that
//! every event that was accepted is counted. CPU is user + system of the process. Beside it, how long the program takes to
//! get ready, and how large it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement that fails, fails")]

mod shared;

use shared::load::{Requests, closed};
use shared::target::{BINARY, Target, ask};
use shared::{cpu_s, figures_of_process, median, number, spread};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 64;
const LONG: Duration = Duration::from_secs(120);

/// One run.
struct Run {
    accepted_per_s: f64,
    counted_per_s: f64,
    cpu_s_per_million: f64,
    peak_mib: f64,
    p50_ms: f64,
}

fn main() {
    let rounds = number("STREAMGAUGE_BENCH_ROUNDS", 3);
    let during = Duration::from_millis(number("STREAMGAUGE_BENCH_MS", 8_000));
    println!("{rounds} rounds of {during:?}, {CONNECTIONS} connections; median (lowest to highest)\n");
    println!(
        "| events per request | accepted/s | counted/s | CPU-seconds per million events | peak memory, MiB | p50, ms |"
    );
    println!("|---|---|---|---|---|---|");
    for per_request in [50, 1] {
        let runs: Vec<Run> = (0..rounds).map(|_| run(per_request, during)).collect();
        let cell = |decimals, of: &dyn Fn(&Run) -> f64| spread(&runs, decimals, of);
        println!(
            "| {per_request} | {} | {} | {} | {} | {} |",
            cell(0, &|run| run.accepted_per_s),
            cell(0, &|run| run.counted_per_s),
            cell(2, &|run| run.cpu_s_per_million),
            cell(0, &|run| run.peak_mib),
            cell(2, &|run| run.p50_ms),
        );
    }
    let ready: Vec<f64> = (0..5).map(|_| start().0.ready_after.as_secs_f64() * 1_000.0).collect();
    println!("\nfrom the start to ready: {:.0} ms (median of {})", median(ready.clone()), ready.len());
    println!("size of the binary: {:.1} MiB", std::fs::metadata(BINARY).unwrap().len() as f64 / 1_048_576.0);
}

fn start() -> (Target, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("streamgauge.db");
    let settings = format!(
        "[log]\nkind = \"embedded\"\n[store]\nkind = \"embedded\"\n[embedded]\npath = \"{}\"\n",
        path.display()
    );
    Target::streamgauge(BINARY, "run", &settings, folder)
}

fn run(per_request: usize, during: Duration) -> Run {
    let (target, query) = start();
    let mut requests = Requests::of(per_request);
    let cpu_before = cpu_s(target.process());
    let begun = Instant::now();
    let load = closed(target.addr, &mut requests, CONNECTIONS, during);
    let events = load.requests * per_request as u64;
    while counted(query) < events {
        assert!(begun.elapsed() < LONG, "not everything is counted");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let wall_s = begun.elapsed().as_secs_f64();
    assert_eq!(counted(query), events);
    Run {
        accepted_per_s: events as f64 / load.wall_s,
        counted_per_s: events as f64 / wall_s,
        cpu_s_per_million: (cpu_s(target.process()) - cpu_before) * 1e6 / events as f64,
        peak_mib: figures_of_process(target.process(), wall_s).peak_mib,
        p50_ms: load.p50_ms,
    }
}

/// Events that were counted, each once, as the query API says.
fn counted(query: SocketAddr) -> u64 {
    let Some(answer) = ask(query, "/api/v1/status") else { return 0 };
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let status: serde_json::Value = serde_json::from_str(body).unwrap();
    let partitions = status["partitions"].as_array().unwrap();
    partitions.iter().map(|partition| partition["ledger"]["counted"].as_u64().unwrap()).sum()
}
