//! Producers and consumers of two versions, side by side on one topic.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use streamgauge::envelope::{Envelope, Event, Json};
use streamgauge::log::{EventLog, KafkaConfig, KafkaLog};
use streamgauge::publish::{Key, Outgoing, Publisher};
use streamgauge::shutdown::Shutdown;
use streamgauge::telemetry::Metrics;
use streamgauge::worker::{Config, Failure, Newer, Router, Worker, WorkerError};
use tokio::task::JoinHandle;

use crate::support::{self, eventually};

const SOON: Duration = Duration::from_secs(60);
const EACH: usize = 50;

/// Version 1 said a price in whole euros.
#[derive(Serialize, Deserialize)]
struct PricedV1 {
    euros: u64,
}

#[derive(Serialize, Deserialize)]
struct Priced {
    cents: u64,
    currency: String,
}

impl Event for PricedV1 {
    const EVENT_TYPE: &'static str = "item.priced";
    const EVENT_VERSION: u32 = 1;
}

impl Event for Priced {
    const EVENT_TYPE: &'static str = "item.priced";
    const EVENT_VERSION: u32 = 2;
}

/// What a service was told: version and price.
type Told = Arc<Mutex<Vec<(u64, String)>>>;

struct Service {
    told: Told,
    metrics: Arc<Metrics>,
    group: String,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), WorkerError>>,
}

impl Service {
    async fn start(topic: &str, name: &str, router: fn(Told) -> Router<Json>) -> Service {
        let (told, metrics, shutdown) = (Told::default(), Arc::new(Metrics::new().unwrap()), Shutdown::new());
        let group = format!("{topic}-{name}");
        let log = log(topic, &group, &metrics).await;
        let worker = Worker::new(log, Config::default(), metrics.clone(), router(told.clone())).unwrap();
        let running = tokio::spawn(worker.run(shutdown.clone()));
        Service { told, metrics, group, shutdown, running }
    }

    /// Messages that ended so, by the metric.
    fn count(&self, result: &str) -> u64 {
        self.metrics.worker_events_total.with_label_values(&[&self.group, result]).get()
    }

    /// Waits until everything is done with, and ends.
    async fn ended(self) -> (BTreeSet<(u64, String)>, [u64; 3]) {
        let counts = || ["handled", "skipped", "dead_lettered"].map(|result| self.count(result));
        eventually(SOON, &self.group, async || {
            let counts = counts();
            if counts.iter().sum::<u64>() == 2 * EACH as u64 { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
        let counts = counts();
        self.shutdown.begin();
        self.running.await.unwrap().unwrap();
        (self.told.lock().unwrap().iter().cloned().collect(), counts)
    }
}

async fn log(topic: &str, group: &str, metrics: &Arc<Metrics>) -> Arc<dyn EventLog> {
    let (brokers, topic, group) = (support::kafka().await.brokers(), topic.to_owned(), group.to_owned());
    let config = KafkaConfig { brokers, topic, group, ..KafkaConfig::default() };
    Arc::new(KafkaLog::connect(&config, metrics.clone()).unwrap())
}

fn old(told: Told) -> Router<Json> {
    Router::new(Json).on(move |event: Envelope<PricedV1>, _| {
        told.lock().unwrap().push((event.event_version, format!("{} euros", event.payload.euros)));
        async { Ok::<_, Failure>(()) }
    })
}

fn old_and_patient(told: Told) -> Router<Json> {
    old(told).newer(Newer::Skip)
}

fn new(told: Told) -> Router<Json> {
    let lift = |old: PricedV1| Priced { cents: old.euros * 100, currency: "EUR".into() };
    Router::new(Json).upcast(lift).on(move |event: Envelope<Priced>, _| {
        let Priced { cents, currency } = event.payload;
        told.lock().unwrap().push((event.event_version, format!("{cents} {currency}")));
        async { Ok::<_, Failure>(()) }
    })
}

/// Both producers at the same time, so that their events mix in the partitions.
async fn publish(topic: &str) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let publisher = Publisher::new(log(topic, "producers", &metrics).await, Json, metrics);
    let key = |n: usize| Key::Order(format!("item {}", n % 7));
    let old = async {
        for n in 0..EACH {
            publisher.publish(Outgoing::new(PricedV1 { euros: n as u64 }, key(n))).await.unwrap();
        }
    };
    let new = async {
        for n in 0..EACH {
            let priced = Priced { cents: 100 * n as u64 + 99, currency: "NOK".into() };
            publisher.publish(Outgoing::new(priced, key(n))).await.unwrap();
        }
    };
    tokio::join!(old, new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_and_consumers_of_two_versions_live_side_by_side() {
    let kafka = support::kafka().await;
    let topic = kafka.topic("schema", 3).await;
    let services = [
        Service::start(&topic, "old", old).await,
        Service::start(&topic, "patient", old_and_patient).await,
        Service::start(&topic, "new", new).await,
    ];
    publish(&topic).await;
    let [one, patient, both] = services;

    let each = EACH as u64;
    let euros: BTreeSet<_> = (0..EACH).map(|n| (1, format!("{n} euros"))).collect();
    assert_eq!(one.ended().await, (euros.clone(), [each, 0, each]));
    assert_eq!(patient.ended().await, (euros, [each, each, 0]));
    let lifted = (0..EACH).map(|n| (1, format!("{} EUR", 100 * n)));
    let as_they_are = (0..EACH).map(|n| (2, format!("{} NOK", 100 * n + 99)));
    assert_eq!(both.ended().await, (lifted.chain(as_they_are).collect(), [2 * each, 0, 0]));

    let letters = kafka.read(&format!("{topic}.dlq")).await;
    assert_eq!(letters.len(), EACH);
    for letter in letters {
        assert_eq!(letter.header("consumer-group"), format!("{topic}-old"));
        assert_eq!(letter.header("error"), "item.priced version 2: newer than this service, which reads version 1");
        assert_eq!((letter.header("event_version"), letter.header("attempts")), ("2", "1"));
    }
}
