//! The dead-letter topic from the other side: its letters are read, marked as redriven, deleted.

use super::context::settings;
use super::scan::scan;
use super::topics::ANSWER;
use crate::log::{KafkaConfig, Kept, LogError};
use crate::telemetry::Metrics;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;

/// Hands letters and marks of [from, to) of a partition to `each`, in order. The topic is that of the configuration,
/// which has to be a dead-letter topic. Blocks.
///
/// # Errors
/// As [`scan`].
pub fn letters(
    config: &KafkaConfig,
    metrics: Arc<Metrics>,
    partition: i32,
    range: (i64, i64),
    each: &mut dyn FnMut(Kept),
) -> Result<(), LogError> {
    scan(config, metrics, partition, range, &mut |record| each(Kept::of(record)))
}

/// Deletes the records of the configured topic below these offsets (of a partition each), for good.
///
/// # Errors
/// When Kafka is away or refuses; of some partitions they may be deleted then.
pub async fn delete_below(config: &KafkaConfig, below: &[(i32, i64)]) -> Result<(), LogError> {
    let failed = |reason: String| LogError::Kafka { brokers: config.brokers.clone(), reason };
    let mut list = TopicPartitionList::new();
    for (partition, offset) in below {
        let placed = list.add_partition_offset(&config.topic, *partition, Offset::Offset(*offset));
        placed.map_err(|e| failed(e.to_string()))?;
    }
    let admin: AdminClient<DefaultClientContext> =
        settings(config, &[], &[]).create().map_err(|e| LogError::Client(e.to_string()))?;
    let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
    let answer = admin.delete_records(&list, &options).await;
    // The client joins its thread when it goes: nothing for an async task.
    tokio::task::spawn_blocking(move || drop(admin));
    let answer = answer.map_err(|e| failed(e.to_string()))?;
    for element in answer.elements() {
        element.error().map_err(|error| {
            let hint = match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::PolicyViolation) => "; its cleanup.policy has to contain `delete`",
                _ => "",
            };
            failed(format!("partition {} of {}: {error}{hint}", element.partition(), config.topic))
        })?;
    }
    Ok(())
}
