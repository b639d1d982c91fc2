//! Where dead letters are read: a dead-letter topic, or the table of the embedded file.

use super::{Filters, Place, Wanted, is_embedded};
use crate::cli::kafka::Probe;
use crate::config::Config;
use crate::log::{KafkaConfig, Kept, KeptLetter, LetterId, LogError, Mark, Marks, embedded_letters, kafka_letters};
use crate::telemetry::Metrics;
use ahash::RandomState;
use anyhow::{Context, bail};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// A letter, and whether it was redriven before.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) letter: KeptLetter,
    pub(super) redriven: Option<Mark>,
}

/// Dead letters, as they were when this was opened. Its calls block.
pub(super) enum Letters {
    Kafka(DeadTopic),
    Embedded { path: PathBuf, topic: String, group: String },
}

/// A dead-letter topic: partition by partition where it begins and ends.
pub(super) struct DeadTopic {
    /// Of which the topic is the dead-letter topic.
    pub(super) config: KafkaConfig,
    pub(super) metrics: Arc<Metrics>,
    pub(super) extents: Vec<(i32, (i64, i64))>,
}

impl Letters {
    /// Finds them. What the topic gets from now on is left for the next time.
    pub(super) async fn open(config: &Config, place: &Place) -> anyhow::Result<Letters> {
        let kafka = &config.log.kafka;
        if is_embedded(config) {
            if place.dead_letter_topic.is_some() || place.topic.as_ref().is_some_and(|topic| *topic != kafka.topic) {
                bail!("the embedded file holds one topic, `{}`, and its dead letters", kafka.topic);
            }
            let (topic, group) = (kafka.topic.clone(), kafka.group.clone());
            return Ok(Letters::Embedded { path: config.embedded.path.clone(), topic, group });
        }
        let topic = dead_letter_topic(kafka, place);
        let metrics = Arc::new(Metrics::new().context("cannot build the metrics of the client")?);
        let config = KafkaConfig { topic, ..kafka.clone() };
        let found = tokio::task::spawn_blocking(move || DeadTopic::look(config, metrics)).await;
        found.context("a thread failed")?.map(Letters::Kafka)
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> String {
        match self {
            Letters::Kafka(topic) => topic.config.topic.clone(),
            Letters::Embedded { path, .. } => path.display().to_string(),
        }
    }

    /// Hands out the letters that are wanted, by partition and offset. Of one that was stored several times the first;
    /// returns how many others there were.
    pub(super) fn read(&self, wanted: &Wanted, each: &mut dyn FnMut(Found)) -> anyhow::Result<u64> {
        match self {
            Letters::Kafka(topic) => topic.read(wanted, each),
            Letters::Embedded { path, topic, group } => {
                embedded_letters(path, (topic, group), &mut |letter| {
                    let is_wanted = match wanted {
                        Wanted::Ids(ids) => ids.iter().any(|id| is_meant(id, &letter)),
                        Wanted::Filtered(filters) => filters.take(&letter),
                    };
                    if is_wanted {
                        each(Found { letter, redriven: None });
                    }
                })?;
                Ok(0)
            }
        }
    }
}

/// Whether an id that somebody wrote is this letter's. The group may be left out.
pub(super) fn is_meant(id: &LetterId, letter: &KeptLetter) -> bool {
    let group = || letter.origin.as_ref().and_then(|origin| origin.group.as_ref());
    (id.partition, id.offset) == (letter.id.partition, letter.id.offset)
        && id.group.as_ref().is_none_or(|named| group() == Some(named))
}

fn dead_letter_topic(kafka: &KafkaConfig, place: &Place) -> String {
    match (&place.dead_letter_topic, &place.topic) {
        (Some(named), _) => named.clone(),
        (None, Some(topic)) if *topic != kafka.topic => format!("{topic}.dlq"),
        _ => kafka.dead_letter_topic(),
    }
}

impl DeadTopic {
    fn look(config: KafkaConfig, metrics: Arc<Metrics>) -> anyhow::Result<DeadTopic> {
        let probe = Probe::new(&config)?;
        let away = || format!("Kafka at {}", config.brokers);
        let Some(topic) = probe.topic(&config.topic).with_context(away)? else {
            bail!("there is no topic `{}`: nothing died, or its dead letters are elsewhere", config.topic);
        };
        let one = |partition| Ok((partition, probe.extent(&config.topic, partition).with_context(away)?));
        let extents = (0..topic.partitions).map(one).collect::<anyhow::Result<_>>()?;
        Ok(DeadTopic { config, metrics, extents })
    }

