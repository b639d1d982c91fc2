//! Where rounds are played: the services that processes of a round use, kept for many rounds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use rdkafka::admin::AdminOptions;
use tokio::sync::OnceCell;

use crate::support::oracle::{Differences, Recount};
use crate::support::proxy::{Protocol, Proxy};
use crate::support::topic::Record;
use crate::support::{self, Kafka, KafkaCluster, Proxied, Redis, RedisCluster, Settings, free_ports};

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

    /// Takes away what a round wrote and nobody needs any more.
    async fn clear(&self, _: &Settings) {}

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
    kafka: &'s Kafka,
    redis: &'s Redis,
    brokers: String,
    redis_url: String,
    /// Those that may come to harm.
    own_kafka: Option<&'s OwnKafka>,
    own_redis: Option<&'s OwnRedis>,
    own_brokers: Option<&'s KafkaCluster>,
    own_cluster: Option<&'s RedisCluster>,
}

/// A Kafka that may come to harm, with a proxy in front of it.
pub(super) struct OwnKafka {
    pub(super) kafka: Kafka,
    pub(super) proxy: Proxy,
}

/// A Redis that may come to harm, with a proxy in front of it.
pub(super) struct OwnRedis {
    pub(super) redis: Redis,
    pub(super) proxy: Proxy,
}

/// The services of the campaign's own, each started when a round first needs it.
#[derive(Default)]
pub(super) struct World {
    kafka: OnceCell<OwnKafka>,
    redis: OnceCell<OwnRedis>,
    cluster: OnceCell<RedisCluster>,
    brokers: OnceCell<KafkaCluster>,
}

impl World {
    pub(super) async fn cluster(&self) -> &RedisCluster {
        self.cluster.get_or_init(RedisCluster::start).await
    }

    pub(super) async fn brokers(&self) -> &KafkaCluster {
        self.brokers.get_or_init(KafkaCluster::start).await
    }

    pub(super) async fn kafka(&self) -> &OwnKafka {
        self.kafka.get_or_init(OwnKafka::start).await
    }

    pub(super) async fn redis(&self) -> &OwnRedis {
        self.redis.get_or_init(OwnRedis::start).await
    }
}

impl OwnKafka {
    async fn start() -> OwnKafka {
        let [behind, port] = free_ports();
        let proxy = Proxy::start(Protocol::Kafka, port, behind).await;
        let kafka = Kafka::start_behind(Proxied { behind, proxy: port }).await;
        OwnKafka { kafka, proxy }
    }

    /// This Kafka, reached directly, and a Redis that nothing happens to.
    pub(super) async fn stage(&self) -> Services<'_> {
        Services { own_kafka: Some(self), ..Services::of(&self.kafka, support::redis().await) }
    }

    /// The same, reached through the proxy.
    pub(super) async fn proxied(&self) -> Services<'_> {
        Services { brokers: self.kafka.proxied_brokers(), ..self.stage().await }
    }

    async fn heal(&self) {
        self.proxy.normal();
        if !self.kafka.is_running() {
            self.kafka.spawn();
        }
        self.kafka.until_up().await;
    }
}

impl OwnRedis {
    async fn start() -> OwnRedis {
        let redis = Redis::start().await;
        let [port] = free_ports();
        let proxy = Proxy::start(Protocol::Redis, port, redis.port()).await;
        OwnRedis { redis, proxy }
    }

    /// This Redis, reached directly, and a Kafka that nothing happens to.
    pub(super) async fn stage(&self) -> Services<'_> {
        Services { own_redis: Some(self), ..Services::of(support::kafka().await, &self.redis) }
    }

    /// The same, reached through the proxy.
    pub(super) async fn proxied(&self) -> Services<'_> {
        Services { redis_url: format!("redis://127.0.0.1:{}", self.proxy.port()), ..self.stage().await }
    }

    async fn heal(&self) {
        self.proxy.normal();
        if !self.redis.is_running() {
            self.redis.restart().await;
        }
        let mut redis = self.redis.connection().await;
        let mut unlimited = redis::cmd("CONFIG");
        unlimited.arg("SET").arg("maxmemory").arg(0).query_async::<()>(&mut redis).await.expect("no limit");
    }
}

impl<'s> Services<'s> {
    pub(super) fn of(kafka: &'s Kafka, redis: &'s Redis) -> Services<'s> {
        let (brokers, redis_url) = (kafka.brokers(), redis.url());
        Services {
            kafka,
            redis,
            brokers,
            redis_url,
            own_kafka: None,
            own_redis: None,
            own_brokers: None,
            own_cluster: None,
        }
    }

    /// Events come from three brokers.
    pub(super) async fn of_brokers(kafka: &'s KafkaCluster) -> Services<'s> {
        Services { own_brokers: Some(kafka), ..Services::of(kafka.any(), support::redis().await) }
    }

    /// Counts go into a Redis Cluster.
    pub(super) async fn in_cluster(cluster: &'s RedisCluster) -> Services<'s> {
        Services { own_cluster: Some(cluster), ..Services::shared().await }
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
        let settings = Settings::kafka(self.kafka, self.redis, name, name)
            .with("log.kafka.brokers", self.brokers.as_str())
            .with("store.redis.url", self.redis_url.as_str())
            .with_property("session.timeout.ms", "3000")
            .with_property("heartbeat.interval.ms", "500")
            .with_property("socket.timeout.ms", "5000");
        match (self.own_brokers, self.own_cluster) {
            (Some(_), _) => settings.with("log.kafka.replication", 3),
            (None, Some(cluster)) => settings.on_cluster(cluster),
            (None, None) => settings,
        }
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
        Some(match self.own_cluster {
            Some(cluster) => recount.differences_in_cluster(cluster, settings).await,
            None => recount.differences_in_redis(self.redis, settings).await,
        })
    }

    /// A broker that restarts looks at every partition that it has: a long campaign would become a slow one.
    async fn clear(&self, settings: &Settings) {
        let topics = [settings.text_of("log.kafka.topic"), settings.text_of("log.kafka.dead_letter_topic")];
        let deleted = self.kafka.admin().delete_topics(&topics, &AdminOptions::new()).await.expect("an answer");
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }

    async fn heal(&self) {
        if let Some(own) = self.own_kafka {
            own.heal().await;
        }
        if let Some(own) = self.own_redis {
            own.heal().await;
        }
        if let Some(own) = self.own_brokers {
            own.heal().await;
        }
        if let Some(own) = self.own_cluster {
            own.heal().await;
        }
    }
}
