//! The integration tests: one binary, so that all of them share one Kafka and one Redis.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by failing, in its helpers too"
)]

mod away;
mod bad_input;
mod chaos;
mod cluster;
mod collect;
mod compose;
mod config;
mod dedupe;
mod demo;
mod dlq;
mod enrich;
mod examples;
mod gaps;
mod hostile;
mod kill;
mod load;
mod log;
mod measured;
mod million;
mod monitoring;
mod openapi;
mod page;
mod prometheus;
mod publish;
mod replay;
mod schema;
mod services;
mod spine;
mod spool;
mod support;
mod tail;
mod trace;
mod tracker;
mod transactions;
mod verify;
mod workers;
