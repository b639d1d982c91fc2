//! A shop: `POST /checkout` publishes `order.placed`, and four services that know nothing of each other do the rest.
//! README.md beside this file shows it at work.
#![allow(clippy::print_stdout, reason = "an example tells people what it does")]

mod analytics;
mod api;
mod email;
mod events;
mod inventory;
mod payment;
#[path = "../shared/mod.rs"]
mod shared;

use clap::Parser;
use shared::{Kafka, Services};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use streamgauge::http::{Limits, Server};
use streamgauge::worker::Config;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    kafka: Kafka,
    /// Where `POST /checkout` listens on this machine; 0 takes a free port.
    #[arg(long, default_value_t = 8082)]
    port: u16,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut services = Services::new(&args.kafka, "checkout")?;
    let api = Arc::new(api::Api { publisher: services.publisher().await? });

    // Each in a group of its own, so each gets every order.
    services.work("inventory", Config::default(), inventory::service())?;
    services.work("payment", Config::default(), payment::service())?;
    services.work("email", Config::default(), email::service())?;
    services.work("analytics", Config::default(), analytics::service())?;

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let server = Server::bind(address, "checkout", Limits::default(), services.metrics.clone()).await?;
    println!("checkout: listening on http://{}; Ctrl-C ends it", server.local_addr());
    let shutdown = services.shutdown.clone();
    services.run(async move {
        server.run(api, shutdown).await;
        Ok(())
    });
    services.ended().await
}
