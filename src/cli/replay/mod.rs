//! `replay --to-topic`: copies what a topic holds to another one.

mod copy;
mod plan;

use super::kafka::Probe;
use super::pace::Pace;
use super::text::count;
use super::{ConfigFile, remark, say, time_ms};
use crate::log::{self, KafkaConfig, KafkaCopies};
use crate::telemetry::Metrics;
use anyhow::{Context, bail};
use clap::Args;
use copy::{Copied, Job, Lane};
use plan::{From, Range, Source};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The arguments of `replay`.
#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    file: ConfigFile,
    /// Copy to this topic; it is created when it is missing and topics may be.
    #[arg(long, value_name = "TOPIC")]
    to_topic: Option<String>,
    /// The topic to copy; without it that of the configuration.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Begin at this offset, of every partition or of one: 3:1500. May be given several times; then only the partitions
    /// that are named are copied.
    #[arg(long, value_name = "[PARTITION:]OFFSET", conflicts_with = "from")]
    from_offset: Vec<From>,
    /// Begin with the first record of this time or later: unix seconds, RFC 3339, or like "-15m".
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time_ms)]
    from: Option<i64>,
    /// End before the first record of this time or later.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time_ms)]
    to: Option<i64>,
    /// Only this partition; may be given several times.
    #[arg(long, value_name = "NUMBER")]
    partition: Vec<i32>,
    /// Records per second at most; without it as fast as it goes.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Only say what would be copied.
    #[arg(long)]
    dry_run: bool,
}

impl Replay {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Some(to) = self.to_topic.clone() else {
            bail!(
                "say --to-topic TOPIC: so far replay copies a topic to another one. Counting a topic again into the \
                 store is not there yet"
            );
        };
        let config = self.file.load()?;
        let kafka = config.log.kafka.clone();
        let metrics = Arc::new(Metrics::new().context("cannot build the metrics of the client")?);
        let source = match (config.log.kind, &self.topic) {
            (log::Kind::Kafka, topic) => {
                let topic = topic.clone().unwrap_or_else(|| kafka.topic.clone());
                Source::Kafka(KafkaConfig { topic, ..kafka.clone() }, metrics.clone())
            }
            (log::Kind::Embedded, Some(topic)) if *topic != kafka.topic => {
                bail!("the embedded file holds one topic, `{}`", kafka.topic)
            }
            (log::Kind::Embedded, _) => Source::Embedded(config.embedded.path.clone(), kafka.topic.clone()),
        };
        if matches!(&source, Source::Kafka(from, _) if from.topic == to) {
            bail!("{to} is the topic to copy: choose another --to-topic");
        }
        let (asked, choice) = (source.clone(), self.choice());
        let plan = tokio::task::spawn_blocking(move || asked.plan(&choice)).await.context("a thread failed")??;
        for note in plan.ranges.iter().filter_map(|range| range.note(source.topic())) {
            remark(&note);
        }
        if self.dry_run {
            return Ok(would(&plan.ranges, &source, &to));
        }
        let lanes = plan.partitions.unwrap_or(kafka.partitions);
        let targets = KafkaCopies::one_by_one(&kafka, metrics.clone())?.prepare(&to, lanes).await?;
        let copies = KafkaCopies::in_bulk(&kafka, metrics, largest_batch(&kafka, &to).await?)?;
        let lane = Lane { same: plan.partitions == Some(targets), targets };
        let (pace, copies) = (Arc::new(Mutex::new(Pace::new(self.rate))), Arc::new(copies));
        let job = Job { source, to, lane, pace, copies };
        Ok(report(&job.run(plan.ranges).await?, &job))
    }

    fn choice(&self) -> plan::Choice {
        plan::Choice {
            offsets: self.from_offset.clone(),
            from_ms: self.from,
            to_ms: self.to,
            partitions: self.partition.clone(),
        }
    }
}

/// How large a batch a topic takes. Who may not ask finds out.
async fn largest_batch(kafka: &KafkaConfig, topic: &str) -> anyhow::Result<u64> {
    let (entries, default) = (Probe::new(kafka)?.configured(topic).await.unwrap_or_default(), 1_000_000);
    let entry = entries.into_iter().find(|entry| entry.name == "max.message.bytes");
    Ok(entry.and_then(|entry| entry.value?.parse().ok()).unwrap_or(default))
}

fn would(ranges: &[Range], source: &Source, to: &str) -> ExitCode {
    for Range { partition, from, to, .. } in ranges {
        say(&format!(
            "partition {partition}: offsets {from} to {to}, {}",
            count((to - from).max(0).unsigned_abs(), "offset")
        ));
    }
    let all = ranges.iter().map(|range| (range.to - range.from).max(0).unsigned_abs()).sum();
    say(&format!("{} of {} would be copied to {to}", count(all, "offset"), source.topic()));
    ExitCode::SUCCESS
}

/// Says what was copied, and how to go on where it was not.
fn report(copied: &[Copied], job: &Job) -> ExitCode {
    for Copied { range, records, next, .. } in copied {
        say(&format!("partition {}: offsets {} to {next}, {}", range.partition, range.from, count(*records, "record")));
    }
    let all = copied.iter().map(|copied| copied.records).sum();
    say(&format!("{} of {} copied to {}", count(all, "record"), job.source.topic(), job.to));
    let failed = copied.iter().filter_map(|copied| Some((copied, copied.failed.as_ref()?)));
    let mut rest = Vec::new();
    for (Copied { range, next, .. }, error) in failed {
        remark(&format!("error: partition {} from offset {next} on is not copied: {error:#}", range.partition));
        rest.push(format!("--from-offset {}:{next}", range.partition));
    }
    if rest.is_empty() {
        return ExitCode::SUCCESS;
    }
    remark(&format!("go on with {}", rest.join(" ")));
    ExitCode::FAILURE
}
