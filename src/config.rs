//! The configuration: each component's own, composed, read from a file and the environment.

mod keys;
mod layers;
mod problem;
mod read;

pub use keys::DOCUMENTED;
pub use problem::{ConfigError, Problem};

use crate::units::duration;
use crate::{admin, counter, embedded, ingest, log, pipeline, query, store};
use layers::Layers;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Everything that can be configured. config/streamgauge.toml documents each key.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Config {
    /// How long the drain may take, whatever is down.
    #[serde(with = "duration")]
    pub shutdown_timeout: Duration,
    /// Where events come in.
    pub ingest: ingest::Config,
    /// Who may send them.
    pub sites: Vec<ingest::Site>,
    /// Where events are kept.
    pub log: log::Config,
    /// How they are counted.
    pub pipeline: pipeline::Config,
    /// Where the counts are.
    pub store: store::Config,
    /// The file of an embedded log or store.
    pub embedded: embedded::Config,
    /// How the counts are served.
    pub query: query::Config,
    /// Where metrics and health are served.
    pub admin: admin::Config,
    /// What is counted.
    pub counters: Vec<counter::Spec>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            shutdown_timeout: Duration::from_secs(10),
            ingest: ingest::Config::default(),
            sites: Vec::new(),
            log: log::Config::default(),
            pipeline: pipeline::Config::default(),
            store: store::Config::default(),
            embedded: embedded::Config::default(),
            query: query::Config::default(),
            admin: admin::Config::default(),
            counters: counter::default_specs(),
        }
    }
}

impl Config {
    /// Reads a file, if one is given, lays the environment over it and checks the whole.
    ///
    /// # Errors
    /// When the file cannot be read, or with every problem that was found, each with its place.
    pub fn load(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        let Some(path) = path else { return Config::of(Layers::none(), env) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Config::parse(&text, &path.display().to_string(), env)
    }

    /// The same, of a text. `file` names it in problems.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, file: &str, env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        let layers = Layers::text(text, file).map_err(|problem| ConfigError::Wrong(vec![problem]))?;
        Config::of(layers, env)
    }

    fn of(mut layers: Layers, env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        let mut problems = layers.environment(env);
        match read::read::<Config>(&layers) {
            Ok(config) if problems.is_empty() => {
                problems = config.problems().into_iter().map(|message| located(&layers, message)).collect();
                if problems.is_empty() { Ok(config) } else { Err(ConfigError::Wrong(problems)) }
            }
            Ok(_) => Err(ConfigError::Wrong(problems)),
            Err(more) => {
                problems.extend(more);
                Err(ConfigError::Wrong(problems))
            }
        }
    }

    /// What is wrong with values that can be read, one by one and together.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut note = |result: Result<(), String>| problems.extend(result.err());
        note(self.listeners());
        note(self.ingest.validate(&self.sites).map_err(|e| e.to_string()));
        note(self.spool());
        note(self.log.validate().map_err(|e| e.to_string()));
        note(self.pipeline.validate());
        note(self.store.validate().map_err(|e| e.to_string()));
        note(self.query.validate().map_err(|e| e.to_string()));
        note(counter::Counters::new(self.counters.clone()).map(drop).map_err(|e| e.to_string()));
        problems
    }

    /// An embedded log is on disk already, and has nobody to forward to.
    fn spool(&self) -> Result<(), String> {
        match (self.log.kind, &self.ingest.spool.path) {
            (log::Kind::Embedded, Some(_)) => {
                Err("ingest.spool.path: with log.kind = \"embedded\" events are on disk at \
                                                  once: leave it out, or set log.kind = \"kafka\""
                    .to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Two components cannot listen on one address, which neither of them can know.
    fn listeners(&self) -> Result<(), String> {
        let listeners = [
            ("ingest.listen", self.ingest.listen),
            ("query.listen", self.query.listen),
            ("admin.listen", self.admin.listen),
        ];
        for (at, (name, address)) in listeners.iter().enumerate() {
            let same = |(_, other): &&(&str, SocketAddr)| other == address && address.port() != 0;
            if let Some((other, _)) = listeners[at + 1..].iter().find(same) {
                return Err(format!("{name} and {other} are both {address}: give one of them another port"));
            }
        }
        Ok(())
    }
}

fn located(layers: &Layers, message: String) -> Problem {
    Problem { place: layers.place_of_mentioned(&message), message }
}

#[cfg(test)]
mod tests;
