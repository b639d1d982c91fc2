//! Reading a range of a partition beside the consumer group.

use super::context::{Complaints, settings};
use super::topics::ANSWER;
use crate::log::{KafkaConfig, LogError, LogRecord};
use crate::telemetry::Metrics;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
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
        heard = Instant::now();
        if message.offset() < to {
            each(super::consumer::record(&message));
        }
        if message.offset() >= to - 1 {
            return Ok(());
        }
    }
    Err(failed(format!("partition {partition}: no record and no end for {SILENCE:?}")))
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
