use super::SpoolConfig;
use super::client::TrustedProxy;
use super::enrich::Enrichment;
use super::sites::{self, Config as Site, SiteError};
use crate::event::{Invalid, Key};
use crate::http::{Limits, is_public};
use crate::units::ByteSize;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// `[ingest]`: where events come in, and what one client may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where to listen. On a public address, anybody who reaches it can write: see `open`.
    pub listen: SocketAddr,
    /// What decides an event's partition.
    pub key: KeyChoice,
    /// Whether anybody may write who reaches a public address; where there are sites, also without a write key.
    pub open: bool,
    /// Bytes of a request's body.
    pub max_body: ByteSize,
    /// Bytes that a compressed body may become.
    pub max_inflated: ByteSize,
    /// Events of a request.
    pub max_events: usize,
    /// Bytes of an event, as it was sent.
    pub max_event: ByteSize,
    /// Bytes of all bodies that are held at a time, both as they came and inflated; what comes on top is told to come
    /// again. The records made of them take about as much again.
    pub max_in_flight: ByteSize,
    /// Requests per second of one client address, and so many at once; 0 for any number. Behind a proxy it needs
    /// `trusted_proxies`, or all clients would be one.
    pub rate_limit: u32,
    /// Whose word counts on where a request comes from.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// How far off a client's clock may be before the times of its events are corrected. It has to be more than a body
    /// may be under way, which looks the same.
    #[serde(with = "crate::units::duration")]
    pub max_skew: Duration,
    /// Connections at a time.
    pub max_connections: usize,
    /// Those of one client address, an IPv6 network as a whole; 0 for any number, as it has to be behind a proxy.
    pub max_connections_per_address: usize,
    /// Bytes of the head of a request: its line and its headers.
    pub max_header: ByteSize,
    /// Whether samples of what comes in, without its values, are kept for the live tail.
    pub tail: bool,
    /// Time for the head of a request to arrive, and for a kept-alive connection to stay silent.
    #[serde(with = "crate::units::duration")]
    pub header_timeout: Duration,
    /// Time for the body of a request to arrive.
    #[serde(with = "crate::units::duration")]
    pub body_timeout: Duration,
    /// What is added to events that come from browsers.
    pub enrich: Enrichment,
    /// Where events wait while Kafka is away.
    pub spool: SpoolConfig,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: (Ipv4Addr::LOCALHOST, 8081).into(),
            key: KeyChoice::default(),
            open: false,
            max_body: ByteSize::mib(1),
            max_inflated: ByteSize::mib(8),
            max_events: 5_000,
            max_event: ByteSize::kib(64),
            max_in_flight: ByteSize::mib(256),
            rate_limit: 0,
            trusted_proxies: Vec::new(),
            max_skew: Duration::from_secs(60),
            max_connections: 10_000,
            max_connections_per_address: 0,
            max_header: ByteSize::kib(16),
            tail: true,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            enrich: Enrichment::default(),
            spool: SpoolConfig::default(),
        }
    }
}

