//! Whether the topics are there, and making them.

use super::context::settings;
use crate::log::{KafkaConfig, LogError};
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::RDKafkaErrorCode;
use std::time::{Duration, Instant};

/// Longest wait for an answer about topics.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// How long a topic that was just created may take until every broker knows it, and how often to look.
const SHOWN: Duration = Duration::from_secs(15);
const SHOWN_LOOK: Duration = Duration::from_millis(100);
/// A dead letter is a record that the topic took, and headers: its topic takes far more than the default 1 MiB.
const DEAD_LETTER_BYTES: &str = "16777216";

/// How many partitions a topic has; `None` when there is no such topic. Blocks.
pub(super) fn partitions<C: ClientContext>(
    client: &Client<C>,
    brokers: &str,
    topic: &str,
) -> Result<Option<i32>, LogError> {
    let failed = |reason: String| LogError::Kafka { brokers: brokers.to_owned(), reason };
    let metadata = client.fetch_metadata(Some(topic), ANSWER).map_err(|e| failed(e.to_string()))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        // While a leader is elected the partitions are known all the same.
        None | Some(RDKafkaErrorCode::LeaderNotAvailable) => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
        Some(code) => return Err(failed(format!("topic `{topic}`: {code}"))),
    }
    let count = i32::try_from(found.partitions().len()).unwrap_or(i32::MAX);
    Ok((count > 0).then_some(count))
}

/// Makes sure that a topic is there, creating it if configured so, and answers how many partitions it has. `look` asks
/// that; `None` when there is no such topic.
pub(super) async fn ensure<Fut>(
    config: &KafkaConfig,
    topic: &str,
    dead_letters: bool,
    look: impl Fn() -> Fut,
) -> Result<i32, LogError>
where
    Fut: Future<Output = Result<Option<i32>, LogError>>,
{
    if let Some(partitions) = look().await? {
        return Ok(partitions);
    }
    if !config.create_topics {
        return Err(LogError::NoTopic(topic.to_owned()));
    }
    create(config, topic, dead_letters).await?;
    let begun = Instant::now();
    while begun.elapsed() < SHOWN {
        if let Some(partitions) = look().await? {
            return Ok(partitions);
        }
        tokio::time::sleep(SHOWN_LOOK).await;
    }
    let reason = format!("it was created but is not there after {SHOWN:?}");
    Err(LogError::Create { topic: topic.to_owned(), reason })
}

/// Creates a topic whose record times are the broker's. That it is there already is fine.
async fn create(config: &KafkaConfig, topic: &str, dead_letters: bool) -> Result<(), LogError> {
    let failed = |reason: String| LogError::Create { topic: topic.to_owned(), reason };
    let admin: AdminClient<DefaultClientContext> =
        settings(config, &[], &[]).create().map_err(|e| LogError::Client(e.to_string()))?;
    let retention = config.retention.as_millis().to_string();
    let mut new = NewTopic::new(topic, config.partitions, TopicReplication::Fixed(config.replication))
        .set("message.timestamp.type", "LogAppendTime")
        .set("retention.ms", &retention);
    if dead_letters {
        new = new.set("max.message.bytes", DEAD_LETTER_BYTES);
    }
    let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
    let answers = admin.create_topics([&new], &options).await.map_err(|e| failed(e.to_string()))?;
    // The client joins its thread when it goes: nothing for an async task.
    tokio::task::spawn_blocking(move || drop(admin));
    match answers.into_iter().next() {
        Some(Ok(_)) => {
            tracing::info!(topic, partitions = config.partitions, replication = config.replication, "topic created");
            Ok(())
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => Err(failed(code.to_string())),
        None => Err(failed("no answer".to_owned())),
    }
}
