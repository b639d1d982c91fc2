use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// `[embedded]`: where the embedded log and store are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The file; its folder is made when missing. Beside it stand `-wal`, `-shm` and `.lock`.
    pub path: PathBuf,
    /// How long records stay in the log once they are counted.
    #[serde(with = "crate::units::duration")]
    pub retain: Duration,
    /// How large the file may grow before the log takes no more records.
    pub max_bytes: ByteSize,
    /// What a commit waits for.
    pub synchronous: Synchronous,
}

/// What a commit waits for before it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// The operating system has it: survives the end of the process by any means, not a power cut.
    #[default]
    Normal,
    /// The disk has it: survives a power cut too, at the price of an fsync per commit.
    Full,
}

impl Synchronous {
    pub(super) fn pragma(self) -> &'static str {
        match self {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            path: PathBuf::from("data/streamgauge.db"),
            retain: Duration::from_secs(7 * 86_400),
            max_bytes: ByteSize::gib(10),
            synchronous: Synchronous::Normal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_a_user_writes_it() {
        let text = "path = \"x.db\"\nretain = \"3d\"\nmax_bytes = \"2GiB\"\nsynchronous = \"full\"";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.retain, Duration::from_secs(3 * 86_400));
        assert_eq!(config.max_bytes, ByteSize::gib(2));
        assert_eq!(config.synchronous, Synchronous::Full);
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        assert!(toml::from_str::<Config>("keep = 1").is_err());
    }
}
