//! What is copied: of each partition from which offset to which.

use crate::cli::kafka::Probe;
use crate::cli::text::time;
use crate::log::{KafkaConfig, LogError, LogRecord, embedded_extent, scan_embedded, scan_kafka};
use crate::telemetry::Metrics;
use anyhow::{Context, bail};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Where to begin: an offset of all partitions or of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct From {
    partition: Option<i32>,
    offset: i64,
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        let (partition, offset) = match text.split_once(':') {
            None => (Ok(None), text),
            Some((partition, offset)) => (partition.parse().map(Some), offset),
        };
        match (partition, offset.parse()) {
            (Ok(partition), Ok(offset)) if partition.is_none_or(|p| p >= 0) && offset >= 0 => {
                Ok(From { partition, offset })
            }
            _ => Err("write an offset like 1500, or partition and offset like 3:1500".to_owned()),
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Choice {
    pub(super) offsets: Vec<From>,
    pub(super) from_ms: Option<i64>,
    pub(super) to_ms: Option<i64>,
    pub(super) partitions: Vec<i32>,
}

impl Choice {
    /// Whether a partition is meant.
    fn takes(&self, partition: i32) -> bool {
        let named = self.offsets.iter().any(|from| from.partition.is_some());
        let bare = self.offsets.iter().any(|from| from.partition.is_none());
        (self.partitions.is_empty() || self.partitions.contains(&partition))
            && (!named || bare || self.offsets.iter().any(|from| from.partition == Some(partition)))
    }

    /// The offset that was given for a partition: its own, else that of all.
    fn offset(&self, partition: i32) -> Option<i64> {
        let own = self.offsets.iter().find(|from| from.partition == Some(partition));
        own.or_else(|| self.offsets.iter().find(|from| from.partition.is_none())).map(|from| from.offset)
    }

    fn check(&self, partitions: i32, topic: &str) -> anyhow::Result<()> {
        let named = self.offsets.iter().filter_map(|from| from.partition).chain(self.partitions.iter().copied());
        for partition in named {
            if !(0..partitions).contains(&partition) {
                bail!("{topic} has no partition {partition}: it has {partitions}");
            }
        }
        Ok(())
    }
}

/// A part of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) partition: i32,
    pub(super) from: i64,
    pub(super) to: i64,
    /// What was asked for and is not in the log any more, from here to `from`.
    missing_from: Option<i64>,
}

impl Range {
    /// What is there of it.
    fn within(partition: i32, from: i64, (start, end): (i64, i64), to: Option<i64>) -> Range {
        let to = to.unwrap_or(end).clamp(start, end);
        let missing_from = (from < start).then_some(from);
        Range { partition, from: from.clamp(start, to.max(start)), to, missing_from }
    }

    /// What a reader has to know of it.
    pub(super) fn note(&self, topic: &str) -> Option<String> {
        let missing = self.missing_from?;
        let (partition, from) = (self.partition, self.from);
        let last = from - 1;
        Some(format!(
            "partition {partition} of {topic}: offsets {missing} to {last} are no longer there: it begins at {from}"
        ))
    }
}

/// What is copied.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) ranges: Vec<Range>,
    /// How many partitions the source has; `None` for the embedded log, whose one says nothing about others.
    pub(super) partitions: Option<i32>,
}

/// Where it is copied from. Its calls block.
#[derive(Clone)]
pub(super) enum Source {
    Kafka(KafkaConfig, Arc<Metrics>),
    Embedded(PathBuf, String),
}

impl Source {
    pub(super) fn topic(&self) -> &str {
        match self {
            Source::Kafka(config, _) => &config.topic,
            Source::Embedded(_, topic) => topic,
        }
    }

    /// Up to the ends that it has now.
    pub(super) fn plan(&self, choice: &Choice) -> anyhow::Result<Plan> {
        match self {
            Source::Kafka(config, _) => {
                let (probe, topic) = (Probe::new(config)?, &config.topic);
                let away = || format!("Kafka at {}", config.brokers);
                let Some(found) = probe.topic(topic).with_context(away)? else { bail!("there is no topic `{topic}`") };
                choice.check(found.partitions, topic)?;
                let chosen = (0..found.partitions).filter(|partition| choice.takes(*partition));
                let one = |partition| range(&probe, topic, partition, choice).with_context(away);
                Ok(Plan { ranges: chosen.map(one).collect::<anyhow::Result<_>>()?, partitions: Some(found.partitions) })
            }
            Source::Embedded(path, topic) => {
                choice.check(1, topic)?;
                let extent = embedded_extent(path, None)?;
                let at = |ms: i64| embedded_extent(path, Some(ms)).map(|(from, _)| from);
                let from = choice.from_ms.map(at).transpose()?.or(choice.offset(0)).unwrap_or(extent.0);
                let to = choice.to_ms.map(at).transpose()?;
                Ok(Plan { ranges: vec![Range::within(0, from, extent, to)], partitions: None })
            }
        }
    }

