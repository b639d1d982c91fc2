//! Open-loop load: requests leave at fixed times, whatever became of those before them, and latency counts from the
//! time at which a request was due. A generator that waits for answers would send less just when it should measure.
//!
//! `schedule`, `mix`, `events`, `tally`, `probes` and `summary` do no I/O; the `pacer` releases requests when they are due,
//! senders take them, each with a [`connection`]. Afterwards the [`Check`] asks the query side whether everything that was
//! accepted was counted: the key of each event names the run, so it is exact beside other traffic.

mod check;
mod connection;
mod events;
mod mix;
mod pacer;
mod probes;
mod query;
mod run;
mod schedule;
mod summary;
mod tally;

pub use check::{Check, Checked, Report, Verdict};
pub use connection::{Target, WrongUrl};
pub use mix::{Mix, WrongMix};
pub use query::{NoAnswer, QuerySide};
pub use run::{Load, Plan, Progress, Watch};
pub use schedule::Schedule;
pub use summary::{Kept, Summary};
pub use tally::{Counts, Latencies};

use crate::event::Dimension;

/// What is wrong with a plan, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongPlan(String);

/// Why there is no run, or no check.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan makes no sense.
    #[error(transparent)]
    Plan(#[from] WrongPlan),
    /// Ingest cannot be connected to.
    #[error("cannot connect to ingest at {0}: {1}")]
    NobodyThere(String, std::io::Error),
    /// The query side cannot be asked.
    #[error(transparent)]
    Query(#[from] NoAnswer),
    /// Keys cannot be drawn.
    #[error("the keys' distribution: {0}")]
    Zipf(#[from] rand_distr::ZipfError),
    /// Latencies cannot be kept.
    #[error("the histogram of latencies: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
}

/// A name for a run that no other run has.
pub fn run_name() -> String {
    format!("{:012x}", rand::random::<u64>() >> 16)
}

/// What begins the key of each event of a run.
pub fn marker(run: &str) -> String {
    events::marker(run)
}

/// For each type of a mix, where its events carry their key when nobody asks how they are counted.
pub fn usual_fields(mix: &Mix) -> Vec<Dimension> {
    probes::usual_fields(mix)
}
