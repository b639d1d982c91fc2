//! Reading beside the consumer group: a range of a partition, or single records.

use super::context::{Complaints, settings};
use super::topics::ANSWER;
use crate::log::{Headers, KafkaConfig, KeptRecord, LogError, LogRecord};
use crate::telemetry::Metrics;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait for the next record before giving up.
const SILENCE: Duration = Duration::from_secs(30);

struct Context(Complaints);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(Code::PartitionEOF) {
            self.0.error(&error, reason);
        }
    }
}

impl ConsumerContext for Context {}

/// Hands the records of [from, to) of a partition to `each`, in order, and returns once all of them were, or the
/// partition has ended. Joins no group and commits nothing. Blocks.
///
/// # Errors
/// When the log does not hold `from`, or is silent for half a minute.
pub fn scan(
    config: &KafkaConfig,
    metrics: Arc<Metrics>,
    partition: i32,
    (from, to): (i64, i64),
    each: &mut dyn FnMut(LogRecord<'_>),
) -> Result<(), LogError> {
    if from >= to {
        return Ok(());
    }
    let failed = |reason: String| LogError::Kafka { brokers: config.brokers.clone(), reason };
    let client = reader(config, metrics)?;
    let mut list = TopicPartitionList::new();
    let placed = list.add_partition_offset(&config.topic, partition, Offset::Offset(from));
    placed.and_then(|()| client.assign(&list)).map_err(|e| failed(e.to_string()))?;
    let mut heard = Instant::now();
    while heard.elapsed() < SILENCE {
        let message = match client.poll(ANSWER) {
            None => continue,
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                    return Err(LogError::OutOfRange { partition, offset: from });
                }
                Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve) => continue,
                _ => return Err(failed(error.to_string())),
            },
            Some(Ok(message)) => message,
        };
        if message.offset() < to {
            each(record(&message));
        }
        // After `each`, which may be slow on purpose.
        heard = Instant::now();
        if message.offset() >= to - 1 {
            return Ok(());
        }
    }
    Err(failed(format!("partition {partition}: no record and no end for {SILENCE:?}")))
}

/// The first records from these places on; see [`crate::log::EventLog::first_records`]. Blocks.
pub(super) fn first_records(
    config: &KafkaConfig,
    metrics: Arc<Metrics>,
    places: &[(i32, i64)],
) -> Result<Vec<Option<KeptRecord>>, LogError> {
    let wanted: BTreeMap<i32, i64> = places.iter().copied().collect();
    let mut found: BTreeMap<i32, Option<KeptRecord>> = BTreeMap::new();
    let failed = |reason: String| LogError::Kafka { brokers: config.brokers.clone(), reason };
    let client = reader(config, metrics)?;
    let mut list = TopicPartitionList::new();
    for (partition, offset) in &wanted {
        let placed = list.add_partition_offset(&config.topic, *partition, Offset::Offset(*offset));
        placed.map_err(|e| failed(e.to_string()))?;
    }
    client.assign(&list).map_err(|e| failed(e.to_string()))?;
    let begun = Instant::now();
    while found.len() < wanted.len() {
        if begun.elapsed() >= SILENCE {
            return Err(failed(format!("no answer for single records for {SILENCE:?}")));
        }
        match client.poll(ANSWER) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => _ = found.entry(partition).or_insert(None),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve) => {}
                _ => return Err(failed(error.to_string())),
            },
            Some(Ok(message)) => {
                found.entry(message.partition()).or_insert_with(|| Some(kept(&record(&message))));
            }
        }
    }
    Ok(places.iter().map(|(partition, _)| found.get(partition).cloned().flatten()).collect())
}

fn record<'a>(message: &'a BorrowedMessage<'a>) -> LogRecord<'a> {
    LogRecord {
        partition: message.partition(),
        offset: message.offset(),
        time_ms: message.timestamp().to_millis(),
        key: message.key(),
        value: message.payload(),
        headers: Some(message),
    }
}

impl Headers for BorrowedMessage<'_> {
    fn each(&self, with: &mut dyn FnMut(&str, Option<&[u8]>)) {
        let Some(headers) = rdkafka::Message::headers(self) else { return };
        for index in 0..headers.count() {
            // The client panics over a name that is not UTF-8, which anybody can write. Such a header is left out.
            let read = catch_unwind(AssertUnwindSafe(|| headers.try_get(index)));
            if let Ok(Some(header)) = read {
                with(header.key, header.value);
            }
        }
    }
}

fn kept(record: &LogRecord<'_>) -> KeptRecord {
    let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
    KeptRecord { offset: record.offset, time_ms: record.time_ms, key, value }
}

/// The first offset after a time; see [`crate::log::EventLog::first_after`]. Blocks.
pub(super) fn first_after(
    config: &KafkaConfig,
    metrics: Arc<Metrics>,
    partition: i32,
    time_ms: i64,
) -> Result<Option<i64>, LogError> {
    let failed = |e: KafkaError| LogError::Kafka { brokers: config.brokers.clone(), reason: e.to_string() };
    let client = reader(config, metrics)?;
    let mut list = TopicPartitionList::new();
    let younger = Offset::Offset(time_ms.saturating_add(1));
    list.add_partition_offset(&config.topic, partition, younger).map_err(failed)?;
    let answer = client.offsets_for_times(list, ANSWER).map_err(failed)?;
    let Some(element) = answer.find_partition(&config.topic, partition) else { return Ok(None) };
    element.error().map_err(failed)?;
    Ok(if let Offset::Offset(offset) = element.offset() { Some(offset) } else { None })
}

fn reader(config: &KafkaConfig, metrics: Arc<Metrics>) -> Result<BaseConsumer<Context>, LogError> {
    let ours = [("fetch.queue.backoff.ms", "5"), ("queued.max.messages.kbytes", "16384")];
    let fixed = [
        // librdkafka assigns partitions only to who names a group; this one is never joined.
        ("group.id", "streamgauge-scan"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
    ];
    let context = Context(Complaints::new(metrics));
    settings(config, &ours, &fixed).create_with_context(context).map_err(|e| LogError::Client(e.to_string()))
}
