//! How the process is: metrics for Prometheus, and health for whatever restarts it or sends it traffic.
//!
//! `/healthz` says that the process is alive, `/readyz` that every role it has can do its job. Nothing here decides
//! either: roles write [`crate::telemetry::Readiness`], and this reads it.

mod handler;

pub use handler::Admin;

use crate::http::Limits;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};

/// Where metrics and health are served: `[admin]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where to listen. Only this machine can reach the default.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Config {
        Config { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)) }
    }
}

impl Config {
    /// What a client may take of the listener. A scraper and a few probes are all there should be.
    pub fn limits(&self) -> Limits {
        Limits { max_connections: 100, ..Limits::default() }
    }
}
