//! `demo`: everything in one process on the embedded log and store, with synthetic visitors, and a shop for real ones.

use super::signals;
use crate::app::App;
use crate::config::Config;
use crate::counter::{Kind, Spec, default_specs};
use crate::http::{Limits, Server};
use crate::shutdown::Shutdown;
use crate::telemetry::Role;
use crate::traffic::{Driver, Shop, Visitors};
use crate::{log, store};
use anyhow::Context;
use clap::Args;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Visitors that are on the shop's pages at a time.
const CROWD: usize = 200;
/// Where the shop is, if the port is free.
const SHOP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8082);

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where to keep events and counts; without it, a temporary folder that is removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Events per second that the visitors make.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Which visitors: the same number brings the same ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let temporary = match &self.dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().context("cannot make a temporary folder")?),
        };
        let dir = self.dir.as_deref().or(temporary.as_ref().map(tempfile::TempDir::path)).unwrap_or(Path::new("."));
        let config = configuration(dir);
        let timeout = config.shutdown_timeout;
        let app = match App::build(config.clone(), &Role::ALL).await {
            // Somebody took a port between the look and the binding.
            Err(error) if is_taken(&error) => App::build(anywhere(config), &Role::ALL).await?,
            built => built?,
        };
        let addresses = app.addresses();
        let (Some(ingest), Some(query)) = (addresses.ingest, addresses.query) else {
            anyhow::bail!("the demo has no ingest or no query side, which is a mistake of this program");
        };
        let limits = Limits { max_connections: 100, ..Limits::default() };
        let shop = Server::bind(free(SHOP), "shop", limits, app.metrics()).await.context("cannot open the shop")?;
        let shutdown = Shutdown::new();
        signals::watch(shutdown.clone(), timeout)?;
        let visitors = Visitors::new(self.seed, CROWD)?;
        let driver = Driver::new(visitors, self.rate, ingest, shutdown.clone())?;
        let tally = driver.tally();
        welcome(self.rate, [ingest, query, shop.local_addr()], dir);
        let shopping = tokio::spawn(shop.run(Arc::new(Shop::new(ingest, query)), shutdown.clone()));
        let visiting = tokio::spawn(driver.run());
        app.run(shutdown).await?;
        visiting.abort();
        shopping.abort();
        farewell(tally.accepted(), tally.rejected());
        Ok(ExitCode::SUCCESS)
    }
}

fn configuration(dir: &Path) -> Config {
    let mut config = Config::default();
    config.log.kind = log::Kind::Embedded;
    config.store.kind = store::Kind::Embedded;
    config.embedded.path = dir.join("streamgauge.db");
    config.pipeline.flush_interval = Duration::from_secs(1);
    config.counters.extend(more_counters());
    for listen in [&mut config.ingest.listen, &mut config.query.listen, &mut config.admin.listen] {
        *listen = free(*listen);
    }
    config
}

/// What a shop wants to know beside the default counts.
fn more_counters() -> [Spec; 2] {
    let spec = |name: &str, kind, of: &str| Spec {
        name: name.to_owned(),
        kind,
        of: Some(of.to_owned()),
        windows: default_specs().swap_remove(0).windows,
        ..Spec::default()
    };
    let revenue = spec("revenue", Kind::Sum, "payload.amount");
    [
        spec("sessions", Kind::Distinct, "session_id"),
        Spec { factor: Some(100), event: vec!["purchase".to_owned()], ..revenue },
    ]
}

fn is_taken(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<std::io::Error>()).any(|e| e.kind() == ErrorKind::AddrInUse)
}

/// The same on any free ports.
fn anywhere(mut config: Config) -> Config {
    for listen in [&mut config.ingest.listen, &mut config.query.listen, &mut config.admin.listen] {
        listen.set_port(0);
    }
    config
}

/// The address, with any free port if its own is taken: a demo should not fail for that.
fn free(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Ok(_) => address,
        Err(_) => SocketAddr::new(address.ip(), 0),
    }
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
fn welcome(rate: u32, [ingest, query, shop]: [SocketAddr; 3], dir: &Path) {
    println!("streamgauge demo: {rate} events/s of synthetic visitors, kept in {}", dir.display());
    println!();
    println!("  open              http://{query}/");
    println!("  be a visitor      http://{shop}/, a shop with the tracker on it");
    println!("  send your own     curl -s http://{ingest}/events -H 'content-type: application/json' \\");
    println!(r#"                      -d '{{"type":"page_view","session_id":"me","payload":{{"path":"/hello"}}}}'"#);
    println!("  and see it        curl -s 'http://{query}/api/v1/counters/page_views?from=-1m&key=/hello'");
    println!();
    println!("Ctrl-C ends it.");
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
fn farewell(accepted: u64, rejected: u64) {
    println!("The visitors sent {accepted} events; {rejected} were refused, as they should be.");
}
