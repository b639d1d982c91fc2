//! Services around the stream: consume → handle → commit, at least once, in the order of each key.
//!
//! A [`Worker`] is one member of a consumer group. It hands each record of its partitions to a [`Handler`], those of
//! different keys at the same time, those of one key one after the other, and commits a position once everything
//! before it is done with. What fails is tried again, without holding up other keys or the membership; what fails too
//! often, or for good, is kept as a dead letter before the position passes it.
//!
//! ```no_run
//! use std::sync::Arc;
//! use streamgauge::log::{KafkaConfig, KafkaLog};
//! use streamgauge::shutdown::Shutdown;
//! use streamgauge::telemetry::Metrics;
//! use streamgauge::worker::{Config, Failure, Message, Worker};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let metrics = Arc::new(Metrics::new()?);
//! let kafka = KafkaConfig { topic: "orders".into(), group: "payment".into(), ..KafkaConfig::default() };
//! let log = Arc::new(KafkaLog::connect(&kafka, metrics.clone())?);
//! let worker = Worker::new(log, Config::default(), metrics, async |order: Message| {
//!     let order = order.value().ok_or_else(|| Failure::permanent("a tombstone"))?;
//!     println!("{} bytes to be paid", order.len());
//!     Ok::<(), Failure>(())
//! })?;
//! worker.run(Shutdown::new()).await?;
//! # Ok(())
//! # }
//! ```

mod attempt;
mod breaker;
mod config;
mod error;
mod handler;
mod idempotency;
mod leaving;
mod locate;
mod message;
mod meters;
mod partition;
mod poller;
mod router;
mod runner;
#[cfg(test)]
mod tests;

pub use crate::retry::Backoff;
pub use crate::store::Effects;
pub use config::{Config, Start};
pub use error::WorkerError;
pub use handler::{Failure, Handled, Handler};
pub use idempotency::Idempotency;
pub use message::Message;
pub use router::{Newer, Others, Router};

use crate::log::{self, EventLog, LogError};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;
use breaker::Breaker;
use meters::Meters;
use poller::Poller;
use std::sync::Arc;
use tokio::sync::oneshot;

/// One member of a consumer group. Several, in one process or in many, share the partitions.
pub struct Worker<H> {
    shared: Arc<Shared<H>>,
}

/// What the parts of a worker share.
struct Shared<H> {
    topic: Arc<str>,
    log: Arc<dyn EventLog>,
    config: Config,
    meters: Meters,
    breaker: Arc<Breaker>,
    handler: H,
}

impl<H: Handler> Worker<H> {
    /// A member of the group of `log`, which reads its topic and writes its dead letters.
    ///
    /// # Errors
    /// [`WorkerError::Config`], with what to change.
    pub fn new(
        log: Arc<dyn EventLog>,
        config: Config,
        metrics: Arc<Metrics>,
        handler: H,
    ) -> Result<Worker<H>, WorkerError> {
        config.validate()?;
        let (topic, meters) = (log.topic().into(), Meters::new(metrics, log.group()));
        let breaker = Breaker::new(config.probe);
        Ok(Worker { shared: Arc::new(Shared { topic, log, config, meters, breaker, handler }) })
    }

    /// Works until the shutdown begins; then lets the handlers that run end, commits, and leaves the group. The log may
    /// be away: it is waited for.
    ///
    /// # Errors
    /// When the topic is missing and must not be created, or the consumer failed for good. What was handled by then is
    /// committed.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), WorkerError> {
        let group = self.shared.log.group();
        let waiting = |error: &LogError| tracing::warn!(group, %error, "the log is not there yet");
        if !log::prepare(&*self.shared.log, &shutdown, waiting).await? {
            return Ok(());
        }
        let (runtime, consumer) = (tokio::runtime::Handle::current(), self.shared.log.consumer()?);
        let (ended, has_ended) = oneshot::channel();
        let poller = Poller::new(self.shared, consumer, runtime, shutdown);
        let failed = |reason: &dyn std::fmt::Display| WorkerError::Thread(reason.to_string());
        let thread = std::thread::Builder::new().name("worker-poll".to_owned());
        // Who dropped the future has no use for its end; the poller then runs on until the shutdown.
        thread.spawn(move || _ = ended.send(poller.run())).map_err(|error| failed(&error))?;
        has_ended.await.map_err(|_| failed(&"it panicked"))?
    }
}