    /// Hands out what there is of a range, in order.
    pub(super) fn read(&self, range: Range, each: &mut dyn FnMut(LogRecord<'_>)) -> anyhow::Result<()> {
        let Range { partition, from, to, .. } = range;
        let read = match self {
            Source::Kafka(config, metrics) => scan_kafka(config, metrics.clone(), partition, (from, to), each),
            Source::Embedded(path, _) => scan_embedded(path, from, to, each),
        };
        match read {
            Err(LogError::OutOfRange { .. }) => bail!("the log deletes records faster than they are copied"),
            other => Ok(other?),
        }
    }
}

fn range(probe: &Probe, topic: &str, partition: i32, choice: &Choice) -> anyhow::Result<Range> {
    let extent = probe.extent(topic, partition)?;
    let at = |ms: i64| Ok::<_, anyhow::Error>(probe.first_at(topic, partition, ms)?.unwrap_or(extent.1));
    let from = choice.from_ms.map(at).transpose()?.or(choice.offset(partition)).unwrap_or(extent.0);
    if from > extent.1 {
        bail!("partition {partition} of {topic} ends at offset {}, before {from}", extent.1);
    }
    if let (Some(from), Some(to)) = (choice.from_ms, choice.to_ms)
        && from > to
    {
        bail!("{} is after {}: nothing lies in between", time(from), time(to));
    }
    Ok(Range::within(partition, from, extent, choice.to_ms.map(at).transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(offsets: &[&str], partitions: &[i32]) -> Choice {
        let offsets = offsets.iter().map(|text| text.parse().unwrap()).collect();
        Choice { offsets, partitions: partitions.to_vec(), ..Choice::default() }
    }

    #[test]
    fn offsets_are_of_all_partitions_or_of_one() {
        assert_eq!("7".parse(), Ok(From { partition: None, offset: 7 }));
        assert_eq!("3:7".parse(), Ok(From { partition: Some(3), offset: 7 }));
        for wrong in ["", "x", "3:", ":3", "-1", "3:-1", "-3:1", "1:2:3"] {
            assert!(wrong.parse::<From>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn partitions_that_are_named_are_the_only_ones() {
        let meant = |choice: &Choice| (0..4).filter(|p| choice.takes(*p)).collect::<Vec<_>>();
        assert_eq!(meant(&choice(&[], &[])), [0, 1, 2, 3]);
        assert_eq!(meant(&choice(&["5"], &[1, 3])), [1, 3]);
        assert_eq!(meant(&choice(&["1:5", "2:6"], &[])), [1, 2]);
        let both = choice(&["1:5", "9"], &[]);
        assert_eq!(meant(&both), [0, 1, 2, 3]);
        assert_eq!((both.offset(1), both.offset(2)), (Some(5), Some(9)));
        assert!(choice(&["4:5"], &[]).check(4, "t").is_err());
        assert!(choice(&[], &[4]).check(4, "t").is_err());
    }

    #[test]
    fn a_range_is_what_the_log_holds_of_it() {
        let range = Range::within(2, 0, (10, 20), None);
        assert_eq!((range.from, range.to), (10, 20));
        let note = "partition 2 of t: offsets 0 to 9 are no longer there: it begins at 10";
        assert_eq!(range.note("t").as_deref(), Some(note));
        let within = |from, to| {
            let range = Range::within(0, from, (10, 20), to);
            assert_eq!(range.note("t"), None);
            (range.from, range.to)
        };
        assert_eq!(within(12, Some(15)), (12, 15));
        assert_eq!(within(20, None), (20, 20));
        assert_eq!(within(15, Some(12)), (12, 12));
        assert_eq!(within(15, Some(5)), (10, 10));
    }
}
