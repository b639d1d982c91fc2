use super::millis;
use crate::counter::{Dedupe, Timing};
use serde::Deserialize;
use std::time::Duration;

/// What a partition does whose records are gone before they were counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnGap {
    /// It stops and names them, until somebody accepts that.
    #[default]
    Stop,
    /// It goes on behind them and notes them as lost.
    Continue,
}

/// How the pipeline works: `[pipeline]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Worker threads, each a member of the consumer group; 0 = as many as cores, at most as many as partitions.
    pub workers: usize,
    /// How often the counts are flushed. It bounds how old the counts that a reader sees can be.
    #[serde(with = "crate::units::duration")]
    pub flush_interval: Duration,
    /// How much later than its window an event may come before the window is called final. It still counts.
    #[serde(with = "crate::units::duration")]
    pub lateness: Duration,
    /// How far past its record an event's timestamp may lie before the record's time stands for it.
    #[serde(with = "crate::units::duration")]
    pub max_ahead: Duration,
    /// How many records of the same partition back an event id is looked for; 0 = nowhere. It decides counts, so it
    /// is no setting to play with.
    pub dedupe_horizon: u64,
    /// Event ids that this process keeps for that, over all partitions: about 30 bytes each. A partition that would
    /// exceed it waits.
    pub max_dedupe_ids: u64,
    /// What a partition does whose records are gone before they were counted.
    pub on_gap: OnGap,
    /// Cells (numbers to be written) of one segment, and about those of one atomic step of the store, during which a
    /// Redis does nothing else. Larger ones merge more: a backlog is worked off with fewer writes.
    pub flush_cells: usize,
    /// Cells that may wait for the store in this process; beyond them reading pauses. About 150 bytes each.
    pub max_pending_cells: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            workers: 0,
            flush_interval: Duration::from_secs(2),
            lateness: Duration::from_secs(5),
            max_ahead: Duration::from_secs(60),
            dedupe_horizon: 200_000,
            max_dedupe_ids: 12_800_000,
            on_gap: OnGap::Stop,
            flush_cells: 60_000,
            max_pending_cells: 250_000,
        }
    }
}

impl Config {
    /// The allowances of event time, as counting takes them.
    pub fn timing(&self) -> Timing {
        Timing { lateness_ms: millis(self.lateness), max_ahead_ms: millis(self.max_ahead) }
    }

    /// How many partitions of this process may keep their event ids.
    pub(super) fn partitions_at_most(&self) -> usize {
        let partitions = self.max_dedupe_ids.checked_div(self.dedupe_horizon).unwrap_or(u64::MAX);
        usize::try_from(partitions).unwrap_or(usize::MAX)
    }

    /// What a partition waits for that is one too many.
    pub(super) fn no_room(&self) -> String {
        format!(
            "this process already keeps the event ids of {} partitions, as many as pipeline.max_dedupe_ids allows: run \
             another `streamgauge process`, or raise it",
            self.partitions_at_most()
        )
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// The key that is wrong, and what it may be.
    pub fn validate(&self) -> Result<(), String> {
        let day = Duration::from_secs(86_400);
        if self.flush_interval < Duration::from_millis(50) || self.flush_interval > Duration::from_secs(60) {
            return Err("pipeline.flush_interval must be from \"50ms\" to \"1m\"".into());
        }
        if self.lateness > day || self.max_ahead > day {
            return Err("pipeline.lateness and pipeline.max_ahead must be at most \"1d\"".into());
        }
        if self.workers > 256 {
            return Err("pipeline.workers must be at most 256; 0 lets streamgauge choose".into());
        }
        if self.dedupe_horizon > Dedupe::LARGEST {
            return Err(format!("pipeline.dedupe_horizon must be at most {}", Dedupe::LARGEST));
        }
        if self.max_dedupe_ids < self.dedupe_horizon {
            return Err(
                "pipeline.max_dedupe_ids must be at least pipeline.dedupe_horizon: that is one partition".into()
            );
        }
        if !(100..=100_000).contains(&self.flush_cells) {
            return Err("pipeline.flush_cells must be from 100 to 100000".into());
        }
        if self.max_pending_cells < 2 * self.flush_cells {
            return Err("pipeline.max_pending_cells must be at least twice pipeline.flush_cells".into());
        }
        Ok(())
    }
}
