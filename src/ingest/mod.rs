//! Events come in over HTTP: `POST /events`.
//!
//! A request is received within its limits (`http`), split into events (`body`), each is read, completed and
//! keyed (`batch`), and the good ones are appended to the log. The answer comes after the log's acknowledgement
//! and names each event that was not taken. A 2xx therefore means that the events are durable; anything else claims
//! nothing, and the same event may be sent again with the same id. Where there is a `spool`, it takes what Kafka does not.
//!
//! Splitting and accepting do no I/O and are told the time; only the handler reads the clock, once a request.

mod batch;
mod body;
mod config;
mod cors;
mod handler;
mod in_flight;
mod reject;
mod spool;
#[cfg(test)]
mod tests;

pub use config::{Config, IngestError, KeyChoice};
pub use handler::Ingest;
pub use spool::{Config as SpoolConfig, Logs as SpoolLogs, Spool, SpoolError};
