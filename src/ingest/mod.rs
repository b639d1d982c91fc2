//! Events come in over HTTP: `POST /events`.
//!
//! A request is received within its limits (`http`) and inflated (`inflate`), taken apart into events (`format`), each is
//! read, completed and keyed (`batch`), and the good ones are appended to the log. The answer comes after the log's
//! acknowledgement and names each event that was not taken. A 2xx therefore means that the events are durable; anything
//! else claims nothing, and the same event may be sent again with the same id. Where there is a `spool`, it
//! takes what Kafka does not.
//!
//! Who sends is known by a write key (`sites`), from where by its connection or what proxies say of it (`client`), and how
//! often it may is a matter of both (`rate`).
//!
//! What comes from browsers is told more of (`enrich`): the browser, where the visitor came from, an id of the day. It is made
//! of the head of the request and the page's address, and what it is made of is not kept.
//!
//! What decides (`intake`) does no I/O and is told the time; only the handler reads the clock, once a request.

#[cfg(any(test, fuzzing))]
mod any_body;
mod batch;
mod client;
mod clock;
mod config;
mod cors;
mod dry_run;
mod enrich;
mod format;
mod handler;
mod in_flight;
mod inflate;
mod intake;
mod news;
mod parameter;
mod rate;
mod reason;
mod reject;
mod sites;
mod spool;
#[cfg(test)]
mod tests;
mod tracker;

#[cfg(any(test, fuzzing))]
pub use any_body::{Became, any_body};
pub use client::TrustedProxy;
pub use config::{Config, IngestError, KeyChoice};
pub use dry_run::Counts;
pub use enrich::{Bots, Enrichment, EnrichmentOverride, Ip};
pub use handler::Ingest;
pub use sites::{Config as Site, SiteError, check_keys};
pub use spool::{Config as SpoolConfig, Logs as SpoolLogs, Spool, SpoolError};
