use super::*;
use crate::event::Invalid;
use serde::{Deserialize, Serialize};

const ABSENT: Absent<'_> = Absent { event_id: format_args!("t/0/7"), time_ms: Some(1_760_000_000_007) };

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Placed {
    order: u64,
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Item {
    quantity: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Paid {
    #[prost(uint64, tag = "1")]
    cents: u64,
}

fn envelope(payload: &[u8]) -> Envelope<Vec<u8>> {
    Envelope {
        event_id: "e1".into(),
        event_type: "order.placed".into(),
        event_version: 2,
        timestamp_ms: 1_760_000_000_000,
        user_id: Some("ann".into()),
        session_id: None,
        payload: payload.to_vec(),
    }
}

fn both() -> [(&'static dyn Codec, Envelope<Vec<u8>>); 2] {
    [(&Json, envelope(br#"{"order":7}"#)), (&Protobuf, envelope(&[8, 7]))]
}

#[test]
fn what_is_sealed_is_opened_as_it_was() {
    for (codec, envelope) in both() {
        let value = codec.seal(&envelope).unwrap();
        assert_eq!(codec.open(&value, &ABSENT).unwrap(), envelope);
        let bare = Envelope { user_id: None, session_id: Some("s".into()), payload: Vec::new(), ..envelope };
        let value = codec.seal(&bare).unwrap();
        assert_eq!(codec.open(&value, &ABSENT).unwrap(), bare);
    }
}

#[test]
fn json_is_the_canonical_form_of_an_event() {
    let value = Json.seal(&envelope(br#"{ "order": 7 }"#)).unwrap();
    let text = r#"{"event_id":"e1","event_type":"order.placed","event_version":2,"timestamp":1760000000000,"user_id":"ann","payload":{"order":7}}"#;
    assert_eq!(std::str::from_utf8(&value).unwrap(), text);
}

#[test]
fn the_protobuf_form_is_the_documented_one() {
    let envelope = Envelope { session_id: Some("s".into()), ..envelope(&[8, 7]) };
    let mut expected = vec![0x0A, 2, b'e', b'1', 0x12, 12];
    expected.extend(b"order.placed");
    // 1760000000000 in groups of seven bits, the lowest first.
    expected.extend([0x18, 2, 0x20, 0x80, 0x80, 0xB3, 0xC1, 0x9C, 0x33]);
    expected.extend([0x2A, 3, b'a', b'n', b'n', 0x32, 1, b's', 0x3A, 2, 8, 7]);
    assert_eq!(Protobuf.seal(&envelope).unwrap(), expected);
}

#[test]
fn what_a_producer_left_out_is_filled_in() {
    let opened = Json.open(br#"{"type":"t"}"#, &ABSENT).unwrap();
    let expected = Envelope {
        event_id: "t/0/7".into(),
        event_type: "t".into(),
        event_version: 1,
        timestamp_ms: 1_760_000_000_007,
        user_id: None,
        session_id: None,
        payload: Vec::new(),
    };
    assert_eq!(opened, expected);
    assert_eq!(Protobuf.open(&[0x12, 1, b't'], &ABSENT).unwrap(), expected);
    let received = Json.open(br#"{"type":"t","received_at":1760000000001,"properties":{"a":1}}"#, &ABSENT).unwrap();
    assert_eq!((received.timestamp_ms, &*received.payload), (1_760_000_000_001, &br#"{"a":1}"#[..]));

    let nothing = Absent { time_ms: None, ..ABSENT };
    let no_time = Err(CodecError::Event(Invalid::NoRecordTime));
    assert_eq!(Json.open(br#"{"type":"t"}"#, &nothing), no_time);
    assert_eq!(Protobuf.open(&[0x12, 1, b't'], &nothing), no_time);
}

#[test]
fn a_registrys_frame_is_recognised_by_both() {
    for (codec, envelope) in both() {
        let framed = [&[0, 0, 0, 0, 42][..], &codec.seal(&envelope).unwrap()].concat();
        let error = codec.open(&framed, &ABSENT).unwrap_err();
        assert!(error.to_string().contains("framed by a schema registry (schema id 42): no codec here"), "{error}");
    }
}

#[test]
fn an_event_that_breaks_a_rule_is_not_sealed() {
    let seals = |change: fn(&mut Envelope<Vec<u8>>)| {
        both().map(|(codec, mut envelope)| {
            change(&mut envelope);
            codec.seal(&envelope).map_err(|e| e.to_string()).unwrap_err()
        })
    };
    let long = "`user_id` has 257 bytes, at most 256 are allowed";
    assert_eq!(seals(|e| e.user_id = Some("x".repeat(257))), [long; 2]);
    assert_eq!(seals(|e| e.event_id.clear()), ["`event_id` is empty: leave it out, or give it at least 1 byte"; 2]);
    assert_eq!(seals(|e| e.event_type = "a\nb".into()), ["`event_type` holds a control character"; 2]);
    assert_eq!(seals(|e| e.event_version = 0), ["`event_version` must be at least 1"; 2]);
    let seconds =
        "`timestamp` lies outside of the years 2000 to 2100: it looks like seconds, milliseconds are expected";
    assert_eq!(seals(|e| e.timestamp_ms = 1_760_000_000), [seconds; 2]);
    for no_type in seals(|e| e.event_type.clear()) {
        assert!(no_type.contains("`event_type`"), "{no_type}");
    }
}

#[test]
fn a_payload_that_is_no_object_is_not_sealed() {
    let error = |payload: &[u8]| Json.seal(&envelope(payload)).unwrap_err().to_string();
    assert_eq!(error(b"[1]"), "`payload` must be an object, not an array");
    assert!(error(b"{").starts_with("the payload cannot be written: "));
    assert!(error(format!("{}1{}", r#"{"a":"#.repeat(33), "}".repeat(33)).as_bytes()).contains("deeper than 32"));
    let sealed = Json.seal(&envelope(b"null")).unwrap();
    assert!(!String::from_utf8(sealed).unwrap().contains("payload"));
}

#[test]
fn payloads_are_coded_by_their_type() {
    let placed = Placed { order: 7, items: vec![Item { quantity: 2 }] };
    assert_eq!(Json.decode(&Json.encode(&placed).unwrap()), Ok(placed));
    assert_eq!(Protobuf.decode(&Protobuf.encode(&Paid { cents: 5 }).unwrap()), Ok(Paid { cents: 5 }));
    assert_eq!(Json.decode(b""), Ok(()));
    assert_eq!(Json.decode(b""), Ok(std::collections::BTreeMap::<String, u32>::new()));
}

#[test]
fn a_payload_that_does_not_fit_is_named_by_its_place_and_not_by_its_value() {
    let error = |json: &str| Codes::<Placed>::decode(&Json, json.as_bytes()).unwrap_err().to_string();
    let inside = error(r#"{"order":1,"items":[{"quantity":1},{"quantity":"secret, expected or not"}]}"#);
    assert_eq!(inside, "the payload does not fit its type: items[1].quantity: expected u32 at line 1 column 72");
    assert!(error(r#"{"order":1}"#).contains("missing field `items`"));
    assert!(error("").contains("missing field `order`"));
    let error = Codes::<Paid>::decode(&Protobuf, &[8]).unwrap_err().to_string();
    assert!(error.starts_with("the payload does not fit its type: "), "{error}");
}

#[test]
fn bytes_that_are_no_envelope_are_refused() {
    for garbage in [&b"{\"event_type\":\"t\"}"[..], &[0xFF; 20], b"text"] {
        let error = Protobuf.open(garbage, &ABSENT).unwrap_err();
        assert!(matches!(error, CodecError::Protobuf(_)), "{error}");
    }
    assert_eq!(Protobuf.open(b"", &ABSENT), Err(CodecError::Event(Invalid::NoEventType)));
}
