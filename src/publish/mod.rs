//! Typed events into the log: published under an id and a key, acknowledged before the caller goes on.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use std::sync::Arc;
//! use streamgauge::envelope::{Event, Json};
//! use streamgauge::log::{EventLog, KafkaConfig, KafkaLog};
//! use streamgauge::publish::{Key, Outgoing, Publisher};
//! use streamgauge::telemetry::Metrics;
//!
//! #[derive(Serialize, Deserialize)]
//! struct OrderPlaced {
//!     total_cents: u64,
//! }
//!
//! impl Event for OrderPlaced {
//!     const EVENT_TYPE: &'static str = "order.placed";
//!     const EVENT_VERSION: u32 = 1;
//! }
//!
//! # async fn place() -> Result<(), Box<dyn std::error::Error>> {
//! let metrics = Arc::new(Metrics::new()?);
//! let config = KafkaConfig { topic: "orders".into(), ..KafkaConfig::default() };
//! let log = Arc::new(KafkaLog::connect(&config, metrics.clone())?);
//! log.prepare().await?;
//!
//! let publisher = Publisher::new(log, Json, metrics);
//! let placed = Outgoing::new(OrderPlaced { total_cents: 4200 }, Key::User("ann".into()));
//! let event_id = publisher.publish(placed).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Which key
//! The key decides the partition, and a partition is read by one member of a group, in order:
//!
//! | key | what keeps its order | what runs in parallel | take it when |
//! |---|---|---|---|
//! | [`Key::User`] | all that one user does | different users | a service keeps something per user: a balance, a cart |
//! | [`Key::Order`] | the life of one order (or any other thing that has an id) | different orders, even of one user | steps follow one another: placed, paid, sent |
//! | [`Key::Session`] | one visit | different visits, even of one user | clicks and page views: many short sequences |
//! | [`Key::Random`] | nothing | everything | each event stands for itself, or one key would have most of the events |
//!
//! One key is never faster than one handler: a key that has most of the events makes one partition hot.

mod error;
mod outgoing;
mod publisher;
#[cfg(test)]
mod tests;

pub use error::PublishError;
pub use outgoing::{Key, Outgoing};
pub use publisher::Publisher;
