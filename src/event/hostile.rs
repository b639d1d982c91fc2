//! Everything that a client gets wrong or tries on purpose: each has its own clear answer.

use super::*;

fn refused(json: &[u8]) -> Invalid {
    Event::parse(json, Door::Http).unwrap_err()
}

/// A `view` with one more field, as text.
fn with(field: &str) -> String {
    format!(r#"{{"type":"view",{field}}}"#)
}

fn deep(levels: usize) -> String {
    format!("{}{}", "{\"a\":".repeat(levels - 1) + "{}", "}".repeat(levels - 1))
}

#[test]
fn what_is_no_event_at_all() {
    for (json, message) in [
        (&b""[..], "empty"),
        (b" \r\n\t", "empty"),
        (b"null", "this is null"),
        (b"true", "this is a boolean"),
        (b"12", "this is a number"),
        (b"\"type\"", "this is a string"),
        (b"[{\"type\":\"view\"}]", "this is an array"),
        (b"{}", "`event_type` (or `type`) is missing"),
        (b"{\"type\":null}", "is missing"),
        (b"hello", "not valid JSON: expected value at line 1 column 1"),
        (b"{\"type\":\"view\"", "not valid JSON: EOF"),
        (b"{\"type\":\"view\"} x", "trailing characters"),
        (b"{\"type\":\"view\"}{\"type\":\"view\"}", "trailing characters"),
        (b"{\"type\":\"view\",}", "trailing comma"),
        (b"{type:\"view\"}", "key must be a string"),
        (b"{\"type\":'view'}", "not valid JSON in `type`: expected value"),
        (b"{\"type\":\"view\",\"payload\":{\"a\":}}", "not valid JSON in `payload`"),
        (b"{\"type\":\"a\0b\"}", "not valid JSON in `type`: control character"),
        (b"\0", "not valid JSON"),
        (b"{\"type\":\"view\"}\0", "trailing characters"),
        (b"{\"type\":\"\xff\"}", "not UTF-8: the byte at 9"),
        (b"{\"type\":\"view\",\"payload\":{\"a\":\"\xc3\"}}", "not UTF-8"),
        (b"\xef\xbb\xbf{\"type\":\"view\"}", "not valid JSON"),
    ] {
        let error = refused(json).to_string();
        assert!(error.contains(message), "{}: {error}", String::from_utf8_lossy(json));
    }
}

#[test]
fn a_field_that_breaks_its_rule_is_named() {
    let long = |n| "x".repeat(n);
    for (field, name, message) in [
        (r#""event_type":"other","event_type":"x""#.to_owned(), "event_type", "twice"),
        (r#""user_id":null,"user_id":"a""#.into(), "user_id", "twice"),
        (r#""payload":{},"\u0070ayload":{}"#.into(), "payload", "twice"),
        (r#""event_type":"""#.into(), "event_type", "is empty"),
        (r#""event_type":5"#.into(), "event_type", "must be a string, not an integer"),
        (r#""event_type":["view"]"#.into(), "event_type", "not an array"),
        (r#""event_type":{"a":{"b":1}}"#.into(), "event_type", "not an object"),
        (r#""event_type":true"#.into(), "event_type", "not a boolean"),
        (r#""event_type":"a\nb""#.into(), "event_type", "control character"),
        (r#""event_type":"a\u0000b""#.into(), "event_type", "control character"),
        (r#""event_type":"a\u0085b""#.into(), "event_type", "control character"),
        (format!(r#""event_type":"{}""#, long(129)), "event_type", "129 bytes, at most 128"),
        (format!(r#""event_type":"{}""#, long(1 << 20)), "event_type", "1048576 bytes"),
        (r#""event_id":"""#.into(), "event_id", "is empty"),
        (r#""id":7"#.into(), "id", "must be a string"),
        (format!(r#""message_id":"{}""#, long(129)), "message_id", "at most 128"),
        (r#""event_version":0"#.into(), "event_version", "at least 1"),
        (r#""event_version":-1"#.into(), "event_version", "at least 1"),
        (r#""event_version":1.0"#.into(), "event_version", "not a number"),
        (r#""event_version":"1""#.into(), "event_version", "not a string"),
        (r#""event_version":1e999"#.into(), "event_version", "number out of range"),
        (r#""timestamp":"yesterday""#.into(), "timestamp", "RFC 3339"),
        (r#""timestamp":"2025-10-09T08:53:20""#.into(), "timestamp", "with a zone"),
        (r#""timestamp":"1760000000000""#.into(), "timestamp", "RFC 3339"),
        (r#""timestamp":1760000000"#.into(), "timestamp", "looks like seconds"),
        (r#""timestamp":1760000000000.5"#.into(), "timestamp", "not a number"),
        (r#""timestamp":1.76e12"#.into(), "timestamp", "integer milliseconds"),
        (r#""timestamp":99999999999999999999999"#.into(), "timestamp", "integer milliseconds"),
        (r#""timestamp":1e400"#.into(), "timestamp", "number out of range"),
        (r#""timestamp":18446744073709551615"#.into(), "timestamp", "years 2000 to 2100"),
        (r#""timestamp":-1"#.into(), "timestamp", "years 2000 to 2100"),
        (r#""timestamp":"1999-12-31T23:59:59.999Z""#.into(), "timestamp", "years 2000 to 2100"),
        (r#""timestamp":"2101-01-01T00:00:00Z""#.into(), "timestamp", "years 2000 to 2100"),
        (r#""timestamp":"9999-12-31T23:59:59-23:59""#.into(), "timestamp", "years 2000 to 2100"),
        (r#""timestamp":"0000-01-01T00:00:00+23:59""#.into(), "timestamp", "years 2000 to 2100"),
        (r#""timestamp":false"#.into(), "timestamp", "not a boolean"),
        (r#""timestamp":{}"#.into(), "timestamp", "not an object"),
        (r#""user_id":7"#.into(), "user_id", "must be a string"),
        (format!(r#""user_id":"{}""#, long(257)), "user_id", "at most 256"),
        (format!(r#""session_id":"{}""#, "ä".repeat(129)), "session_id", "258 bytes"),
        (r#""payload":[]"#.into(), "payload", "must be an object, not an array"),
        (r#""payload":"{}""#.into(), "payload", "not a string"),
        (r#""properties":5"#.into(), "properties", "must be an object, not a number"),
        (format!(r#""payload":{}"#, deep(33)), "payload", "deeper than 32"),
        (format!(r#""payload":{}"#, deep(1_000)), "payload", "deeper than 32"),
        (format!(r#""properties":{}"#, deep(100_000)), "properties", "deeper than 32"),
        (format!(r#""payload":{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)), "payload", "deeper than 32"),
        (r#""context":{}"#.into(), "context", "set by ingest"),
        (r#""received_at":1760000000000"#.into(), "received_at", "set by ingest"),
    ] {
        let json = with(&field);
        let error = refused(json.as_bytes());
        let shown: String = json.chars().take(100).collect();
        assert_eq!(error.field(), Some(name), "{shown}: {error}");
        assert!(error.to_string().contains(message), "{shown}: {error}");
        assert!(error.to_string().len() < 200, "{shown}: {error}");
    }
}

#[test]
fn a_lone_surrogate_is_refused_wherever_it_hides() {
    for field in [
        r#""user_id":"\ud800""#,
        r#""payload":{"a":"\ud83d"}"#,
        r#""payload":{"\udead":1}"#,
        r#""payload":{"a":[{"b":"\ud83d\u0041"}]}"#,
        r#""unknown":"\udc00""#,
        r#""\ud800":1"#,
    ] {
        assert!(matches!(refused(with(field).as_bytes()), Invalid::LoneSurrogate(_)), "{field}");
    }
    assert!(Event::parse(with(r#""payload":{"a":"\ud83d\ude00"}"#).as_bytes(), Door::Http).is_ok());
}

#[test]
fn deep_nesting_never_exhausts_the_stack() {
    for levels in [1_000, 100_000] {
        for open in ["[", "{\"a\":"] {
            let unclosed = open.repeat(levels);
            for json in
                [unclosed.clone(), with(&format!(r#""payload":{unclosed}"#)), with(&format!(r#""type2":{unclosed}"#))]
            {
                assert!(Event::parse(json.as_bytes(), Door::Topic).is_err());
            }
        }
        let json = with(&format!(r#""unknown":{},"timestamp":{}"#, deep(levels), deep(levels)));
        assert_eq!(refused(json.as_bytes()).field(), Some("timestamp"));
        let json = with(&format!(r#""unknown":{d},"context":{d}"#, d = deep(levels)));
        let event = Event::parse(json.as_bytes(), Door::Topic).unwrap();
        let mut key = String::new();
        Dimensions::parse(&["context.a".to_owned()]).unwrap().write_key(&event, &mut key);
        assert_eq!(key.len(), 256);
        let stamp = Stamp { event_id: "e", timestamp_ms: 1, received_at_ms: None, context: None };
        assert!(event.canonical(&stamp).len() > levels);
    }
}

#[test]
fn the_full_name_wins_over_its_alias() {
    let json = br#"{"type":5,"event_type":"full","id":"short","message_id":7,"properties":[],"payload":{"a":1}}"#;
    let event = Event::parse(json, Door::Http).unwrap();
    assert_eq!(event.event_type, "full");
    assert_eq!(event.event_id.as_deref(), Some("short"));
    assert_eq!(event.payload.unwrap().get(), r#"{"a":1}"#);
    assert!(event.extra.is_empty());
    let json = br#"{"type":"short","event_type":null,"event_id":null,"id":null,"message_id":"m","payload":null,"properties":{}}"#;
    let event = Event::parse(json, Door::Http).unwrap();
    assert_eq!((&*event.event_type, event.event_id.as_deref()), ("short", Some("m")));
    assert!(event.payload.is_some());
}

#[test]
fn null_is_the_same_as_absent() {
    let json = br#"{"type":"t","event_version":null,"timestamp":null,"user_id":null,"session_id":null,"context":null,"received_at":null}"#;
    let event = Event::parse(json, Door::Http).unwrap();
    assert_eq!((event.event_version, event.timestamp_ms, event.received_at_ms), (1, None, None));
    assert!(event.user_id.is_none() && event.session_id.is_none() && event.context.is_none());
}

#[test]
fn the_topic_brings_what_ingest_added() {
    let json = br#"{"type":"t","received_at":1760000000000,"timestamp":"2000-01-01T00:00:00Z","context":{"a":1},"event_version":18446744073709551615}"#;
    let event = Event::parse(json, Door::Topic).unwrap();
    assert_eq!(event.received_at_ms, Some(1_760_000_000_000));
    assert_eq!(event.timestamp_ms, Some(946_684_800_000));
    assert_eq!(event.context.unwrap().get(), r#"{"a":1}"#);
    assert_eq!(event.event_version, u64::MAX);
    assert_eq!(event.time_ms(5), 946_684_800_000);
    for (field, message) in [(r#""context":[]"#, "must be an object"), (r#""received_at":5"#, "2000 to 2100")] {
        let error = Event::parse(with(field).as_bytes(), Door::Topic).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    let (id, who) = ("i".repeat(128), "ä".repeat(128));
    let json = with(&format!(
        r#""event_id":"{id}","user_id":"{who}","session_id":"","timestamp":"2100-12-31T23:59:59.999Z","payload":{}"#,
        deep(32)
    ));
    let event = Event::parse(json.as_bytes(), Door::Http).unwrap();
    assert_eq!(event.timestamp_ms, Some(4_133_980_799_999));
    assert_eq!(event.user_id.as_deref(), Some(&*who));
    assert_eq!(event.session_id.as_deref(), Some(""));
}
