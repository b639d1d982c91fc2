//! The dashboard of the workers, asked of a real Prometheus that scrapes a service under load.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use streamgauge::admin::Admin;
use streamgauge::envelope::{Envelope, Event, Json};
use streamgauge::http::{Limits, Server};
use streamgauge::log::{EventLog, KafkaConfig, KafkaLog};
use streamgauge::publish::{Key, Outgoing, Publisher};
use streamgauge::shutdown::Shutdown;
use streamgauge::telemetry::{Metrics, Readiness};
use streamgauge::worker::{Config, Failure, Router, Worker};

use super::panels::{all_answered, questions};
use super::watcher::Watcher;
use crate::support::doors::{Doors, SOON};
use crate::support::{self, eventually, unique};

#[derive(Serialize, Deserialize)]
struct Beat {
    n: usize,
}

impl Event for Beat {
    const EVENT_TYPE: &'static str = "beat";
    const EVENT_VERSION: u32 = 1;
}

/// Serves the metrics of this process, as a service does that is written with the library.
async fn serve(metrics: &Arc<Metrics>, shutdown: &Shutdown) -> Doors {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(any, "admin", Limits::default(), metrics.clone()).await.unwrap();
    let address = server.local_addr().to_string();
    let admin = Arc::new(Admin::new(metrics.clone(), Arc::new(Readiness::new(&[]))));
    tokio::spawn(server.run(admin, shutdown.clone()));
    // A service answers no questions about counts, and the dashboard asks none.
    Doors::new(None, Some(address.clone()), Some(address))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_about_workers_answers_under_load() {
    let (metrics, shutdown) = (Arc::new(Metrics::new().unwrap()), Shutdown::new());
    let brokers = support::kafka().await.brokers();
    let topic = unique("watched-worker");
    let kafka = KafkaConfig { brokers, topic: topic.clone(), group: topic, ..KafkaConfig::default() };
    let log: Arc<dyn EventLog> = Arc::new(KafkaLog::connect(&kafka, metrics.clone()).unwrap());
    log.prepare().await.unwrap();
    let beats = Router::new(Json).on(async |beat: Envelope<Beat>, _| match beat.payload.n % 10 {
        0 => Err(Failure::retryable("not this time")),
        _ => Ok(()),
    });
    let worker = Worker::new(log.clone(), Config::default(), metrics.clone(), beats).unwrap();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    let publisher = Publisher::new(log, Json, metrics.clone());
    let (load, ending) = (shutdown.clone(), shutdown.clone());
    let publishing = tokio::spawn(async move {
        for n in 0.. {
            let pause = tokio::time::timeout(Duration::from_millis(20), load.begun());
            if pause.await.is_ok() {
                break;
            }
            publisher.publish(Outgoing::new(Beat { n }, Key::Random)).await.expect("an acknowledgement");
        }
    });

    let prometheus = Watcher::start(&serve(&metrics, &shutdown).await).await;
    let questions = questions(|file| file.ends_with("workers.json"));
    assert!(questions.len() > 12, "only {} questions", questions.len());
    eventually(SOON, "each expression has an answer", async || all_answered(&prometheus, &questions).await).await;
    ending.begin();
    publishing.await.unwrap();
    running.await.unwrap().unwrap();
}
