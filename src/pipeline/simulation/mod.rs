//! Takes the real partitions, registry, counting and rules of where to start through random histories: processors that
//! crash, stall and lose their partitions, a log that is trimmed, cut or made anew, a store that loses replies, gets
//! requests late and goes back in time. After every step, the store must hold what its log adds up to; in the end, when
//! the faults have ceased, everything must be counted.
//!
//! One seed decides a whole history. `SIM_SEED=… cargo test --lib simulation::each_record -- --nocapture` replays one
//! and tells its steps; `SIM_HISTORIES=…` plays more.

mod group;
mod history;
mod log;
mod look_up;
mod planted;
mod processor;
mod random;
mod recount;
mod store;
mod world;

use history::{Played, play};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// How many histories are played.
fn histories() -> u64 {
    number("SIM_HISTORIES").unwrap_or(10_000)
}

/// A panic in the middle of a history is a failure of it.
fn outcome(seed: u64, traced: bool) -> Result<Played, String> {
    catch_unwind(AssertUnwindSafe(|| play(seed, None, traced))).unwrap_or_else(|_| Err("a panic, see above".into()))
}

#[test]
fn each_record_counts_exactly_once() {
    if let Some(seed) = number("SIM_SEED") {
        outcome(seed, true).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        return;
    }
    let started = Instant::now();
    let mut coincidences = 0;
    for seed in 1..=histories() {
        match outcome(seed, false) {
            Ok(Played::Whole) => {}
            Ok(Played::ToACoincidence) => coincidences += 1,
            Err(wrong) => panic!(
                "seed {seed}: {wrong}\n\nIts steps: SIM_SEED={seed} cargo test --lib simulation::each_record -- --nocapture"
            ),
        }
    }
    println!("{} histories in {:?}, {coincidences} ended at a coincidence", histories(), started.elapsed());
}
