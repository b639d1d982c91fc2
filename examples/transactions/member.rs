//! A member of the group that keeps the balances in Redis. The balance and the note that the event is handled change in
//! one atomic step, so each transfer changes it once: however often it is published, delivered or interrupted.

use crate::events::MoneyTransferred;
use crate::shared::Services;
use redis::Cmd;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use streamgauge::admin::Admin;
use streamgauge::envelope::{Envelope, Json};
use streamgauge::http::{Limits, Server};
use streamgauge::store::{RedisConfig, RedisUrl};
use streamgauge::telemetry::Readiness;
use streamgauge::worker::{Config, Effects, Failure, Idempotency, Message, Router};
use tokio::sync::Mutex;

/// The group's name, behind the topic's.
const GROUP: &str = "balances";
/// A transfer that is published again comes within this time.
const HORIZON: Duration = Duration::from_secs(24 * 3_600);

/// Where the balances are.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Balances {
    /// The Redis of all members.
    #[arg(long, default_value = "redis://localhost:6379")]
    pub(crate) redis: String,
    /// What its keys begin with.
    #[arg(long, default_value = "transactions")]
    pub(crate) prefix: String,
}

impl Balances {
    /// The hash of the balances. It begins like the keys of the notes, so that in a cluster both are in one slot.
    pub(crate) fn key(&self, topic: &str) -> String {
        format!("{}:{{{topic}-{GROUP}}}:balances", self.prefix)
    }
}

pub(crate) fn start(services: &mut Services, balances: &Balances, takes: Duration) -> anyhow::Result<()> {
    let redis = RedisConfig {
        url: RedisUrl::from(balances.redis.clone()),
        prefix: balances.prefix.clone(),
        ..RedisConfig::default()
    };
    let config = Config { idempotency: Some(Idempotency::redis(&redis, HORIZON)?), ..Config::default() };
    services.work(GROUP, config, book(balances.key(&services.topic), takes))
}

/// A member does one transfer after the other, as if it had one connection to something slow: more members do more.
fn book(key: String, takes: Duration) -> Router<Json> {
    let connection = Arc::new(Mutex::new(()));
    Router::new(Json).on(move |event: Envelope<MoneyTransferred>, message: Message| {
        let (key, connection) = (key.clone(), connection.clone());
        async move {
            let connection = connection.lock().await;
            tokio::time::sleep(takes).await;
            drop(connection);
            let MoneyTransferred { from, to, cents } = event.payload;
            println!("member: {from} paid {to} {cents} cents ({message:?})");
            Ok::<_, Failure>(Effects::redis([Cmd::hincr(&key, from, -cents), Cmd::hincr(&key, to, cents)]))
        }
    })
}

/// Serves `/metrics` for Prometheus.
pub(crate) async fn serve_metrics(services: &mut Services, port: u16) -> anyhow::Result<()> {
    let admin = Arc::new(Admin::new(services.metrics.clone(), Arc::new(Readiness::new(&[]))));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let server = Server::bind(address, "admin", Limits::default(), services.metrics.clone()).await?;
    println!("member: metrics at http://{}/metrics; Ctrl-C ends it", server.local_addr());
    let shutdown = services.shutdown.clone();
    services.run(async move {
        server.run(admin, shutdown).await;
        Ok(())
    });
    Ok(())
}
