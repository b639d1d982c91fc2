//! Where a group begins, and what it says of its lag as partitions come and go.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewPartitions};
use streamgauge::log::{KafkaConfig, KafkaLog};
use streamgauge::shutdown::Shutdown;
use streamgauge::telemetry::Metrics;
use streamgauge::worker::{Config, Failure, Message, Start, Worker, WorkerError};
use tokio::task::JoinHandle;

use crate::support::topic::Raw;
use crate::support::{self, Kafka, eventually, unique};

const LIMIT: Duration = Duration::from_secs(40);

struct Member {
    metrics: Arc<Metrics>,
    group: String,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), WorkerError>>,
}

impl Member {
    /// Notes what it takes: partition and offset.
    fn join(kafka: &Kafka, topic: &str, group: &str, start: Start, taken: &Arc<Mutex<BTreeSet<(i32, i64)>>>) -> Member {
        let mut config = KafkaConfig {
            brokers: kafka.brokers(),
            topic: topic.to_owned(),
            group: group.to_owned(),
            ..KafkaConfig::default()
        };
        config.properties.insert("topic.metadata.refresh.interval.ms".to_owned(), "500".to_owned());
        let metrics = Arc::new(Metrics::new().unwrap());
        let log = Arc::new(KafkaLog::connect(&config, metrics.clone()).unwrap());
        let taken = taken.clone();
        let handler = move |message: Message| {
            taken.lock().unwrap().insert((message.partition(), message.offset()));
            std::future::ready(Ok::<(), Failure>(()))
        };
        let config = Config { start, commit_interval: Duration::from_millis(100), ..Config::default() };
        let shutdown = Shutdown::new();
        let worker = Worker::new(log, config, metrics.clone(), handler).unwrap();
        let running = tokio::spawn(worker.run(shutdown.clone()));
        Member { metrics, group: group.to_owned(), shutdown, running }
    }

    /// The partitions of which it says how far behind the group is, with the number.
    fn lags(&self) -> Vec<(String, String)> {
        let text = self.metrics.render().unwrap();
        let prefix = format!("streamgauge_worker_lag_records{{group=\"{}\",partition=\"", self.group);
        let lags = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "));
        lags.map(|(partition, lag)| (partition.to_owned(), lag.to_owned())).collect()
    }

    async fn end(self) {
        self.shutdown.begin();
        self.running.await.unwrap().unwrap();
    }
}

fn raw(partition: i32) -> Raw {
    Raw { value: Some(b"{}".to_vec()), partition: Some(partition), ..Raw::default() }
}

async fn until_committed(kafka: &Kafka, topic: &str, group: &str, expected: &[i64]) {
    eventually(LIMIT, "the group has its positions", async || {
        let found = kafka.positions(topic, group).await;
        let is_there = found.iter().map(|(committed, _)| committed.unwrap_or(-1)).eq(expected.iter().copied());
        if is_there { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latest_is_for_the_partitions_that_there_were_when_the_group_was_made() {
    let kafka = support::kafka().await;
    let topic = kafka.topic("latest", 2).await;
    let old = [raw(0), raw(0), raw(1)];
    kafka.produce(&topic, old.to_vec()).await;
    let (group, taken) = (unique("latest"), Arc::default());
    let member = Member::join(kafka, &topic, &group, Start::Latest, &taken);
    until_committed(kafka, &topic, &group, &[2, 1]).await;
    kafka.produce(&topic, vec![raw(0)]).await;

    let more = kafka.admin().create_partitions(&[NewPartitions::new(&topic, 3)], &AdminOptions::new()).await.unwrap();
    assert!(more[0].is_ok(), "{more:?}");
    kafka.produce(&topic, vec![raw(2), raw(2)]).await;
    until_committed(kafka, &topic, &group, &[3, 1, 2]).await;
    assert_eq!(*taken.lock().unwrap(), BTreeSet::from([(0, 2), (2, 0), (2, 1)]));
    member.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_partition_tells_its_lag_and_nobody_else_does() {
    let kafka = support::kafka().await;
    let topic = kafka.topic("lag", 2).await;
    kafka.produce(&topic, vec![raw(0), raw(1)]).await;
    let (group, taken) = (unique("lag"), Arc::default());
    let one = Member::join(kafka, &topic, &group, Start::Earliest, &taken);
    let told = |member: &Member, partitions: usize| {
        let lags = member.lags();
        let is_right = lags.len() == partitions && lags.iter().all(|(_, lag)| lag == "0");
        if is_right { Ok(lags) } else { Err(format!("{lags:?}")) }
    };
    eventually(LIMIT, "one tells of both", async || told(&one, 2)).await;
    let other = Member::join(kafka, &topic, &group, Start::Earliest, &taken);
    let of_one = eventually(LIMIT, "one tells of its own", async || told(&one, 1)).await;
    let of_other = eventually(LIMIT, "the other tells of its own", async || told(&other, 1)).await;
    assert_ne!(of_one, of_other);
    other.end().await;
    eventually(LIMIT, "one tells of both again", async || told(&one, 2)).await;
    one.end().await;
}