/// Why ingest cannot run with its configuration.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Strangers could write, and nobody said that they may.
    #[error(
        "ingest.listen: anybody who can reach {0} could write events; add [[sites]] with write_keys, or set \
         ingest.open = true if that is meant, or listen on 127.0.0.1"
    )]
    Public(SocketAddr),
    /// A limit that lets nothing in.
    #[error("ingest.{0} is 0: nothing could come in; leave it out for its default")]
    Zero(&'static str),
    /// A setting of the spool that cannot work.
    #[error("ingest.spool.{key}: {what}")]
    Spool {
        /// Its key.
        key: &'static str,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A site that cannot be used.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// A head that no client can keep to, or that takes too much of each connection.
    #[error("ingest.max_header must be from 1KiB to 1MiB")]
    Header,
    /// A limit that another one makes useless.
    #[error("ingest.{smaller} must be at most ingest.{larger}")]
    Contradiction {
        /// The limit that is too large.
        smaller: &'static str,
        /// The limit that it has to stay within.
        larger: &'static str,
    },
}

impl Config {
    /// Checks what can be checked without listening and without reading a file.
    ///
    /// # Errors
    /// The first setting that cannot work, with its key and what to do.
    pub fn validate(&self, sites: &[Site]) -> Result<(), IngestError> {
        sites::validate(sites)?;
        if is_public(self.listen) && !self.open && sites.is_empty() {
            return Err(IngestError::Public(self.listen));
        }
        let zero = [
            ("max_body", self.max_body.0 == 0),
            ("max_inflated", self.max_inflated.0 == 0),
            ("max_events", self.max_events == 0),
            ("max_event", self.max_event.0 == 0),
            ("max_connections", self.max_connections == 0),
            ("header_timeout", self.header_timeout.is_zero()),
            ("body_timeout", self.body_timeout.is_zero()),
        ];
        if let Some((key, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(IngestError::Zero(key));
        }
        if !(1_024..=1 << 20).contains(&self.max_header.0) {
            return Err(IngestError::Header);
        }
        let contradiction = |smaller, larger| Err(IngestError::Contradiction { smaller, larger });
        if self.max_event > self.max_body {
            return contradiction("max_event", "max_body");
        }
        if self.max_body > self.max_in_flight {
            return contradiction("max_body", "max_in_flight");
        }
        if self.max_inflated > self.max_in_flight {
            return contradiction("max_inflated", "max_in_flight");
        }
        if let Some((key, what)) = self.spool.problem() {
            return Err(IngestError::Spool { key, what });
        }
        Ok(())
    }

    /// What the server holds each connection to.
    pub fn limits(&self) -> Limits {
        Limits {
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            header_timeout: self.header_timeout,
            // At most 1 MiB, as has been checked.
            max_header_bytes: self.max_header.0 as usize,
            ..Limits::default()
        }
    }
}

/// What decides an event's partition, as a user writes it: `session`, `user`, `event`, or a path like `payload.shop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyChoice {
    text: String,
    key: Key,
}

impl KeyChoice {
    /// The choice itself.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

impl Default for KeyChoice {
    fn default() -> KeyChoice {
        KeyChoice { text: "session".to_owned(), key: Key::Session }
    }
}

impl TryFrom<String> for KeyChoice {
    type Error = Invalid;

    fn try_from(text: String) -> Result<KeyChoice, Invalid> {
        Ok(KeyChoice { key: Key::parse(&text)?, text })
    }
}

impl From<KeyChoice> for String {
    fn from(choice: KeyChoice) -> String {
        choice.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config = config("");
        config.validate(&[]).unwrap();
        assert_eq!(config, Config::default());
        let text = toml::to_string(&config).unwrap();
        for line in [
            "listen = \"127.0.0.1:8081\"",
            "key = \"session\"",
            "open = false",
            "max_events = 5000",
            "rate_limit = 0",
            "trusted_proxies = []",
            "max_skew = \"1m\"",
            "max_connections = 10000",
            "header_timeout = \"10s\"",
            "body_timeout = \"30s\"",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!((config.max_body.0, config.max_event.0), (1 << 20, 64 << 10));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = config(
            "key = 'payload.\"a.b\"'\nmax_body = \"2MiB\"\nbody_timeout = \"1m\"\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]",
        );
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
    }

    #[test]
    fn a_public_address_wants_it_said() {
        let error = config("listen = \"0.0.0.0:8081\"").validate(&[]).unwrap_err().to_string();
        assert!(error.contains("0.0.0.0:8081") && error.contains("ingest.open = true"), "{error}");
        config("listen = \"0.0.0.0:8081\"\nopen = true").validate(&[]).unwrap();
        config("listen = \"[::1]:0\"").validate(&[]).unwrap();
        let site = Site { name: "shop".into(), write_keys: vec!["k".into()], ..Site::default() };
        config("listen = \"0.0.0.0:8081\"").validate(std::slice::from_ref(&site)).unwrap();
        let nameless = Site { name: String::new(), ..site };
        assert!(config("").validate(&[nameless]).unwrap_err().to_string().contains("a name has"));
    }

    #[test]
    fn what_cannot_work_is_named_with_its_key() {
        for (text, message) in [
            ("max_events = 0", "ingest.max_events is 0"),
            ("body_timeout = \"0s\"", "ingest.body_timeout is 0"),
            ("max_event = \"2MiB\"", "ingest.max_event must be at most ingest.max_body"),
            ("max_in_flight = \"1KiB\"", "ingest.max_body must be at most ingest.max_in_flight"),
            ("max_in_flight = \"2MiB\"", "ingest.max_inflated must be at most ingest.max_in_flight"),
            ("max_header = \"512\"", "ingest.max_header must be from 1KiB"),
            ("max_header = \"2MiB\"", "ingest.max_header must be from 1KiB"),
            ("max_inflated = \"0\"", "ingest.max_inflated is 0"),
        ] {
            let error = config(text).validate(&[]).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        let error = toml::from_str::<Config>("key = \"sesion\"").unwrap_err().to_string();
        assert!(error.contains("session, user, event"), "{error}");
    }
}
