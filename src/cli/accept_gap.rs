//! `accept-gap`: lets partitions go on that are stopped because records are gone which were never counted.

use super::{ConfigFile, say};
use crate::config::Config;
use crate::counter::Counters;
use crate::embedded::EmbeddedFile;
use crate::query::Partitions;
use crate::store::{self, CounterStore, EmbeddedStore, PartitionState, RedisStore, StoredPartition};
use anyhow::{Context, bail};
use clap::Args;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait for a processor to go on. One looks every few seconds.
const WAIT: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);

/// The arguments of `accept-gap`.
#[derive(Debug, Args)]
pub(super) struct AcceptGap {
    #[command(flatten)]
    file: ConfigFile,
    /// Only this partition; may be given several times. Without it, every partition that is stopped by a gap.
    #[arg(long, value_name = "NUMBER")]
    partition: Vec<i32>,
    /// Do not wait until a processor goes on.
    #[arg(long)]
    no_wait: bool,
}

/// A partition that is stopped by a gap.
struct Stopped {
    partition: i32,
    next_offset: Option<i64>,
    missing: String,
}

impl AcceptGap {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.file.load()?;
        let (topic, store) = (&config.log.kafka.topic, open_store(&config).await?);
        let partitions = Partitions::read(&*store, topic).await.context("cannot read the store")?;
        let mut stopped = stopped(&partitions);
        for wanted in &self.partition {
            if !stopped.iter().any(|one| one.partition == *wanted) {
                bail!("partition {wanted} of {topic} is not stopped by a gap: {}", state(&partitions, *wanted));
            }
        }
        stopped.retain(|one| self.partition.is_empty() || self.partition.contains(&one.partition));
        if stopped.is_empty() {
            say(&format!("no partition of {topic} is stopped by a gap: nothing to accept"));
            return Ok(ExitCode::SUCCESS);
        }
        for Stopped { partition, next_offset, missing } in &stopped {
            store.accept_gap(topic, *partition, *next_offset).await.context("cannot write to the store")?;
            say(&format!("partition {partition}: offsets {missing} are given up"));
        }
        if !self.no_wait && config.store.kind == store::Kind::Redis {
            wait(&*store, topic, stopped).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Until processors went on, or it takes too long: then none runs, and the next one will.
async fn wait(store: &dyn CounterStore, topic: &str, mut stopped: Vec<Stopped>) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !stopped.is_empty() && begun.elapsed() < WAIT {
        tokio::time::sleep(LOOK).await;
        let ids: Vec<i32> = stopped.iter().map(|one| one.partition).collect();
        let now = store.partitions(topic, &ids).await.context("cannot read the store")?;
        let mut now = now.into_iter();
        stopped.retain(|one| match now.next().flatten() {
            // A gap that leads to where the partition stands moves no offset.
            Some(row) if row.condition.missing.is_none() && row.condition.state != PartitionState::Stopped => {
                let (next, lost) = (row.next_offset.unwrap_or(0), row.ledger.lost);
                say(&format!("partition {}: goes on, is at offset {next}; {lost} records lost so far", one.partition));
                false
            }
            _ => true,
        });
    }
    for one in stopped {
        say(&format!("partition {}: goes on as soon as a processor runs that has it", one.partition));
    }
    Ok(())
}

fn stopped(partitions: &Partitions) -> Vec<Stopped> {
    let one = |(partition, row): (usize, &Option<StoredPartition>)| {
        let row = row.as_ref()?;
        let missing = row.condition.missing.clone()?;
        Some(Stopped { partition: i32::try_from(partition).ok()?, next_offset: row.next_offset, missing })
    };
    partitions.0.iter().enumerate().filter_map(one).collect()
}

fn state(partitions: &Partitions, partition: i32) -> String {
    let row = usize::try_from(partition).ok().and_then(|index| partitions.0.get(index)?.as_ref());
    match row {
        None => "the store knows no such partition".to_owned(),
        Some(row) => {
            let reason = row.condition.reason.as_deref().map(|reason| format!(", {reason}")).unwrap_or_default();
            format!("it is {}{reason}", row.condition.state.name())
        }
    }
}

async fn open_store(config: &Config) -> anyhow::Result<Box<dyn CounterStore>> {
    let counters = Arc::new(Counters::new(config.counters.clone())?);
    Ok(match config.store.kind {
        store::Kind::Embedded => {
            let file = EmbeddedFile::open(&config.embedded, false)?;
            Box::new(EmbeddedStore::open(file, counters).await?)
        }
        store::Kind::Redis => Box::new(RedisStore::new(&config.store.redis, counters)?),
    })
}
