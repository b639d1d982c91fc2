//! Typed events on a real Kafka, looked at from outside, and counted by the pipeline like any others.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use streamgauge::envelope::{Codec, Event, Json, Protobuf};
use streamgauge::log::{EventLog, KafkaConfig, KafkaLog};
use streamgauge::publish::{Key, Outgoing, PublishError, Publisher};
use streamgauge::telemetry::Metrics;

use crate::support::app::Running;
use crate::support::oracle::Recount;
use crate::support::topic::Raw;
use crate::support::{self, Kafka, Settings, unique};

#[derive(Serialize, Deserialize)]
struct PageView {
    path: String,
}

impl Event for PageView {
    const EVENT_TYPE: &'static str = "page_view";
    const EVENT_VERSION: u32 = 3;
}

#[derive(Clone, PartialEq, prost::Message)]
struct Paid {
    #[prost(uint64, tag = "1")]
    cents: u64,
}

impl Event for Paid {
    const EVENT_TYPE: &'static str = "order.paid";
    const EVENT_VERSION: u32 = 1;
}

/// The outer message as docs/publishing.md describes it.
#[derive(Clone, PartialEq, prost::Message)]
struct Documented {
    #[prost(string, tag = "1")]
    event_id: String,
    #[prost(string, tag = "2")]
    event_type: String,
    #[prost(uint64, tag = "3")]
    event_version: u64,
    #[prost(int64, tag = "4")]
    timestamp_ms: i64,
    #[prost(string, optional, tag = "5")]
    user_id: Option<String>,
    #[prost(string, optional, tag = "6")]
    session_id: Option<String>,
    #[prost(bytes = "vec", tag = "7")]
    payload: Vec<u8>,
}

fn publisher<C: Codec>(kafka: &Kafka, topic: &str, codec: C) -> Publisher<C> {
    let config = KafkaConfig { brokers: kafka.brokers(), topic: topic.to_owned(), ..KafkaConfig::default() };
    let metrics = Arc::new(Metrics::new().unwrap());
    let log: Arc<dyn EventLog> = Arc::new(KafkaLog::connect(&config, metrics.clone()).unwrap());
    Publisher::new(log, codec, metrics)
}

fn view(n: usize, key: Key) -> Outgoing<PageView> {
    Outgoing::new(PageView { path: format!("/{n}") }, key)
}

#[tokio::test]
async fn the_events_of_a_key_are_in_one_partition_in_order_with_what_they_say_of_themselves() {
    let kafka = support::kafka().await;
    let topic = kafka.topic("publish", 4).await;
    let publisher = publisher(kafka, &topic, Json);
    let users = ["ann", "bob", "cem", "dana"];
    let ids = publisher
        .publish_all((0..40).map(|n| view(n, Key::User(users[n % 4].into()))))
        .await
        .expect("all acknowledged");

    let records = kafka.read(&topic).await;
    assert_eq!((ids.len(), records.len()), (40, 40));
    for (n, user) in users.iter().enumerate() {
        let of_user: Vec<_> = records.iter().filter(|record| record.key.as_deref() == Some(user.as_bytes())).collect();
        assert_eq!(of_user.len(), 10);
        assert!(of_user.iter().all(|record| record.partition == of_user[0].partition));
        let values = of_user.iter().map(|record| serde_json::from_slice::<Value>(record.value.as_deref().unwrap()));
        for (turn, event) in values.enumerate() {
            let (event, place) = (event.unwrap(), n + 4 * turn);
            assert_eq!(event["payload"], json!({"path": format!("/{place}")}));
            assert_eq!((&event["event_id"], &event["user_id"]), (&json!(ids[place]), &json!(user)));
        }
    }
    let headers = ["event_type", "event_version", "content-type"].map(|name| records[0].header(name));
    assert_eq!(headers, ["page_view", "3", "application/json"]);
}

#[tokio::test]
async fn protobuf_is_written_as_documented() {
    let kafka = support::kafka().await;
    let topic = kafka.topic("publish", 1).await;
    let paid = Outgoing::new(Paid { cents: 4_200 }, Key::Order("o1".into())).with_id("e1").at(1_760_000_000_000);
    publisher(kafka, &topic, Protobuf).publish(paid).await.expect("an acknowledgement");

    let record = kafka.read(&topic).await.remove(0);
    assert_eq!((record.key.as_deref(), record.header("content-type")), (Some(&b"o1"[..]), "application/protobuf"));
    let documented = Documented {
        event_id: "e1".into(),
        event_type: "order.paid".into(),
        event_version: 1,
        timestamp_ms: 1_760_000_000_000,
        user_id: None,
        session_id: None,
        payload: Paid { cents: 4_200 }.encode_to_vec(),
    };
    assert_eq!(Documented::decode(record.value.as_deref().unwrap()), Ok(documented));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pipeline_counts_what_is_published_once_and_names_a_registrys_frame() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic("publish", 2).await;
    let publisher = publisher(kafka, &topic, Json);
    for _ in 0..2 {
        let same = (0..20).map(|n| view(n, Key::Session("s".into())).with_id(format!("e{n}")));
        publisher.publish_all(same).await.expect("all acknowledged");
    }
    let framed = Raw { value: Some([&[0, 0, 0, 0, 42][..], b"\x02\x06foo"].concat()), ..Raw::default() };
    kafka.produce(&topic, [framed]).await;

    let settings = Settings::kafka(kafka, redis, &topic, &unique("publish"));
    let gauge = Running::start(&settings).await;
    gauge.until_consumed(41).await;
    let recount = Recount::of_topic(kafka, &settings).await;
    assert_eq!(["counted", "duplicate", "dead_lettered"].map(|outcome| recount.outcome(outcome)), [20, 20, 1]);
    recount.assert_in_redis(redis, &settings).await;
    gauge.stop().await;

    let letters = kafka.read(&format!("{topic}.dlq")).await;
    let error = letters[0].header("error");
    assert!(error.starts_with("the value is framed by a schema registry (schema id 42)"), "{error}");
}

#[tokio::test]
async fn an_event_is_not_published_while_kafka_is_away_and_is_with_the_same_id_afterwards() {
    let kafka = Kafka::start().await;
    let topic = kafka.topic("publish", 1).await;
    let publisher = publisher(&kafka, &topic, Json);
    publisher.publish(view(0, Key::Random).with_id("before")).await.expect("an acknowledgement");
    kafka.kill();
    let error = publisher.publish(view(1, Key::Random).with_id("during")).await.expect_err("Kafka is away");
    let PublishError::Unacknowledged { event_ids, .. } = &error else { panic!("{error}") };
    assert!(error.is_retryable() && event_ids == &["during"]);

    kafka.restart().await;
    support::eventually(Duration::from_secs(60), "it is published", async || {
        publisher.publish(view(1, Key::Random).with_id("during")).await
    })
    .await;
    let ids: Vec<Value> = kafka.read(&topic).await.iter().map(|record| event_id(record.value.as_deref())).collect();
    assert_eq!((&ids[0], ids.last()), (&json!("before"), Some(&json!("during"))));
}

fn event_id(value: Option<&[u8]>) -> Value {
    serde_json::from_slice::<Value>(value.expect("a value")).expect("JSON")["event_id"].take()
}
