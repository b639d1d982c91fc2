//! Short questions to Kafka for the commands that look at it from outside. Every one has a time-out, and none
//! changes anything.

use crate::log::KafkaConfig;
use anyhow::{Context, anyhow};
use rdkafka::admin::{AdminClient, AdminOptions, ConfigEntry, ResourceSpecifier};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const ANSWER: Duration = Duration::from_secs(5);
/// How often, and how long each time, to ask the client what is the matter.
const COMPLAINTS: usize = 10;
const COMPLAINT: Duration = Duration::from_millis(20);

/// Keeps the client quiet but for the last thing that it complained of, which tells more than "timed out".
#[derive(Clone, Default)]
pub(super) struct Quiet(Arc<Mutex<Option<String>>>);

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        // "All brokers down" follows the reason why they are.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Quiet {}

/// A topic as the cluster shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) partitions: i32,
    /// Copies of each record: the fewest of any partition.
    pub(super) replicas: usize,
    /// Partitions that nobody leads at the moment.
    pub(super) leaderless: usize,
}

/// A client that only asks.
pub(super) struct Probe {
    client: BaseConsumer<Quiet>,
    quiet: Quiet,
    settings: ClientConfig,
}

impl Probe {
    pub(super) fn new(config: &KafkaConfig) -> anyhow::Result<Probe> {
        let mut settings = ClientConfig::new();
        for (name, value) in &config.properties {
            settings.set(name, value);
        }
        settings.set("bootstrap.servers", &config.brokers).set("client.id", "streamgauge-check");
        let quiet = Quiet::default();
        let client = BaseConsumer::from_config_and_context(&settings, quiet.clone())
            .context("the Kafka client cannot be built: see [log.kafka.properties]")?;
        Ok(Probe { client, quiet, settings })
    }

    /// How many brokers there are. Names a topic so that not all of them are listed.
    pub(super) fn brokers(&self, topic: &str) -> anyhow::Result<usize> {
        let metadata = self.client.fetch_metadata(Some(topic), ANSWER).map_err(|e| self.told(&e))?;
        Ok(metadata.brokers().len())
    }

    /// `None`: there is no such topic.
    pub(super) fn topic(&self, name: &str) -> anyhow::Result<Option<Topic>> {
        let metadata = self.client.fetch_metadata(Some(name), ANSWER).map_err(|e| self.told(&e))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
        let partitions = topic.partitions();
        match topic.error().map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
            Some(code) if partitions.is_empty() => return Err(anyhow!("{code}")),
            _ if partitions.is_empty() => return Ok(None),
            _ => {}
        }
        Ok(Some(Topic {
            partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or_default(),
            leaderless: partitions.iter().filter(|partition| partition.leader() < 0).count(),
        }))
    }

    /// The first offset that a partition still holds.
    pub(super) fn first_offset(&self, topic: &str, partition: i32) -> anyhow::Result<i64> {
        Ok(self.extent(topic, partition)?.0)
    }

    /// The first offset that a partition still holds, and the one that its next record gets.
    pub(super) fn extent(&self, topic: &str, partition: i32) -> anyhow::Result<(i64, i64)> {
        self.client.fetch_watermarks(topic, partition, ANSWER).map_err(|e| self.told(&e))
    }

    /// The offset of the first record whose time, in ms, is this or later; `None` when none is.
    pub(super) fn first_at(&self, topic: &str, partition: i32, time_ms: i64) -> anyhow::Result<Option<i64>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(time_ms.max(0)))?;
        let answer = self.client.offsets_for_times(list, ANSWER).map_err(|e| self.told(&e))?;
        let Some(element) = answer.find_partition(topic, partition) else { return Ok(None) };
        element.error().map_err(|e| self.told(&e))?;
        Ok(if let Offset::Offset(offset) = element.offset() { Some(offset) } else { None })
    }

    /// How a topic is configured.
    pub(super) async fn configured(&self, topic: &str) -> anyhow::Result<Vec<ConfigEntry>> {
        let admin: AdminClient<Quiet> = AdminClient::from_config_and_context(&self.settings, Quiet::default())?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let answers = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await;
        // Its end joins a thread, which is nothing for an async task.
        tokio::task::spawn_blocking(move || drop(admin));
        let answer = answers.map_err(|e| self.told(&e))?.into_iter().next();
        let resource = answer.ok_or_else(|| anyhow!("no answer"))?.map_err(|code| anyhow!("{code}"))?;
        Ok(resource.entries)
    }

    fn told(&self, error: &KafkaError) -> anyhow::Error {
        // The client tells its complaints only to somebody who polls.
        for _ in 0..COMPLAINTS {
            let _ = self.client.poll(COMPLAINT);
            if let Some(reason) = self.quiet.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return anyhow!("{reason}");
            }
        }
        match error.rdkafka_error_code() {
            Some(code) => anyhow!("no answer ({code})"),
            None => anyhow!("{error}"),
        }
    }
}
