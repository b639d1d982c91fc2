use super::*;
use crate::envelope::{Json, Protobuf};
use crate::log::{Header, Headers, LogRecord};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

/// Version 1 says a name, version 2 its parts, version 3 an initial.
#[derive(Debug, Serialize, Deserialize)]
struct V1 {
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct V2 {
    first: String,
    last: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct V3 {
    initial: char,
    last: String,
}

impl Event for V1 {
    const EVENT_TYPE: &'static str = "person.named";
    const EVENT_VERSION: u32 = 1;
}

impl Event for V2 {
    const EVENT_TYPE: &'static str = "person.named";
    const EVENT_VERSION: u32 = 2;
}

impl Event for V3 {
    const EVENT_TYPE: &'static str = "person.named";
    const EVENT_VERSION: u32 = 3;
}

/// Why it was passed over, if it was.
fn skipped(handled: Handled) -> Option<&'static str> {
    match handled {
        Handled::Skipped(reason) => Some(reason),
        Handled::Done(_) => None,
    }
}

const ONE: &str =
    r#"{"event_id":"e1","type":"person.named","timestamp":1760000000000,"payload":{"name":"Ada Lovelace"}}"#;
const TWO: &str = r#"{"event_id":"e2","type":"person.named","event_version":2,"timestamp":1760000000000,"payload":{"first":"Alan","last":"Turing"}}"#;
const THREE: &str = r#"{"event_id":"e3","type":"person.named","event_version":3,"timestamp":1760000000000,"payload":{"initial":"G","last":"Hopper"}}"#;

fn split(old: V1) -> V2 {
    let (first, last) = old.name.split_once(' ').unwrap_or(("?", &old.name));
    V2 { first: first.into(), last: last.into() }
}

fn shorten(old: V2) -> V3 {
    V3 { initial: old.first.chars().next().unwrap_or('?'), last: old.last }
}

/// What handlers got.
type Got = Arc<Mutex<Vec<String>>>;

fn old_service(got: &Got) -> Router<Json> {
    let got = got.clone();
    Router::new(Json).on(move |event: Envelope<V1>, _| {
        got.lock().unwrap().push(format!("{} v{} {}", event.event_id, event.event_version, event.payload.name));
        async { Ok::<_, Failure>(()) }
    })
}

fn new_service(got: &Got) -> Router<Json> {
    let got = got.clone();
    Router::new(Json).upcast(shorten).upcast(split).on(move |event: Envelope<V3>, message: Message| {
        let V3 { initial, last } = &event.payload;
        let place = message.offset();
        got.lock().unwrap().push(format!("{} v{} {initial}. {last} at {place}", event.event_id, event.event_version));
        async { Ok::<_, Failure>(()) }
    })
}

async fn failure(router: &Router<Json>, value: &str) -> String {
    match router.handle(Message::of(value)).await {
        Err(Failure::Permanent(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn old_versions_are_lifted_step_by_step_to_the_handlers() {
    let got = Got::default();
    let router = new_service(&got);
    for value in [ONE, TWO, THREE] {
        assert_eq!(skipped(router.handle(Message::of(value)).await.unwrap()), None);
    }
    let expected = ["e1 v1 A. Lovelace at 0", "e2 v2 A. Turing at 0", "e3 v3 G. Hopper at 0"];
    assert_eq!(*got.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_version_with_a_handler_of_its_own_is_not_lifted() {
    let (got, own) = (Got::default(), Got::default());
    let log = own.clone();
    let router = new_service(&got).on(move |event: Envelope<V2>, _| {
        log.lock().unwrap().push(event.payload.first);
        async { Ok::<_, Failure>(()) }
    });
    for value in [ONE, TWO] {
        router.handle(Message::of(value)).await.unwrap();
    }
    assert_eq!((got.lock().unwrap().len(), own.lock().unwrap().join(" ")), (0, "Ada Alan".into()));
}

#[tokio::test]
async fn a_newer_version_goes_where_configured() {
    let got = Got::default();
    let reason = failure(&old_service(&got), TWO).await;
    assert_eq!(reason, "person.named version 2: newer than this service, which reads version 1");
    let skipping = old_service(&got).newer(Newer::Skip);
    let handled = skipping.handle(Message::of(THREE)).await.unwrap();
    assert_eq!(skipped(handled), Some("its version is newer than any known here"));
    skipping.handle(Message::of(ONE)).await.unwrap();
    assert_eq!(*got.lock().unwrap(), ["e1 v1 Ada Lovelace"]);
}

#[tokio::test]
async fn an_older_version_that_nothing_lifts_is_a_dead_letter() {
    let router =
        Router::new(Json).newer(Newer::Skip).upcast(shorten).on(async |_: Envelope<V3>, _| Ok::<_, Failure>(()));
    let reason = failure(&router, ONE).await;
    assert_eq!(reason, "person.named version 1: this service reads version 2, 3, and no upcaster leads there");
    let dangling = Router::new(Json).upcast(split);
    let reason = failure(&dangling, ONE).await;
    assert_eq!(reason, "person.named version 1: it is lifted to version 2, and no handler reads that");
}

#[tokio::test]
async fn other_types_are_skipped_or_dead_letters() {
    let router = new_service(&Got::default());
    let other = r#"{"type":"person.moved","timestamp":1760000000000}"#;
    let handled = router.handle(Message::of(other)).await.unwrap();
    assert_eq!(skipped(handled), Some("no handler wants its type"));
    assert_eq!(failure(&router.others(Others::DeadLetter), other).await, "no handler here wants its type");
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let router = new_service(&Got::default());
    let no_time = failure(&router, r#"{"type":"person.named"}"#).await;
    assert_eq!(no_time, "the record has no time");
    assert!(failure(&router, "{no JSON").await.starts_with("not valid JSON"));
    let framed = failure(&router, "\0\0\0\0\u{2a}{}").await;
    assert!(framed.contains("schema registry (schema id 42)"), "{framed}");
    let wrong = failure(&router, &THREE.replace("\"G\"", "\"secret\"")).await;
    assert!(wrong.starts_with("person.named version 3: the payload does not fit its type: initial: "), "{wrong}");
    assert!(!wrong.contains("secret"), "{wrong}");
    let lifted = failure(&router, &ONE.replace("name\":", "nom\":")).await;
    assert!(lifted.starts_with("person.named version 1: the payload does not fit its type: missing field"), "{lifted}");
}

#[derive(Debug)]
struct Given(Vec<Header>);

impl Headers for Given {
    fn each(&self, with: &mut dyn FnMut(&str, Option<&[u8]>)) {
        for header in &self.0 {
            with(&header.name, header.value.as_deref());
        }
    }
}

fn message(value: Option<&[u8]>, content_type: &'static str) -> Message {
    let headers = Given(vec![Header::text("content-type", content_type)]);
    let record = LogRecord { partition: 1, offset: 7, time_ms: Some(5), key: None, value, headers: Some(&headers) };
    Message::alone(&"people".into(), &record)
}

#[tokio::test]
async fn the_header_tells_of_another_encoding() {
    let router: Router<Protobuf> = Router::new(Protobuf);
    let of =
        async |content_type| router.handle(message(Some(ONE.as_bytes()), content_type)).await.unwrap_err().to_string();
    assert!(
        of("application/json")
            .await
            .ends_with("(its content-type is application/json; this service reads application/protobuf)")
    );
    assert!(!of("application/protobuf").await.contains("content-type"));
    let tombstone = new_service(&Got::default()).handle(message(None, "application/json")).await.unwrap_err();
    assert_eq!(tombstone, Failure::permanent("the record has no value (a tombstone)"));
}

#[tokio::test]
async fn an_event_without_id_and_time_has_those_of_its_record() {
    let got = Got::default();
    let log = got.clone();
    let router = Router::new(Json).on(move |event: Envelope<V1>, _| {
        log.lock().unwrap().push(format!("{} {}", event.event_id, event.timestamp_ms));
        async { Ok::<_, Failure>(()) }
    });
    let value = br#"{"type":"person.named","payload":{"name":"x"}}"#;
    router.handle(message(Some(value), "application/json")).await.unwrap();
    assert_eq!(*got.lock().unwrap(), ["people/1/7 5"]);
}

#[derive(Clone, PartialEq, prost::Message)]
struct Counted {
    #[prost(uint32, tag = "1")]
    people: u32,
}

impl Event for Counted {
    const EVENT_TYPE: &'static str = "people.counted";
    const EVENT_VERSION: u32 = 1;
}

#[tokio::test]
async fn events_in_protobuf_reach_their_handler() {
    let sealed = Envelope {
        event_id: "e1".into(),
        event_type: Counted::EVENT_TYPE.into(),
        event_version: 1,
        timestamp_ms: 1_760_000_000_000,
        user_id: None,
        session_id: None,
        payload: Protobuf.encode(&Counted { people: 7 }).unwrap(),
    };
    let got = Got::default();
    let log = got.clone();
    let router = Router::new(Protobuf).on(move |event: Envelope<Counted>, _| {
        log.lock().unwrap().push(format!("{} {}", event.event_id, event.payload.people));
        async { Ok::<_, Failure>(()) }
    });
    let value = Protobuf.seal(&sealed).unwrap();
    assert!(matches!(router.handle(message(Some(&value), "application/protobuf")).await, Ok(Handled::Done(_))));
    assert_eq!(*got.lock().unwrap(), ["e1 7"]);
}
