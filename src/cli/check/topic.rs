//! What the settings of a topic mean for counting.

use super::Findings;
use crate::cli::kafka::Topic;
use crate::config::Config;
use rdkafka::admin::ConfigEntry;
use std::collections::HashMap;
use std::time::Duration;

/// With less than this in the log, a store that went back in time over a weekend cannot be replayed.
const SHORT: Duration = Duration::from_secs(3 * 86_400);
/// What a canonical event adds to the one that was sent: ids, times, names.
const ADDED_BYTES: u64 = 1_024;

/// A topic's settings, by name.
#[derive(Debug, Default)]
pub(super) struct Settings(HashMap<String, String>);

impl Settings {
    pub(super) fn of(entries: &[ConfigEntry]) -> Settings {
        let told = |entry: &ConfigEntry| Some((entry.name.clone(), entry.value.clone()?));
        Settings(entries.iter().filter_map(told).collect())
    }

    pub(super) fn is_compacted(&self) -> bool {
        self.text("cleanup.policy").is_some_and(|policy| policy.contains("compact"))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }
}

pub(super) fn judge(
    name: &str,
    topic: Topic,
    brokers: usize,
    settings: &Settings,
    config: &Config,
    findings: &mut Findings,
) {
    times(name, settings, findings);
    if settings.is_compacted() {
        findings.doubtful(format!(
            "topic {name}: cleanup.policy is compact: records disappear that a replay would need, and tombstones become \
             dead letters; use delete"
        ));
    }
    retention(name, settings, config, findings);
    copies(name, topic, brokers, settings, findings);
    size(name, settings, config, findings);
}

fn times(name: &str, settings: &Settings, findings: &mut Findings) {
    match settings.text("message.timestamp.type") {
        Some("LogAppendTime") => findings.right(format!("topic {name}: LogAppendTime, the broker's clock")),
        Some(other) => findings.doubtful(format!(
            "topic {name}: message.timestamp.type is {other}, so a producer's wrong clock decides what is too late: set \
             LogAppendTime"
        )),
        None => {}
    }
}

fn retention(name: &str, settings: &Settings, config: &Config, findings: &mut Findings) {
    let kept = match settings.number("retention.ms") {
        None => return,
        Some(ms) => u64::try_from(ms).ok().map(Duration::from_millis),
    };
    let text = kept.map_or("for ever".to_owned(), |kept| format!("for {}", humantime::format_duration(kept)));
    let keeps = config.counters.iter().flat_map(|counter| &counter.windows);
    let longest = keeps.filter_map(|window| humantime::parse_duration(&window.keep).ok()).max().unwrap_or_default();
    let line = format!("topic {name}: keeps records {text}");
    match kept {
        Some(kept) if kept < SHORT => findings.doubtful(format!(
            "{line}: a store that is restored from an older backup cannot be replayed, then its partitions stop; raise \
             retention.ms"
        )),
        Some(kept) if kept < longest => findings.right(format!(
            "{line}; windows are kept for up to {}, and the part before cannot be replayed or verified",
            humantime::format_duration(longest)
        )),
        _ => findings.right(line),
    }
    if settings.number("retention.bytes").is_some_and(|bytes| bytes >= 0) {
        findings.doubtful(format!("topic {name}: retention.bytes may delete records earlier than retention.ms says"));
    }
}

fn copies(name: &str, topic: Topic, brokers: usize, settings: &Settings, findings: &mut Findings) {
    let replicas = topic.replicas;
    let in_sync = settings.number("min.insync.replicas").and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    let line = format!("topic {name}: {replicas} replica(s), {in_sync} of them in sync for an acknowledgement");
    if in_sync > replicas {
        findings.wrong(format!("{line}: nothing can be stored; lower min.insync.replicas"));
    } else if brokers > 1 && replicas == 1 {
        findings.doubtful(format!("{line}: a broker that is away takes its events along; use 3 replicas"));
    } else if replicas > 1 && in_sync == 1 {
        findings.doubtful(format!(
            "{line}: an acknowledged event may be on one broker alone; set min.insync.replicas = {}",
            replicas.div_ceil(2).max(2)
        ));
    } else {
        findings.right(line);
    }
}

fn size(name: &str, settings: &Settings, config: &Config, findings: &mut Findings) {
    let Some(most) = settings.number("max.message.bytes").and_then(|n| u64::try_from(n).ok()) else { return };
    if most < config.ingest.max_event.as_u64() + ADDED_BYTES {
        findings.doubtful(format!(
            "topic {name}: max.message.bytes is {most}, less than ingest.max_event ({}) with what is added to an event: \
             the largest events cannot be stored",
            config.ingest.max_event
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(brokers: usize, replicas: usize, settings: &[(&str, &str)]) -> (usize, usize) {
        let settings = Settings(settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let topic = Topic { partitions: 4, replicas, leaderless: 0 };
        let mut findings = Findings::default();
        judge("t", topic, brokers, &settings, &Config::default(), &mut findings);
        (findings.wrong, findings.doubtful)
    }

    #[test]
    fn each_setting_that_costs_events_is_doubtful_or_wrong() {
        let good = ("message.timestamp.type", "LogAppendTime");
        assert_eq!(judged(1, 1, &[good, ("retention.ms", "604800000")]), (0, 0));
        assert_eq!(judged(3, 3, &[good, ("min.insync.replicas", "2"), ("retention.ms", "-1")]), (0, 0));
        assert_eq!(judged(1, 1, &[("message.timestamp.type", "CreateTime")]), (0, 1));
        assert_eq!(judged(1, 1, &[good, ("cleanup.policy", "delete,compact")]), (0, 1));
        assert_eq!(judged(1, 1, &[good, ("retention.ms", "60000")]), (0, 1));
        assert_eq!(judged(1, 1, &[good, ("retention.ms", "-1"), ("retention.bytes", "1000")]), (0, 1));
        assert_eq!(judged(3, 1, &[good]), (0, 1));
        assert_eq!(judged(3, 3, &[good, ("min.insync.replicas", "1")]), (0, 1));
        assert_eq!(judged(1, 1, &[good, ("min.insync.replicas", "2")]), (1, 0));
        assert_eq!(judged(1, 1, &[good, ("max.message.bytes", "1000")]), (0, 1));
    }
}
