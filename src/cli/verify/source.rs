//! Where verify reads: the log, beside whatever consumes it, and the store, without changing it.

use crate::cli::kafka;
use crate::config::Config;
use crate::counter::{Counters, Ledger};
use crate::embedded::open_read_only;
use crate::log::{self, KafkaConfig, LogError, LogRecord, scan_embedded, scan_kafka};
use crate::store::{self, CounterStore, EmbeddedStore, RedisStore};
use crate::telemetry::Metrics;
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// How far a partition is counted, by the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) start: i64,
    pub(super) next: i64,
    pub(super) ledger: Ledger,
    /// Record time of the last counted record, in ms.
    pub(super) last_ms: Option<i64>,
}

/// The partitions that have counts.
pub(super) type Progresses = BTreeMap<i32, Progress>;

/// What the store says of the partitions of a topic.
pub(super) async fn progress(store: &dyn CounterStore, topic: &str, partitions: i32) -> anyhow::Result<Progresses> {
    let numbers: Vec<i32> = (0..partitions).collect();
    let stored = store.partitions(topic, &numbers).await?;
    let counted = numbers.into_iter().zip(stored).filter_map(|(partition, stored)| {
        let stored = stored?;
        let (start, next) = (stored.start_offset?, stored.next_offset?);
        let last_ms = stored.fingerprint.map(|print| print.time_ms);
        Some((partition, Progress { start, next, ledger: stored.ledger, last_ms }))
    });
    Ok(counted.collect())
}

/// The configured store, for reading.
pub(super) fn open_store(config: &Config) -> anyhow::Result<Box<dyn CounterStore>> {
    Ok(match config.store.kind {
        store::Kind::Embedded => Box::new(EmbeddedStore::reading(&config.embedded.path)?),
        store::Kind::Redis => {
            let counters = Arc::new(Counters::new(config.counters.clone())?);
            Box::new(RedisStore::new(&config.store.redis, counters)?)
        }
    })
}

/// The configured log, for reading. Its calls block.
#[derive(Clone)]
pub(super) enum Records {
    Kafka(KafkaConfig, Arc<Metrics>),
    Embedded(PathBuf),
}

impl Records {
    pub(super) fn of(config: &Config) -> anyhow::Result<Records> {
        Ok(match config.log.kind {
            log::Kind::Kafka => {
                let metrics = Metrics::new().context("cannot build the metrics of the client")?;
                Records::Kafka(config.log.kafka.clone(), Arc::new(metrics))
            }
            log::Kind::Embedded => Records::Embedded(config.embedded.path.clone()),
        })
    }

    pub(super) fn partitions(&self) -> anyhow::Result<i32> {
        match self {
            Records::Embedded(_) => Ok(1),
            Records::Kafka(config, _) => match kafka::Probe::new(config)?.topic(&config.topic)? {
                Some(topic) => Ok(topic.partitions),
                None => bail!("topic `{}` does not exist", config.topic),
            },
        }
    }

    /// The first offset that the log still holds.
    fn first(&self, partition: i32) -> anyhow::Result<i64> {
        match self {
            Records::Kafka(config, _) => kafka::Probe::new(config)?.first_offset(&config.topic, partition),
            Records::Embedded(path) => {
                let first = "SELECT coalesce(min(offset), (SELECT max(seq) + 1 FROM sqlite_sequence \
                             WHERE name = 'records'), 0) FROM records";
                Ok(open_read_only(path)?.query_row(first, [], |row| row.get(0))?)
            }
        }
    }

    /// Hands out what the log holds of [from, to), and answers the first offset that it does hold: `from`, unless
    /// the log has deleted records there, before this or meanwhile.
    pub(super) fn read(
        &self,
        partition: i32,
        (from, to): (i64, i64),
        each: &mut dyn FnMut(LogRecord<'_>),
    ) -> anyhow::Result<i64> {
        let begin = from.max(self.first(partition)?);
        let mut read = false;
        let mut noting = |record: LogRecord<'_>| {
            read = true;
            each(record);
        };
        let scanned = match self {
            Records::Kafka(config, metrics) => scan_kafka(config, metrics.clone(), partition, (begin, to), &mut noting),
            Records::Embedded(path) => scan_embedded(path, begin, to, &mut noting),
        };
        match scanned {
            Ok(()) => Ok(begin.min(to)),
            Err(LogError::OutOfRange { .. }) if !read => {
                bail!("the log deletes records of partition {partition} faster than they are read: try again")
            }
            Err(error) => Err(error).with_context(|| format!("partition {partition}")),
        }
    }
}
