//! How many, of what, when: the JSON API and the live page, over what the processors wrote to the store.
//!
//! A query process needs no processor beside it and keeps no counts of its own. Every answer reads the partitions'
//! watermarks first and the buckets after them, so a bucket is never called final with a count from before that.
//! Nothing here writes.

mod assets;
mod buckets;
mod budget;
mod config;
mod cors;
mod counters;
mod error;
mod handler;
mod hosts;
mod live;
mod login;
mod monitor;
mod params;
mod partitions;
mod remote_read;
mod starts;
mod status;
mod tail;
mod time;
mod value;

#[cfg(test)]
mod fake;

pub use config::{Config, SHORT_TOKEN};
pub use error::Misconfigured;
use error::QueryError;
pub use handler::Query;
pub use partitions::Partitions;
pub use remote_read::SERIES;
pub use time::time_ms;
