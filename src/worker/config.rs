use super::{Idempotency, WorkerError};
use crate::retry::Backoff;
use std::time::Duration;

/// How a worker works. The defaults suit a handler that asks a database or another service.
///
/// ```
/// use std::time::Duration;
/// use streamgauge::worker::Config;
///
/// let config = Config { concurrency: 4, handler_timeout: Duration::from_secs(5), ..Config::default() };
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// Keys of a partition whose messages are handled at the same time; 16. The messages of one key never are.
    pub concurrency: usize,
    /// Attempts before a message becomes a dead letter; 5. Those that find something [`Unavailable`] do not count.
    ///
    /// [`Unavailable`]: super::Failure::Unavailable
    pub max_attempts: u32,
    /// Waits between the attempts of a message, shortened by chance by up to a half; 100 ms up to 30 s.
    pub backoff: Backoff,
    /// Waits between probes while something is unavailable; 1 s up to 30 s.
    pub probe: Backoff,
    /// How long the handler may take for one attempt; 30 s. Afterwards it is cancelled where it waits, and the attempt
    /// has failed.
    pub handler_timeout: Duration,
    /// How long handlers that run may go on when their partition is given up or the worker ends; 5 s. Afterwards they
    /// are cancelled where they wait, and their messages are handled again by whoever has the partition next.
    pub drain: Duration,
    /// Messages of a partition that may be read and not finished; 10,000. Reading of the partition pauses beyond.
    pub max_in_flight: usize,
    /// The same in bytes; 16 MiB.
    pub max_in_flight_bytes: usize,
    /// How often the group's position is committed; 1 s. What was handled since is handled again after a crash.
    pub commit_interval: Duration,
    /// Where a group begins that never committed anything.
    pub start: Start,
    /// Notes of handled events, so that a redelivered one is handled once; none.
    pub idempotency: Option<Idempotency>,
}

/// Where a group begins that never committed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the oldest record that the log holds.
    #[default]
    Earliest,
    /// With the first record that comes after the group was made, in all partitions at that time. A partition that is
    /// added to the topic later begins with its oldest record.
    Latest,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            concurrency: 16,
            max_attempts: 5,
            backoff: Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(30) },
            probe: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) },
            handler_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            max_in_flight: 10_000,
            max_in_flight_bytes: 16 << 20,
            commit_interval: Duration::from_secs(1),
            start: Start::Earliest,
            idempotency: None,
        }
    }
}

/// A revocation holds the group up while it waits for handlers; its members are put out after half a minute.
const LONGEST_DRAIN: Duration = Duration::from_secs(20);

impl Config {
    pub(super) fn validate(&self) -> Result<(), WorkerError> {
        let wrong = |what: &str| Err(WorkerError::Config(what.to_owned()));
        if self.concurrency == 0 || self.max_attempts == 0 {
            return wrong("concurrency and max_attempts must be at least 1");
        }
        if self.max_in_flight < self.concurrency {
            return wrong("max_in_flight must be at least concurrency");
        }
        if self.max_in_flight_bytes == 0 || self.handler_timeout.is_zero() || self.commit_interval.is_zero() {
            return wrong("max_in_flight_bytes, handler_timeout and commit_interval must not be 0");
        }
        if self.drain > LONGEST_DRAIN {
            return wrong("drain must be at most 20 s: the consumer group waits for it");
        }
        Ok(())
    }
}