    fn read(&self, wanted: &Wanted, each: &mut dyn FnMut(Found)) -> anyhow::Result<u64> {
        match wanted {
            Wanted::Ids(ids) => self.read_ids(ids, each).map(|()| 0),
            Wanted::Filtered(filters) => self.read_all(filters, each),
        }
    }

    fn read_all(&self, filters: &Filters, each: &mut dyn FnMut(Found)) -> anyhow::Result<u64> {
        let mut marks = Marks::default();
        for (partition, range) in &self.extents {
            self.marks(*partition, *range, &mut marks)?;
        }
        let (mut seen, mut copies) = (Seen::default(), 0);
        for (partition, range) in &self.extents {
            self.scan(*partition, *range, &mut |kept| {
                let Kept::Letter(letter) = kept else { return };
                if !filters.take(&letter) {
                    return;
                }
                if seen.before(&letter) {
                    copies += 1;
                    return;
                }
                let redriven = marks.of(&letter).cloned();
                each(Found { letter, redriven });
            })?;
        }
        Ok(copies)
    }

    /// By id, and no further than needed: a mark stands behind its letter, in the same partition.
    fn read_ids(&self, ids: &[LetterId], each: &mut dyn FnMut(Found)) -> anyhow::Result<()> {
        for (partition, (start, end)) in &self.extents {
            let here = || ids.iter().filter(|id| id.partition == *partition).map(|id| id.offset);
            let (Some(first), Some(last)) = (here().min(), here().max()) else { continue };
            let first = first.max(*start);
            let mut marks = Marks::default();
            self.marks(*partition, (first, *end), &mut marks)?;
            self.scan(*partition, (first, (*end).min(last.saturating_add(1))), &mut |kept| {
                if let Kept::Letter(letter) = kept
                    && ids.iter().any(|id| is_meant(id, &letter))
                {
                    let redriven = marks.of(&letter).cloned();
                    each(Found { letter, redriven });
                }
            })?;
        }
        Ok(())
    }

    fn marks(&self, partition: i32, range: (i64, i64), marks: &mut Marks) -> anyhow::Result<()> {
        self.scan(partition, range, &mut |kept| {
            if let Kept::Mark(mark) = kept {
                marks.add(mark);
            }
        })
    }

    fn scan(&self, partition: i32, range: (i64, i64), each: &mut dyn FnMut(Kept)) -> anyhow::Result<()> {
        match kafka_letters(&self.config, self.metrics.clone(), partition, range, each) {
            Err(LogError::OutOfRange { .. }) => {
                bail!("partition {partition} of {} lost records while it was read: try again", self.config.topic)
            }
            other => Ok(other?),
        }
    }
}

/// The records whose letters were handed out. A hash of 128 bits is enough to tell them apart, and small.
#[derive(Default)]
struct Seen {
    hashers: (RandomState, RandomState),
    origins: HashSet<(u64, u64)>,
}

impl Seen {
    /// Whether a copy of this letter came before; notes this one.
    fn before(&mut self, letter: &KeptLetter) -> bool {
        let Some(origin) = &letter.origin else { return false };
        !self.origins.insert((self.hashers.0.hash_one(origin), self.hashers.1.hash_one(origin)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ConfigFile;

    #[test]
    fn each_topic_has_its_dead_letter_topic() {
        let place = |topic: Option<&str>, dead: Option<&str>| Place {
            file: ConfigFile { config: None },
            topic: topic.map(str::to_owned),
            dead_letter_topic: dead.map(str::to_owned),
        };
        let mut kafka = KafkaConfig { dead_letter_topic: Some("dead".to_owned()), ..KafkaConfig::default() };
        let named = |kafka: &KafkaConfig, topic, dead| dead_letter_topic(kafka, &place(topic, dead));
        assert_eq!(named(&kafka, None, None), "dead");
        assert_eq!(named(&kafka, Some("user.events"), None), "dead");
        assert_eq!(named(&kafka, Some("orders"), None), "orders.dlq");
        assert_eq!(named(&kafka, Some("orders"), Some("x")), "x");
        kafka.dead_letter_topic = None;
        assert_eq!(named(&kafka, None, None), "user.events.dlq");
    }
}
