//! streamgauge counts streams of user events per time window, exactly once.
//!
//! # The path of an event
//!
//! 1. [`ingest`] takes it over HTTP, validates it and gives it its canonical form and key ([`event`]).
//! 2. [`log`] keeps it: a Kafka topic, or an embedded log.
//! 3. [`pipeline`] reads it back, decides its outcome and the windows it belongs to ([`counter`], [`window`]),
//!    and gathers the deltas of an offset range into a segment.
//! 4. [`store`] adds a segment to the counts and moves the partition's offset in one atomic step.
//! 5. [`query`] answers how many, of what, when: a JSON API and a live page.
//! 6. [`admin`] tells how the process is: metrics and health.
//!
//! Which events of a day are of one visitor is told by [`visitor`], with salts that are forgotten, and without an address.
//! What lately came in and why it was refused is told by [`tail`]: from ingest to the query side, and nothing waits for it.
//!
//! Services of your own stand beside the counting: [`publish`] writes typed events ([`envelope`]) into a log, and a
//! [`worker`] reads them, handles each, and keeps what fails.
//!
//! [`app`] wires these together; nothing else knows them all. ARCHITECTURE.md is the map.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counter;
pub mod embedded;
pub mod envelope;
pub mod event;
pub mod http;
pub mod ingest;
pub mod log;
pub mod pipeline;
pub mod publish;
pub mod query;
pub mod retry;
pub mod shutdown;
pub mod store;
pub mod tail;
pub mod telemetry;
pub mod traffic;
pub mod units;
pub mod visitor;
pub mod window;
pub mod worker;
