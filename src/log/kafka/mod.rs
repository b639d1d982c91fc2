//! The log as a Kafka topic, by librdkafka.

mod batch;
mod consumer;
mod context;
mod copies;
mod letters;
mod members;
mod producer;
mod scan;
mod topics;

pub use copies::{KafkaCopies, OnItsWay, RecordCopy};
pub use letters::{delete_below, letters};
pub use scan::scan;

use super::dead_letter::{self, Cut, KEEP, Origin};
use super::{Consumer, DeadLetter, EventLog, KafkaConfig, KeptRecord, LogError, NewRecord, Stored, Unstored};
use crate::telemetry::Metrics;
use async_trait::async_trait;
use consumer::KafkaConsumer;
use context::{Complaints, settings};
use futures_util::future::try_join_all;
use producer::{Outgoing, Producer};
use rdkafka::config::ClientConfig;
use rdkafka::producer::Producer as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Largest record that the client hands to the broker, who then decides. librdkafka's own limit is 1,000,000 bytes.
const DEAD_LETTER_BYTES: &str = "100000000";

/// How long an append in order waits for a Kafka that is away before it begins anew.
const PATIENT_MS: &str = "300000";

/// Appends to a topic, makes members of the consumer group. Works, and says so, while Kafka is away.
pub struct KafkaLog {
    config: KafkaConfig,
    metrics: Arc<Metrics>,
    events: Arc<Producer>,
    dead: Arc<Producer>,
    /// Members so far: their static names end in it.
    members: AtomicUsize,
    workers: AtomicUsize,
}

impl KafkaLog {
    /// Sets the clients up. They connect by themselves, now or once Kafka is there.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn connect(config: &KafkaConfig, metrics: Arc<Metrics>) -> Result<KafkaLog, LogError> {
        KafkaLog::connect_with(config, metrics, &[])
    }

    /// The same for one caller who appends a batch, waits, and appends the next, and what fails again: the first record
    /// of a partition that fails ends the append, and nothing that came behind it for that partition is stored. So
    /// whoever repeats what [`EventLog::try_append`] names keeps the order. It is patient with a Kafka that
    /// is away, and leaves it to the broker what is too large.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn connect_in_order(config: &KafkaConfig, metrics: Arc<Metrics>) -> Result<KafkaLog, LogError> {
        let ours = [
            ("enable.gapless.guarantee", "true"),
            ("message.timeout.ms", PATIENT_MS),
            ("message.max.bytes", DEAD_LETTER_BYTES),
        ];
        KafkaLog::connect_with(config, metrics, &ours)
    }

    fn connect_with(config: &KafkaConfig, metrics: Arc<Metrics>, ours: &[(&str, &str)]) -> Result<KafkaLog, LogError> {
        config.validate()?;
        let complaints = Arc::new(Complaints::new(metrics.clone()));
        let events = Producer::new(config.topic.clone(), producing(config, ours), complaints.clone())?;
        let dead = producing(config, &[("message.max.bytes", DEAD_LETTER_BYTES)]);
        let dead = Producer::new(config.dead_letter_topic(), dead, complaints)?;
        Ok(KafkaLog {
            config: config.clone(),
            metrics,
            events: Arc::new(events),
            dead: Arc::new(dead),
            members: AtomicUsize::new(0),
            workers: AtomicUsize::new(std::thread::available_parallelism().map_or(1, usize::from)),
        })
    }

    /// Among how many consumers the budget of fetched bytes is shared; before the consumers are made. One for each
    /// core unless this says otherwise.
    pub fn share_among(&self, workers: usize) {
        self.workers.store(workers.max(1), Ordering::Relaxed);
    }

    /// Asks for the number of partitions of the topic, or of another one; `None` when it is missing.
    async fn look(&self, topic: &str) -> Result<Option<i32>, LogError> {
        let (client, brokers, topic) = (self.events.client(), self.config.brokers.clone(), topic.to_owned());
        let times_lost = self.events.reach().times_lost();
        let asked = tokio::task::spawn_blocking(move || topics::partitions(client.client(), &brokers, &topic));
        let answer = asked.await.map_err(|e| LogError::Client(e.to_string()))??;
        self.events.reach().found(times_lost);
        Ok(answer)
    }

    async fn make(&self, topic: &str, dead_letters: bool) -> Result<(), LogError> {
        topics::ensure(&self.config, topic, dead_letters, || self.look(topic)).await.map(drop)
    }

    /// Stores one dead letter, cutting off more with every refusal. Letters of one batch are refused together, so one
    /// that is small is sent again as it is.
    async fn bury(&self, letter: &DeadLetter) -> Result<(), LogError> {
        let origin = Origin { topic: &self.config.topic, group: &self.config.group };
        let mut refused = Ok(());
        for keep in KEEP {
            let cut = Cut::to(letter, *keep);
            let headers = producer::headers(&dead_letter::headers(letter, origin, &cut));
            let record = Outgoing { key: cut.key, value: cut.value, headers };
            refused = self.dead.send(std::iter::once(record)).await.map_err(|unstored| unstored.error);
            if !matches!(refused, Err(LogError::TooLarge)) {
                break;
            }
        }
        refused
    }
}

