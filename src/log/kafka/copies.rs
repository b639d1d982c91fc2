//! Sends records to any topic, each with its own acknowledgement: for commands that copy what is there.

use super::context::Complaints;
use super::{DEAD_LETTER_BYTES, producer, producing, topics};
use crate::log::{Header, KafkaConfig, LogError};
use crate::telemetry::Metrics;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often to look for room in a full queue.
const ROOM_LOOK: Duration = Duration::from_millis(5);

/// Where a record was stored: partition and offset.
type Place = (i32, i64);

/// Receives delivery reports, on the producer's own thread.
struct Context(Complaints);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<oneshot::Sender<Result<Place, LogError>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sender: Self::DeliveryOpaque) {
        let report = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(failure(error)),
        };
        // Nobody listens when the caller gave up; the record is stored all the same.
        let _ = sender.send(report);
    }
}

fn failure(error: &KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => LogError::TooLarge,
        Some(code) => LogError::NotAcknowledged(code.to_string()),
        None => LogError::NotAcknowledged(error.to_string()),
    }
}

/// A record to be, exactly as it is to stand in its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordCopy {
    /// The partition; without one the key decides, and without a key chance.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; absent for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<Header>,
}

/// A copy that is on its way.
#[derive(Debug)]
pub struct OnItsWay(oneshot::Receiver<Result<Place, LogError>>);

impl OnItsWay {
    /// Waits until all in-sync replicas have it, and says where.
    ///
    /// # Errors
    /// When that is not certain; it may be stored all the same.
    pub async fn stored(self) -> Result<(i32, i64), LogError> {
        self.0.await.unwrap_or_else(|_| Err(LogError::Closed))
    }
}

/// Sends copies to topics of a cluster.
pub struct KafkaCopies {
    config: KafkaConfig,
    client: ThreadedProducer<Context>,
}

impl KafkaCopies {
    /// Sets the client up, for who waits for each record before the next one. It connects by itself.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn one_by_one(config: &KafkaConfig, metrics: Arc<Metrics>) -> Result<KafkaCopies, LogError> {
        KafkaCopies::connect(config, metrics, &[("linger.ms", "0")])
    }

    /// The same for many records at once, to a topic that takes batches of so many bytes: brokers refuse a batch as a
    /// whole, so a record that is too large has to be alone in its own. The first record that fails ends it, and nothing
    /// that came behind it for its partition is stored: whoever goes on from there keeps the order.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn in_bulk(config: &KafkaConfig, metrics: Arc<Metrics>, largest: u64) -> Result<KafkaCopies, LogError> {
        // Room for what stands around the records.
        let batch = (largest / 10 * 9).clamp(1, 1_000_000).to_string();
        let ours = [("linger.ms", "5"), ("enable.gapless.guarantee", "true"), ("batch.size", batch.as_str())];
        KafkaCopies::connect(config, metrics, &ours)
    }

    fn connect(config: &KafkaConfig, metrics: Arc<Metrics>, more: &[(&str, &str)]) -> Result<KafkaCopies, LogError> {
        // The broker decides what is too large.
        let mut ours = vec![("message.max.bytes", DEAD_LETTER_BYTES), ("message.timeout.ms", "30000")];
        ours.extend(more);
        let context = Context(Complaints::new(metrics));
        let client = producing(config, &ours).create_with_context(context);
        Ok(KafkaCopies { config: config.clone(), client: client.map_err(|e| LogError::Client(e.to_string()))? })
    }

    /// Hands a record over, waiting for room in the client's queue. Records of a partition keep the order of these
    /// calls.
    ///
    /// # Errors
    /// When the client refuses it.
    pub async fn send(&self, topic: &str, copy: &RecordCopy) -> Result<OnItsWay, LogError> {
        let (sender, receiver) = oneshot::channel();
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, Box::new(sender));
        record.partition = copy.partition;
        record.key = copy.key.as_deref();
        record.payload = copy.value.as_deref();
        record.headers = Some(producer::headers(&copy.headers));
        while let Err((error, back)) = self.client.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                let fatal = self.client.client().fatal_error();
                return Err(fatal.map_or_else(|| failure(&error), |(_, reason)| LogError::NotAcknowledged(reason)));
            }
            record = back;
            tokio::time::sleep(ROOM_LOOK).await;
        }
        Ok(OnItsWay(receiver))
    }

    /// How many partitions a topic has, which is created with that many when it is missing and may be.
    ///
    /// # Errors
    /// When Kafka is away, or the topic is missing and cannot be created.
    pub async fn prepare(&self, topic: &str, partitions: i32) -> Result<i32, LogError> {
        let config = KafkaConfig { partitions, ..self.config.clone() };
        topics::ensure(&config, topic, false, || std::future::ready(self.partitions(topic))).await
    }

    /// How many partitions a topic has; `None` when there is no such topic.
    ///
    /// # Errors
    /// When Kafka is away.
    pub fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError> {
        tokio::task::block_in_place(|| topics::partitions(self.client.client(), &self.config.brokers, topic))
    }
}
