//! Where rounds are played: the services that processes of a round use, kept for many rounds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use tokio::sync::OnceCell;

use crate::support::oracle::{Differences, Recount};
use crate::support::proxy::{Protocol, Proxy};
use crate::support::topic::Record;
use crate::support::{self, Kafka, Proxied, Redis, Settings, free_ports};

/// What a log holds, and where its partitions end.
pub(super) type Log = (Vec<Record>, BTreeMap<i32, i64>);

/// A log and a store, and the way to them from outside.
#[async_trait(?Send)]
pub(super) trait Stage {
    /// The configuration of a round of this name.
    fn settings(&self, name: &str) -> Settings;

    /// For clients that write to the topic themselves, if there is one.
    fn client(&self) -> Option<ClientConfig>;

    /// All that a round's log holds.
    async fn log(&self, settings: &Settings) -> Log;

    /// All dead letters of a round.
    async fn letters(&self, settings: &Settings) -> Vec<Record>;

    /// In what the store itself differs, if it can be looked into.
    async fn differences(&self, recount: &Recount, settings: &Settings) -> Option<Differences>;

    /// Brings back what a fault took away.
    async fn heal(&self);

    /// What starts the program in its place: a command and its arguments, to which the program's are added.
    fn starter(&self) -> Vec<String> {
        Vec::new()
    }

    /// The folder of the file that is both log and store, if it is one: only one process can use it.
    fn folder(&self) -> Option<PathBuf> {
        None
    }
}

/// One Kafka and one Redis.
pub(super) struct Services<'s> {
    pub(super) kafka: &'s Kafka,
    pub(super) redis: &'s Redis,
    brokers: String,
    redis_url: String,
    own: Option<&'s Own>,
}

/// The services of the campaign's own, with the proxies in front of them.
pub(super) struct Own {
    pub(super) kafka: Kafka,
    pub(super) redis: Redis,
    pub(super) kafka_proxy: Proxy,
    pub(super) redis_proxy: Proxy,
}

/// All that rounds need, started when the first of them needs it.
#[derive(Default)]
pub(super) struct World {
    own: OnceCell<Own>,
}

impl World {
    /// Services of the campaign's own: they may be killed.
    pub(super) async fn own(&self) -> &Own {
        self.own.get_or_init(Own::start).await
    }
}

impl Own {
    async fn start() -> Own {
        let [behind, kafka_port, redis_port] = free_ports();
        let kafka_proxy = Proxy::start(Protocol::Kafka, kafka_port, behind).await;
        let (kafka, redis) = tokio::join!(Kafka::start_behind(Proxied { behind, proxy: kafka_port }), Redis::start());
        let redis_proxy = Proxy::start(Protocol::Redis, redis_port, redis.port()).await;
        Own { kafka, redis, kafka_proxy, redis_proxy }
    }

    /// Reached directly.
    pub(super) fn direct(&self) -> Services<'_> {
        Services { own: Some(self), ..Services::of(&self.kafka, &self.redis) }
    }

    /// Both reached through their proxies.
    pub(super) fn proxied(&self) -> Services<'_> {
        let redis_url = format!("redis://127.0.0.1:{}", self.redis_proxy.port());
        Services { brokers: self.kafka.proxied_brokers(), redis_url, ..self.direct() }
    }

    /// Everything runs, and nothing is in the way.
    async fn heal(&self) {
        self.kafka_proxy.normal();
        self.redis_proxy.normal();
        if !self.kafka.is_running() {
            self.kafka.spawn();
        }
        if !self.redis.is_running() {
            self.redis.restart().await;
        }
        let mut redis = self.redis.connection().await;
        let mut unlimited = redis::cmd("CONFIG");
        unlimited.arg("SET").arg("maxmemory").arg(0).query_async::<()>(&mut redis).await.expect("no limit");
        self.kafka.until_up().await;
    }
}

impl<'s> Services<'s> {
    fn of(kafka: &'s Kafka, redis: &'s Redis) -> Services<'s> {
        Services { kafka, redis, brokers: kafka.brokers(), redis_url: redis.url(), own: None }
    }

    /// Those that all tests share: nothing may happen to them.
    pub(super) async fn shared() -> Services<'static> {
        Services::of(support::kafka().await, support::redis().await)
    }
}

#[async_trait(?Send)]
impl Stage for Services<'_> {
    fn settings(&self, name: &str) -> Settings {
        // A member that was killed is replaced as soon as its session is over, and a broker that says nothing any more
        // is given up sooner than after a minute.
        Settings::kafka(self.kafka, self.redis, name, name)
            .with("log.kafka.brokers", self.brokers.as_str())
            .with("store.redis.url", self.redis_url.as_str())
            .with_property("session.timeout.ms", "3000")
            .with_property("heartbeat.interval.ms", "500")
            .with_property("socket.timeout.ms", "5000")
    }

    fn client(&self) -> Option<ClientConfig> {
        Some(self.kafka.client())
    }

    async fn log(&self, settings: &Settings) -> Log {
        let topic = settings.text_of("log.kafka.topic");
        self.kafka.fold(topic, Vec::new(), Vec::push).await
    }

    async fn letters(&self, settings: &Settings) -> Vec<Record> {
        self.kafka.read(settings.text_of("log.kafka.dead_letter_topic")).await
    }

    async fn differences(&self, recount: &Recount, settings: &Settings) -> Option<Differences> {
        Some(recount.differences_in_redis(self.redis, settings).await)
    }

    async fn heal(&self) {
        if let Some(own) = self.own {
            own.heal().await;
        }
    }
}