fn producing(config: &KafkaConfig, ours: &[(&str, &str)]) -> ClientConfig {
    let mut all = vec![
        // Few clients are answered soon; with many, batches form while others are under way.
        ("linger.ms", "1"),
        ("compression.type", "lz4"),
        ("message.timeout.ms", "15000"),
        // Ingest says 503 long before: this bounds memory, not throughput.
        ("queue.buffering.max.kbytes", "65536"),
        ("queue.buffering.max.messages", "200000"),
    ];
    all.extend(ours);
    let fixed = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        // A broker works on one request of a connection at a time. A second one on its way keeps it busy; more of them
        // would only be smaller.
        ("max.in.flight.requests.per.connection", "2"),
        ("partitioner", "murmur2_random"),
        // Else a question about a missing topic would make it, with the broker's defaults.
        ("allow.auto.create.topics", "false"),
    ];
    settings(config, &all, &fixed)
}

#[async_trait]
impl EventLog for KafkaLog {
    fn topic(&self) -> &str {
        &self.config.topic
    }

    fn group(&self) -> &str {
        &self.config.group
    }

    async fn prepare(&self) -> Result<(), LogError> {
        self.make(&self.config.topic, false).await?;
        self.make(&self.config.dead_letter_topic(), true).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        self.try_append(&records).await.map_err(|unstored| unstored.error)
    }

    async fn try_append(&self, records: &[NewRecord]) -> Result<(), Unstored> {
        let begun = Instant::now();
        let outgoing = records.iter().map(|record| Outgoing {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: producer::headers(&record.headers),
        });
        self.events.send(outgoing).await?;
        self.metrics.log_append_seconds.observe(begun.elapsed().as_secs_f64());
        Ok(())
    }

    fn is_away(&self) -> bool {
        self.events.reach().is_lost()
    }

    fn stored(&self) -> Stored {
        Stored::Kafka
    }

    async fn dead_letters(&self, letters: &[DeadLetter]) -> Result<(), LogError> {
        try_join_all(letters.iter().map(|letter| self.bury(letter))).await.map(drop)
    }

    async fn ready(&self) -> Result<(), LogError> {
        match self.look(&self.config.topic).await? {
            Some(_) => Ok(()),
            None => Err(LogError::NoTopic(self.config.topic.clone())),
        }
    }

    async fn partitions(&self) -> Result<i32, LogError> {
        self.look(&self.config.topic).await?.ok_or_else(|| LogError::NoTopic(self.config.topic.clone()))
    }

    async fn first_records(&self, places: &[(i32, i64)]) -> Result<Vec<Option<KeptRecord>>, LogError> {
        let (config, metrics, places) = (self.config.clone(), self.metrics.clone(), places.to_vec());
        let read = tokio::task::spawn_blocking(move || scan::first_records(&config, metrics, &places));
        read.await.map_err(|e| LogError::Client(e.to_string()))?
    }

    async fn first_after(&self, partition: i32, time_ms: i64) -> Result<Option<i64>, LogError> {
        let (config, metrics) = (self.config.clone(), self.metrics.clone());
        let asked = tokio::task::spawn_blocking(move || scan::first_after(&config, metrics, partition, time_ms));
        asked.await.map_err(|e| LogError::Client(e.to_string()))?
    }

    fn consumer(&self) -> Result<Arc<dyn Consumer>, LogError> {
        let number = self.members.fetch_add(1, Ordering::Relaxed);
        let share = self.config.fetch_bytes.as_u64() / self.workers.load(Ordering::Relaxed) as u64;
        Ok(Arc::new(KafkaConsumer::join(&self.config, number, share, self.metrics.clone())?))
    }

    async fn drain(&self, timeout: Duration) {
        let (events, dead) = (self.events.clone(), self.dead.clone());
        let begun = Instant::now();
        let flushed = tokio::task::spawn_blocking(move || {
            events.flush(timeout);
            dead.flush(timeout.saturating_sub(begun.elapsed()));
        });
        // It fails only when the runtime ends before it.
        drop(flushed.await);
    }
}
