use super::LogError;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// `[log]`: where events are kept between ingest and the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which log.
    pub kind: Kind,
    /// The Kafka topic; not looked at by the embedded log, whose file is that of `[embedded]`.
    pub kafka: KafkaConfig,
}

/// Which log keeps the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A Kafka topic.
    #[default]
    Kafka,
    /// A file of this process.
    Embedded,
}

/// `[log.kafka]`: the topic, and how to reach it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// Where to find the cluster: `host:port`, several with commas.
    pub brokers: String,
    /// The topic of events.
    pub topic: String,
    /// The consumer group; its members share the partitions.
    pub group: String,
    /// Where records go that cannot be counted; absent: the topic's name and `.dlq`.
    pub dead_letter_topic: Option<String>,
    /// Whether missing topics are created, with the next three values.
    pub create_topics: bool,
    /// Partitions of a created topic: the most workers that can share it.
    pub partitions: i32,
    /// Copies of each record of a created topic.
    pub replication: i32,
    /// How long a created topic keeps its records: a store that went back in time is replayed from it.
    #[serde(with = "crate::units::duration")]
    pub retention: Duration,
    /// Static membership: a name that this process alone has in the group and keeps over a restart.
    pub instance_id: Option<String>,
    /// Bytes of records that all workers together may have fetched in advance.
    pub fetch_bytes: bytesize::ByteSize,
    /// Passed to librdkafka: `security.protocol`, `sasl.*`, `ssl.*`. The values are secret.
    #[serde(serialize_with = "names_only")]
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> KafkaConfig {
        KafkaConfig {
            brokers: "localhost:9092".to_owned(),
            topic: "user.events".to_owned(),
            group: "streamgauge".to_owned(),
            dead_letter_topic: None,
            create_topics: true,
            partitions: 4,
            replication: 1,
            retention: Duration::from_secs(7 * 86_400),
            instance_id: None,
            fetch_bytes: bytesize::ByteSize::mib(32),
            properties: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("group", &self.group)
            .field("dead_letter_topic", &self.dead_letter_topic())
            .field("create_topics", &self.create_topics)
            .field("partitions", &self.partitions)
            .field("replication", &self.replication)
            .field("retention", &self.retention)
            .field("instance_id", &self.instance_id)
            .field("fetch_bytes", &self.fetch_bytes)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

fn names_only<S: Serializer>(properties: &BTreeMap<String, String>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(properties.keys().map(|name| (name, "(hidden)")))
}

/// Properties that something else decides, and what: a promise of the program, or another key.
const REFUSED: &[(&str, &str)] = &[
    ("acks", "it is always `all`: an answer means that all in-sync replicas have the event"),
    ("request.required.acks", "it is always `all`: an answer means that all in-sync replicas have the event"),
    ("enable.idempotence", "it is always on: a retry must neither double nor reorder events"),
    ("max.in.flight", "it is always 2: with more, batches are smaller"),
    ("max.in.flight.requests.per.connection", "it is always 2: with more, batches are smaller"),
    ("transactional.id", "the producer uses no transactions"),
    ("partitioner", "it is always murmur2_random, so that all clients send a key to the same partition"),
    ("allow.auto.create.topics", "set log.kafka.create_topics instead"),
    ("enable.auto.commit", "it is always off: the store decides which offsets are counted"),
    ("enable.auto.offset.store", "it is always off: the store decides which offsets are counted"),
    ("auto.offset.reset", "it is always `error`: offsets are never skipped silently"),
    ("isolation.level", "it is always read_committed: what a transaction gave up is not counted"),
    ("partition.assignment.strategy", "it is always cooperative-sticky"),
    ("group.protocol", "it is always the classic one, with cooperative-sticky assignment"),
    ("group.id", "set log.kafka.group instead"),
    ("group.instance.id", "set log.kafka.instance_id instead"),
    ("bootstrap.servers", "set log.kafka.brokers instead"),
    ("metadata.broker.list", "set log.kafka.brokers instead"),
    ("queued.max.messages.kbytes", "set log.kafka.fetch_bytes instead"),
    ("enable.partition.eof", "the program does without it"),
    ("builtin.features", "it is what the program was built with"),
    ("plugin.library.paths", "plugins are not loaded"),
];

/// Longest name of a topic that Kafka takes.
const TOPIC_BYTES: usize = 249;

impl Config {
    /// Checks what can be checked without a connection.
    ///
    /// # Errors
    /// [`LogError::Config`], with the key and what to do.
    pub fn validate(&self) -> Result<(), LogError> {
        match self.kind {
            Kind::Kafka => self.kafka.validate(),
            Kind::Embedded => Ok(()),
        }
    }
}

impl KafkaConfig {
    /// The dead-letter topic, as configured or by default.
    pub fn dead_letter_topic(&self) -> String {
        self.dead_letter_topic.clone().unwrap_or_else(|| format!("{}.dlq", self.topic))
    }

    /// Checks what can be checked without a connection.
    ///
    /// # Errors
    /// [`LogError::Config`], with the key and what to do.
    pub fn validate(&self) -> Result<(), LogError> {
        if self.brokers.split(',').all(|broker| broker.trim().is_empty()) {
            return refuse("log.kafka.brokers", "name at least one broker, like \"localhost:9092\"");
        }
        check_topic("log.kafka.topic", &self.topic)?;
        check_topic("log.kafka.dead_letter_topic", &self.dead_letter_topic())?;
        if self.dead_letter_topic() == self.topic {
            return refuse("log.kafka.dead_letter_topic", "it must differ from log.kafka.topic");
        }
        if self.group.is_empty() {
            return refuse("log.kafka.group", "it must not be empty");
        }
        if self.instance_id.as_ref().is_some_and(|id| check_topic("", id).is_err()) {
            return refuse("log.kafka.instance_id", "letters, digits, `.`, `_` and `-` only");
        }
        self.check_numbers()?;
        self.properties.keys().try_for_each(|name| check_property(name))
    }

    fn check_numbers(&self) -> Result<(), LogError> {
        if !(1..=100_000).contains(&self.partitions) {
            return refuse("log.kafka.partitions", "it must lie between 1 and 100000");
        }
        if !(1..=i32::from(i16::MAX)).contains(&self.replication) {
            return refuse("log.kafka.replication", "it must lie between 1 and the number of brokers");
        }
        if self.retention < Duration::from_secs(60) {
            return refuse("log.kafka.retention", "it must be at least one minute");
        }
        if self.fetch_bytes < bytesize::ByteSize::mib(1) {
            return refuse("log.kafka.fetch_bytes", "it must be at least 1MiB");
        }
        Ok(())
    }
}

fn refuse(key: &str, what: &str) -> Result<(), LogError> {
    Err(LogError::Config { key: key.to_owned(), what: what.to_owned() })
}

fn check_topic(key: &str, name: &str) -> Result<(), LogError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > TOPIC_BYTES || matches!(name, "." | "..") || !name.chars().all(legal) {
        let what = format!("`{name}` is no name of a topic: 1 to {TOPIC_BYTES} letters, digits, `.`, `_` and `-`");
        return refuse(key, &what);
    }
    Ok(())
}

fn check_property(name: &str) -> Result<(), LogError> {
    let key = format!("log.kafka.properties.\"{name}\"");
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return refuse(&key, why);
    }
    // librdkafka keeps callbacks among its properties; as text they would crash it.
    if name.ends_with("_cb") || name == "opaque" || name == "default_topic_conf" {
        return refuse(&key, "it is no setting");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        let config: Config = toml::from_str(text).unwrap();
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config: Config = toml::from_str("").unwrap();
        config.validate().unwrap();
        assert_eq!(config.kind, Kind::Kafka);
        assert_eq!(config.kafka.dead_letter_topic(), "user.events.dlq");
        assert_eq!((config.kafka.partitions, config.kafka.replication), (4, 1));
        assert_eq!(config.kafka.retention, Duration::from_secs(604_800));
    }

    #[test]
    fn what_cannot_work_is_named_with_its_key() {
        assert!(complaint("[kafka]\ntopic = \"a b\"").contains("log.kafka.topic: `a b`"));
        assert!(complaint("[kafka]\ndead_letter_topic = \"user.events\"").contains("must differ"));
        assert!(complaint("[kafka]\nbrokers = \" , \"").contains("log.kafka.brokers"));
        assert!(complaint("[kafka]\npartitions = 0").contains("log.kafka.partitions"));
        assert!(complaint("[kafka]\nretention = \"1s\"").contains("log.kafka.retention"));
        assert!(complaint("[kafka]\ninstance_id = \"a/b\"").contains("log.kafka.instance_id"));
    }

    #[test]
    fn properties_that_would_break_a_promise_are_refused() {
        for (name, _) in REFUSED {
            let text = complaint(&format!("[kafka.properties]\n\"{name}\" = \"1\""));
            assert!(text.contains(name), "{text}");
        }
        assert!(complaint("[kafka.properties]\n\"acks\" = \"1\"").contains("always `all`"));
        assert!(complaint("[kafka.properties]\n\"dr_msg_cb\" = \"1\"").contains("no setting"));
    }

    #[test]
    fn the_embedded_log_does_not_look_at_kafka() {
        let config: Config = toml::from_str("kind = \"embedded\"\n[kafka]\ntopic = \"\"").unwrap();
        config.validate().unwrap();
    }

    #[test]
    fn values_of_properties_are_never_shown() {
        let text = "[kafka.properties]\n\"sasl.password\" = \"hunter2\"";
        let config: Config = toml::from_str(text).unwrap();
        let shown = format!("{config:?}{}", toml::to_string(&config).unwrap());
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}
