//! What one key may hold up, and what it may not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use streamgauge::log::{KafkaConfig, KafkaLog};
use streamgauge::shutdown::Shutdown;
use streamgauge::telemetry::Metrics;
use streamgauge::worker::{Config, Failure, Message, Worker};

use crate::support::topic::Raw;
use crate::support::{self, eventually, unique};

const SOON: Duration = Duration::from_secs(30);

fn raw(partition: i32, key: &str) -> Raw {
    let (key, value) = (Some(key.as_bytes().to_vec()), Some(b"{}".to_vec()));
    Raw { key, value, partition: Some(partition), ..Raw::default() }
}

/// The first key of partition 0 hangs. Its partition goes on with other keys until too much has piled up behind it; the
/// other partition goes on for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_hangs_holds_up_no_other_partition() {
    let kafka = support::kafka().await;
    let topic = kafka.topic("held-up", 2).await;
    let stuck = std::iter::once(raw(0, "stuck")).chain((0..3_000).map(|n| raw(0, &format!("k{n}"))));
    kafka.produce(&topic, stuck.chain((0..5_000).map(|n| raw(1, &format!("k{}", n % 50)))).collect::<Vec<_>>()).await;

    let group = unique("held-up");
    let config = KafkaConfig { brokers: kafka.brokers(), topic, group: group.clone(), ..KafkaConfig::default() };
    let metrics = Arc::new(Metrics::new().unwrap());
    let log = Arc::new(KafkaLog::connect(&config, metrics.clone()).unwrap());
    let handled: Arc<[AtomicU64; 2]> = Arc::default();
    let handler = {
        let handled = handled.clone();
        move |message: Message| {
            let handled = handled.clone();
            async move {
                if message.key() == Some(b"stuck") {
                    std::future::pending::<()>().await;
                }
                handled[message.partition() as usize].fetch_add(1, Ordering::Relaxed);
                Ok::<(), Failure>(())
            }
        }
    };
    let config = Config {
        max_in_flight: 100,
        handler_timeout: Duration::from_secs(3_600),
        drain: Duration::from_millis(100),
        ..Config::default()
    };
    let shutdown = Shutdown::new();
    let worker = Worker::new(log, config, metrics.clone(), handler).unwrap();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    eventually(SOON, "the other partition is handled, and this one as far as there is room", async || {
        let counts = [0, 1].map(|partition: usize| handled[partition].load(Ordering::Relaxed));
        if counts == [3_000, 5_000] { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    assert_eq!(metrics.worker_in_flight.with_label_values(&[&group]).get(), 1, "only the stuck one is not finished");
    shutdown.begin();
    running.await.unwrap().unwrap();
}

/// The same with one key: all that is behind it waits, and only so much of it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_piles_up_behind_a_key_is_bounded() {
    let kafka = support::kafka().await;
    let topic = kafka.topic("piled-up", 2).await;
    let behind = (0..20_000).map(|_| raw(0, "stuck"));
    kafka.produce(&topic, behind.chain((0..5_000).map(|_| raw(1, "free"))).collect::<Vec<_>>()).await;
    let group = unique("piled-up");
    let config = KafkaConfig { brokers: kafka.brokers(), topic, group: group.clone(), ..KafkaConfig::default() };
    let metrics = Arc::new(Metrics::new().unwrap());
    let log = Arc::new(KafkaLog::connect(&config, metrics.clone()).unwrap());
    let free = metrics.worker_events_total.with_label_values(&[&group, "handled"]);
    let handler = async |message: Message| {
        if message.partition() == 0 {
            std::future::pending::<()>().await;
        }
        Ok::<(), Failure>(())
    };
    let config = Config { max_in_flight: 100, drain: Duration::from_millis(100), ..Config::default() };
    let shutdown = Shutdown::new();
    let worker = Worker::new(log, config, metrics.clone(), handler).unwrap();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    eventually(SOON, "the free key is handled", async || match free.get() {
        5_000 => Ok(()),
        count => Err(format!("{count} are")),
    })
    .await;
    // What one poll brought may be more than there is room for.
    let in_flight = metrics.worker_in_flight.with_label_values(&[&group]).get();
    assert!((1..=1_100).contains(&in_flight), "{in_flight} of 20,000 are read");
    shutdown.begin();
    running.await.unwrap().unwrap();
}
