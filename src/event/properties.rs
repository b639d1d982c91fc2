//! What holds for every event and for every sequence of bytes.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn text() -> impl Strategy<Value = String> {
    "(\\PC|[\"\\\\\0-\u{1f}]){0,12}"
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        text().prop_map(Value::from)
    ]
}

fn object() -> impl Strategy<Value = Value> {
    let value = scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map(text(), inner, 0..3).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    });
    prop::collection::hash_map(text(), value, 0..4).prop_map(|m| Value::Object(m.into_iter().collect()))
}

/// An event as a client may send it, with the optional fields there, null or absent.
fn sent() -> impl Strategy<Value = Value> {
    let optional = |value: BoxedStrategy<Value>| prop::option::of(prop_oneof![1 => Just(Value::Null), 4 => value]);
    (
        "[^\\p{Cc}]{1,30}",
        optional("[^\0]{1,30}".prop_map(Value::from).boxed()),
        optional((1..=u64::MAX).prop_map(Value::from).boxed()),
        optional((946_684_800_000_u64..4_133_980_800_000).prop_map(Value::from).boxed()),
        optional(text().prop_map(Value::from).boxed()),
        optional(text().prop_map(Value::from).boxed()),
        optional(object().boxed()),
        prop::collection::hash_map("x[a-z\"\\\\é]{0,4}", scalar(), 0..3),
    )
        .prop_map(|(event_type, id, version, timestamp, user, session, payload, extra)| {
            let mut event = json!({ "event_type": event_type });
            let optional = [
                ("event_id", id),
                ("event_version", version),
                ("timestamp", timestamp),
                ("user_id", user),
                ("session_id", session),
                ("payload", payload),
            ];
            for (name, value) in optional {
                event.as_object_mut().unwrap().extend(value.map(|value| (name.to_owned(), value)));
            }
            event.as_object_mut().unwrap().extend(extra);
            event
        })
}

fn value(raw: Option<RawJson<'_>>) -> Value {
    raw.map_or(Value::Null, |raw| serde_json::from_str(raw.get()).unwrap())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::parse(&bytes, Door::Topic);
    }

    #[test]
    fn what_looks_like_json_never_panics(text in "[{}\\[\\]\",:\\\\u0-9dDefault eE.+-]{0,80}") {
        let _ = Event::parse(text.as_bytes(), Door::Topic);
        let _ = Event::parse(format!("{{\"type\":\"t\",\"payload\":{text}}}").as_bytes(), Door::Topic);
    }

    #[test]
    fn a_cut_or_changed_event_never_panics(event in sent(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut json = event.to_string().into_bytes();
        let at = at.index(json.len());
        prop_assert!(Event::parse(&json[..at], Door::Topic).is_err());
        json[at] = byte;
        let _ = Event::parse(&json, Door::Topic);
    }

    #[test]
    fn an_event_is_read_as_it_was_sent(event in sent(), pretty in any::<bool>()) {
        let json = if pretty { serde_json::to_string_pretty(&event).unwrap() } else { event.to_string() };
        let read = Event::parse(json.as_bytes(), Door::Http).unwrap();
        prop_assert_eq!(event["event_type"].as_str(), Some(&*read.event_type));
        prop_assert_eq!(event["event_id"].as_str(), read.event_id.as_deref());
        prop_assert_eq!(event["event_version"].as_u64().unwrap_or(1), read.event_version);
        prop_assert_eq!(event["timestamp"].as_i64(), read.timestamp_ms);
        prop_assert_eq!(event["user_id"].as_str(), read.user_id.as_deref());
        prop_assert_eq!(event["session_id"].as_str(), read.session_id.as_deref());
        prop_assert_eq!(&event["payload"], &value(read.payload));
        for (name, raw) in &read.extra {
            prop_assert_eq!(&event[&**name], &value(Some(*raw)));
        }
    }

    #[test]
    fn the_canonical_form_is_the_same_event(event in sent(), pretty in any::<bool>(), context in prop::option::of(object())) {
        let json = if pretty { serde_json::to_string_pretty(&event).unwrap() } else { event.to_string() };
        let first = Event::parse(json.as_bytes(), Door::Http).unwrap();
        let context = context.map(|context| context.to_string());
        let id = first.event_id.clone().unwrap_or("made".into());
        let received_at_ms = 1_760_000_000_000;
        let timestamp_ms = first.timestamp_ms.unwrap_or(received_at_ms);
        let stamp = Stamp { event_id: &id, timestamp_ms, received_at_ms: Some(received_at_ms), context: context.as_deref() };
        let canonical = first.canonical(&stamp);
        let second = Event::parse(canonical.as_bytes(), Door::Topic).unwrap();
        prop_assert_eq!(&first.event_type, &second.event_type);
        prop_assert_eq!(second.event_id.as_deref(), Some(&*id));
        prop_assert_eq!(first.event_version, second.event_version);
        prop_assert_eq!((second.timestamp_ms, second.received_at_ms), (Some(timestamp_ms), Some(received_at_ms)));
        prop_assert_eq!((&first.user_id, &first.session_id), (&second.user_id, &second.session_id));
        prop_assert_eq!(value(first.payload), value(second.payload));
        prop_assert_eq!(context.as_deref(), second.context.map(RawJson::get));
        prop_assert_eq!(first.extra.len(), second.extra.len());
        for ((name, raw), (name2, raw2)) in first.extra.iter().zip(&second.extra) {
            prop_assert_eq!((name, value(Some(*raw))), (name2, value(Some(*raw2))));
        }
        // Compact and stable: written again it is the same text.
        prop_assert_eq!(second.canonical(&stamp), canonical);
    }
}
