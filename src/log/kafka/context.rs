//! What every client has in common: its settings, and what it says.

use crate::log::KafkaConfig;
use crate::telemetry::Metrics;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A client that cannot reach its broker complains about it with every attempt; people want to read it now and then.
const QUIET: Duration = Duration::from_secs(5);

/// What every client begins with.
const COMMON: &[(&str, &str)] = &[
    ("client.id", "streamgauge"),
    ("socket.nagle.disable", "true"),
    // After an outage a broker is found again within seconds.
    ("reconnect.backoff.max.ms", "2000"),
    ("topic.metadata.refresh.interval.ms", "10000"),
];

/// The settings of a client: ours, over them the user's properties, over these what must stand: `fixed`.
pub(super) fn settings(config: &KafkaConfig, ours: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
    let mut settings = ClientConfig::new();
    let properties = config.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let brokers = ("bootstrap.servers", config.brokers.as_str());
    for (name, value) in
        COMMON.iter().chain(ours).copied().chain(properties).chain(fixed.iter().copied()).chain([brokers])
    {
        settings.set(name, value);
    }
    settings.set_log_level(RDKafkaLogLevel::Info);
    settings
}

/// Where a client's complaints go: a metric, and log lines that do not flood.
pub(super) struct Complaints {
    metrics: Arc<Metrics>,
    last: Mutex<Option<Instant>>,
}

impl Complaints {
    pub(super) fn new(metrics: Arc<Metrics>) -> Complaints {
        Complaints { metrics, last: Mutex::new(None) }
    }

    /// Counts an error, and logs it unless another one just was.
    pub(super) fn error(&self, error: &KafkaError, reason: &str) {
        self.metrics.log_errors_total.inc();
        if self.speaks() {
            tracing::warn!(%error, reason, "Kafka client");
        } else {
            tracing::debug!(%error, reason, "Kafka client");
        }
    }

    /// Passes a line of librdkafka's own log on. What it calls errors is mostly a broker that is away.
    pub(super) fn line(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "librdkafka: {text}");
            }
            // One set of properties serves consumers and producers; each warns of what concerns the other.
            RDKafkaLogLevel::Warning if facility == "CONFWARN" => tracing::debug!(facility, "librdkafka: {text}"),
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if self.speaks() => {
                tracing::warn!(facility, "librdkafka: {text}");
            }
            _ => tracing::debug!(facility, "librdkafka: {text}"),
        }
    }

    fn speaks(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let speaks = last.is_none_or(|last| last.elapsed() >= QUIET);
        if speaks {
            *last = Some(Instant::now());
        }
        speaks
    }
}

/// Whether a cluster can be reached, from what is heard of it: lost by the client's word that all brokers are down, found
/// again by an answer to what was asked after that.
#[derive(Debug)]
pub(super) struct Reach {
    /// How often it was lost. At the beginning it is, until it is found.
    lost: AtomicU64,
    /// Which of these losses an answer has ended.
    ended: AtomicU64,
}

impl Reach {
    pub(super) fn new() -> Reach {
        Reach { lost: AtomicU64::new(1), ended: AtomicU64::new(0) }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire) > self.ended.load(Ordering::Acquire)
    }

    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::AcqRel);
    }

    /// To be taken before asking, and handed to `found` once there is an answer: what was lost meanwhile stays lost.
    pub(super) fn times_lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    pub(super) fn found(&self, times_lost: u64) {
        if self.ended.load(Ordering::Acquire) < times_lost {
            self.ended.fetch_max(times_lost, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_properties_stand_over_ours_but_not_over_what_is_fixed() {
        let mut config = KafkaConfig::default();
        config.properties.insert("linger.ms".to_owned(), "7".to_owned());
        config.properties.insert("acks".to_owned(), "1".to_owned());
        let settings = settings(&config, &[("linger.ms", "2")], &[("acks", "all")]);
        assert_eq!(settings.get("linger.ms"), Some("7"));
        assert_eq!(settings.get("acks"), Some("all"));
        assert_eq!(settings.get("bootstrap.servers"), Some("localhost:9092"));
    }

    #[test]
    fn an_answer_from_before_the_loss_does_not_end_it() {
        let reach = Reach::new();
        assert!(reach.is_lost(), "nothing was heard yet");
        reach.found(reach.times_lost());
        assert!(!reach.is_lost());
        let asked = reach.times_lost();
        reach.lost();
        reach.found(asked);
        assert!(reach.is_lost());
        reach.found(reach.times_lost());
        assert!(!reach.is_lost());
    }

    #[test]
    fn one_complaint_of_many_is_said_aloud() {
        let complaints = Complaints::new(Arc::new(Metrics::new().unwrap()));
        assert!(complaints.speaks());
        assert!(!complaints.speaks());
    }
}
