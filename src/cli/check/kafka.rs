use super::topic::{Settings, judge};
use super::{Findings, blocking, within};
use crate::cli::kafka::{Probe, Topic};
use crate::config::Config;
use crate::log::KafkaConfig;
use std::sync::Arc;

pub(super) async fn check(config: &Config, findings: &mut Findings) {
    let kafka = &config.log.kafka;
    let probe = match Probe::new(kafka) {
        Ok(probe) => Arc::new(probe),
        Err(error) => return findings.wrong(format!("kafka: {error:#}")),
    };
    let (asking, topic) = (probe.clone(), kafka.topic.clone());
    let brokers = match blocking(move || asking.brokers(&topic)).await {
        Ok(brokers) => brokers,
        Err(error) => return findings.wrong(format!("kafka: {} is not reachable: {error:#}", kafka.brokers)),
    };
    findings.right(format!(
        "kafka: {} answers, {brokers} broker{}",
        kafka.brokers,
        if brokers == 1 { "" } else { "s" }
    ));
    let cluster = Cluster { probe, brokers, kafka };
    cluster.events(config, findings).await;
    cluster.dead_letters(findings).await;
}

struct Cluster<'c> {
    probe: Arc<Probe>,
    brokers: usize,
    kafka: &'c KafkaConfig,
}

impl Cluster<'_> {
    async fn events(&self, config: &Config, findings: &mut Findings) {
        let name = &self.kafka.topic;
        let Some(topic) = self.topic(name, findings).await else { return };
        let partitions = topic.partitions;
        findings.right(format!("topic {name}: {partitions} partition{}", if partitions == 1 { "" } else { "s" }));
        if topic.leaderless > 0 {
            findings.wrong(format!("topic {name}: {} partitions have no leader: a broker is away", topic.leaderless));
        }
        if let Some(settings) = self.settings(name, findings).await {
            judge(name, topic, self.brokers, &settings, config, findings);
        }
    }

    async fn dead_letters(&self, findings: &mut Findings) {
        let name = self.kafka.dead_letter_topic();
        if self.topic(&name, findings).await.is_none() {
            return;
        }
        findings.right(format!("dead-letter topic {name}: is there"));
        if let Some(settings) = self.settings(&name, findings).await
            && settings.is_compacted()
        {
            findings
                .doubtful(format!("dead-letter topic {name}: compacted, so dead letters of one key replace others"));
        }
    }

    /// The topic, if it is there. What it means that it is not is said.
    async fn topic(&self, name: &str, findings: &mut Findings) -> Option<Topic> {
        let (probe, asked) = (self.probe.clone(), name.to_owned());
        match blocking(move || probe.topic(&asked)).await {
            Ok(Some(topic)) => return Some(topic),
            Ok(None) if !self.kafka.create_topics => findings
                .wrong(format!("topic {name}: does not exist: create it, or set log.kafka.create_topics = true")),
            Ok(None) => self.would_create(name, findings),
            Err(error) => findings.wrong(format!("topic {name}: {error:#}")),
        }
        None
    }

    fn would_create(&self, name: &str, findings: &mut Findings) {
        let KafkaConfig { partitions, replication, retention, .. } = self.kafka;
        if usize::try_from(*replication).is_ok_and(|copies| copies > self.brokers) {
            return findings.wrong(format!(
                "topic {name}: cannot be created with log.kafka.replication = {replication} on {} broker(s)",
                self.brokers
            ));
        }
        let kept = humantime::format_duration(*retention);
        findings.right(format!(
            "topic {name}: does not exist and will be created: {partitions} partitions, {replication} replica(s), \
             kept for {kept}"
        ));
    }

    async fn settings(&self, name: &str, findings: &mut Findings) -> Option<Settings> {
        match within(self.probe.configured(name)).await {
            Ok(entries) => Some(Settings::of(&entries)),
            Err(error) => {
                findings.doubtful(format!("topic {name}: its settings cannot be read: {error:#}"));
                None
            }
        }
    }
}
