use super::*;
use crate::envelope::{Absent, Codec, Envelope, Event, Json, Protobuf};
use crate::log::testing::FakeLog;
use crate::log::{Header, LogError, NewRecord};
use crate::telemetry::{Metrics, TraceParent};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Serialize, Deserialize)]
struct Placed {
    order: String,
}

impl Event for Placed {
    const EVENT_TYPE: &'static str = "order.placed";
    const EVENT_VERSION: u32 = 2;
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

fn placed(key: Key) -> Outgoing<Placed> {
    Outgoing::new(Placed { order: "o1".into() }, key)
}

struct World<C> {
    publisher: Publisher<C>,
    log: Arc<FakeLog>,
    metrics: Arc<Metrics>,
}

impl<C: Codec> World<C> {
    fn new(codec: C, failing: Option<fn() -> LogError>) -> World<C> {
        let log = Arc::new(FakeLog { failing, ..FakeLog::default() });
        let metrics = Arc::new(Metrics::new().unwrap());
        World { publisher: Publisher::new(log.clone(), codec, metrics.clone()), log, metrics }
    }

    fn records(&self) -> Vec<NewRecord> {
        self.log.records.lock().unwrap().clone()
    }

    fn count(&self, result: &str) -> u64 {
        self.metrics.published_events_total.with_label_values(&[result]).get()
    }
}

fn open(codec: &impl Codec, record: &NewRecord) -> Envelope<Vec<u8>> {
    let absent = Absent { event_id: format_args!("none"), time_ms: None };
    codec.open(record.value.as_deref().unwrap(), &absent).unwrap()
}

#[tokio::test]
async fn an_event_is_stored_with_its_envelope_key_and_headers() {
    let world = World::new(Json, None);
    let outgoing = placed(Key::User("ann".into())).with_id("e1").at(1_760_000_000_000).of_session("s");
    let outgoing = outgoing.in_trace(TraceParent::parse(TRACE.as_bytes()).unwrap());
    assert_eq!(world.publisher.publish(outgoing).await.unwrap(), "e1");

    let records = world.records();
    let value = r#"{"event_id":"e1","event_type":"order.placed","event_version":2,"timestamp":1760000000000,"user_id":"ann","session_id":"s","payload":{"order":"o1"}}"#;
    assert_eq!(std::str::from_utf8(records[0].value.as_deref().unwrap()).unwrap(), value);
    assert_eq!(records[0].key.as_deref(), Some(&b"ann"[..]));
    let headers = [
        Header::text("event_type", "order.placed"),
        Header::text("event_version", "2"),
        Header::text("content-type", "application/json"),
        Header::text("traceparent", TRACE),
    ];
    assert_eq!(records[0].headers, headers);
    assert_eq!((world.count("accepted"), world.count("rejected"), world.count("failed")), (1, 0, 0));
}

#[tokio::test]
async fn each_kind_of_key_is_the_records_key() {
    let world = World::new(Json, None);
    let keys = [Key::User("u".into()), Key::Order("o".into()), Key::Session("s".into()), Key::Random];
    let ids = world.publisher.publish_all(keys.into_iter().map(placed)).await.unwrap();
    let records = world.records();
    let found: Vec<_> = records.iter().map(|r| std::str::from_utf8(r.key.as_deref().unwrap()).unwrap()).collect();
    assert_eq!(found, ["u", "o", "s", &ids[3]]);
    let whose: Vec<_> = records.iter().map(|r| open(&Json, r)).map(|e| (e.user_id, e.session_id)).collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(whose, [(text("u"), None), (None, None), (None, text("s")), (None, None)]);
}

#[tokio::test]
async fn what_is_not_given_is_made() {
    let world = World::new(Protobuf, None);
    let before_ms = crate::clock::now_ms();
    let paid = Outgoing::new(Paid { cents: 5 }, Key::Random);
    let id = world.publisher.publish(paid).await.unwrap();
    let envelope = open(&Protobuf, &world.records()[0]);
    assert_eq!((envelope.event_id, envelope.payload), (id, vec![8, 5]));
    assert!(envelope.timestamp_ms >= before_ms);
    assert!(world.records()[0].headers.contains(&Header::text("content-type", "application/protobuf")));
}

#[tokio::test]
async fn an_error_leaves_it_open_and_names_the_ids() {
    let world = World::new(Json, Some(|| LogError::NotAcknowledged("timed out".into())));
    let error =
        world.publisher.publish_all([placed(Key::Random), placed(Key::Random).with_id("e2")]).await.unwrap_err();
    assert!(error.is_retryable());
    let PublishError::Unacknowledged { event_ids, .. } = &error else { panic!("{error}") };
    assert_eq!((event_ids.len(), &*event_ids[1]), (2, "e2"));
    assert!(error.to_string().contains("publish them again with the same ids"), "{error}");
    assert_eq!((world.count("accepted"), world.count("failed")), (0, 2));
}

#[tokio::test]
async fn what_breaks_a_rule_is_not_sent() {
    let world = World::new(Json, None);
    let empty = world.publisher.publish(placed(Key::Order(String::new()))).await.unwrap_err();
    assert!(matches!(empty, PublishError::EmptyKey));
    let long = placed(Key::Random).with_id("x".repeat(129));
    let long = world.publisher.publish_all([placed(Key::Random), long]).await.unwrap_err();
    assert_eq!(long.to_string(), "order.placed: `event_id` has 129 bytes, at most 128 are allowed");
    assert!(!long.is_retryable() && world.records().is_empty());
    assert_eq!((world.count("accepted"), world.count("rejected")), (0, 2));
}
