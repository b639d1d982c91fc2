use crate::embedded::Synchronous;
use crate::units::ByteSize;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Smallest spool: a new file and the records of one request fit into it.
const LEAST: ByteSize = ByteSize(16 << 20);

/// `[ingest.spool]`: where events wait while Kafka is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The file; its folder is made when missing. Without one there is no spool, and ingest answers 503 while Kafka is
    /// away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How large the file may grow before ingest answers 503.
    pub max_bytes: ByteSize,
    /// How long Kafka may leave an append unanswered before new events go to the spool.
    #[serde(with = "crate::units::duration")]
    pub slow_after: Duration,
    /// What a commit waits for before events are answered.
    pub synchronous: Synchronous,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            path: None,
            max_bytes: ByteSize::gib(1),
            slow_after: Duration::from_secs(1),
            synchronous: Synchronous::Normal,
        }
    }
}

impl Config {
    /// What is wrong with it, by key and with what to do.
    pub(in crate::ingest) fn problem(&self) -> Option<(&'static str, String)> {
        if self.path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return Some(("path", "it is empty: name a file, or leave it out for no spool".to_owned()));
        }
        if self.max_bytes < LEAST {
            return Some(("max_bytes", format!("it must be at least {LEAST}")));
        }
        if self.slow_after < Duration::from_millis(10) || self.slow_after > Duration::from_secs(15) {
            return Some(("slow_after", "it must lie between 10ms and 15s".to_owned()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config: Config = toml::from_str("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.problem(), None);
        assert_eq!(
            (config.path, config.max_bytes, config.slow_after),
            (None, ByteSize::gib(1), Duration::from_secs(1))
        );
        let text = "path = \"data/spool.db\"\nmax_bytes = \"2GiB\"\nslow_after = \"200ms\"\nsynchronous = \"full\"";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!((config.max_bytes, config.synchronous), (ByteSize::gib(2), Synchronous::Full));
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
    }

    #[test]
    fn what_cannot_work_is_named_with_its_key() {
        for (text, key) in [
            ("path = \"\"", "path"),
            ("max_bytes = \"1MiB\"", "max_bytes"),
            ("slow_after = \"0s\"", "slow_after"),
            ("slow_after = \"1m\"", "slow_after"),
        ] {
            assert_eq!(toml::from_str::<Config>(text).unwrap().problem().unwrap().0, key);
        }
    }
}
