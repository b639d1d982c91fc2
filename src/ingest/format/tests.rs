use super::*;
use proptest::prelude::*;

fn texts(body: &str, format: Format) -> Vec<String> {
    let events = format.read(body.as_bytes()).unwrap().events;
    events.into_iter().map(|event| String::from_utf8(event.into_owned()).unwrap()).collect()
}

#[test]
fn content_types_have_parameters_and_any_case() {
    for (name, format) in [
        ("application/json", Format::Json),
        ("Application/JSON; charset=UTF-8", Format::Json),
        ("application/x-ndjson", Format::Lines),
        ("text/plain;charset=UTF-8", Format::Text),
        ("text/plain ; charset=\"utf-8\"", Format::Text),
    ] {
        assert_eq!(Format::of(Some(name.as_bytes())), Some(format), "{name}");
    }
    assert_eq!(Format::of(None), Some(Format::Json));
    for name in ["", "text/html", "application/jsonp", "application/x-www-form-urlencoded", "*/*", "\u{e4}"] {
        assert_eq!(Format::of(Some(name.as_bytes())), None, "{name}");
    }
}

#[test]
fn one_value_is_an_event_an_array_or_a_wrapper() {
    for format in [Format::Json, Format::Text] {
        assert_eq!(texts(" {\"type\":\"a\"}\n", format), ["{\"type\":\"a\"}"]);
        assert_eq!(texts("[ {\"a\":[1]} , 5,null ]", format), ["{\"a\":[1]}", "5", "null"]);
        assert_eq!(texts("{\"sender\":1,\n\"events\" : [{},{}]}", format), ["{}", "{}"]);
        assert_eq!(texts("{\"type\":null,\"events\":[{}]}", format), ["{}"]);
        let event = "{\"type\":\"a\",\"events\":[1,2]}";
        assert_eq!(texts(event, format), [event]);
        let event = "{\"payload\":{\"events\":[1]}}";
        assert_eq!(texts(event, format), [event]);
        assert_eq!(format.read(b"{\"events\":5}"), Err(Malformed::EventsNotAnArray));
        assert_eq!(format.read(b"{\"events\":[]}"), Err(Malformed::NoEvents));
        assert_eq!(format.read(b"{\"events\":[{}],\"events\":[]}"), Err(Malformed::Twice("events")));
    }
}

#[test]
fn a_wrapper_carries_a_key_and_when_it_was_sent() {
    for format in [Format::Json, Format::Text] {
        let read = |text: &'static str| format.read(text.as_bytes());
        let content = read(r#"{"write_key":"k\u0031","sent_at":"2025-10-09T08:53:20Z","events":[{}]}"#).unwrap();
        assert_eq!((content.write_key.as_deref(), content.sent_at_ms), (Some("k1"), Some(1_760_000_000_000)));
        let content = read(r#"{"events":[{}],"write_key":null,"sent_at":null}"#).unwrap();
        assert_eq!((content.write_key, content.sent_at_ms), (None, None));
        for (text, field) in [
            (r#"{"events":[{}],"write_key":7}"#, "write_key"),
            (r#"{"events":[{}],"sent_at":7}"#, "sent_at"),
            (r#"{"events":[{}],"sent_at":"now"}"#, "sent_at"),
            (r#"{"events":[{}],"sent_at":1,"sent_at":1}"#, "sent_at"),
            (r#"{"write_key":"a","events":[{}],"write_key":"a"}"#, "write_key"),
        ] {
            assert_eq!(read(text).unwrap_err().field(), Some(field), "{text}");
        }
        // An event of its own may have fields of these names.
        let event = r#"{"type":"a","events":[],"write_key":7,"sent_at":"now"}"#;
        assert_eq!(read(event).unwrap(), Content::events([event.as_bytes()]));
    }
    let lines = Format::Lines.read(br#"{"write_key":"k","events":[{}]}"#).unwrap();
    assert_eq!((lines.events.len(), lines.write_key), (1, None));
}

#[test]
fn each_line_stands_alone() {
    let body = "{\"type\":\"a\"}\r\n\n  \n{broken\n[1]\n{\"type\":\"b\"}";
    let expected = ["{\"type\":\"a\"}", "{broken", "[1]", "{\"type\":\"b\"}"];
    assert_eq!(texts(body, Format::Lines), expected);
    assert_eq!(texts(body, Format::Text), expected);
    assert_eq!(texts("{broken\n{\"type\":\"b\"}", Format::Text), ["{broken", "{\"type\":\"b\"}"]);
    let pretty = "{\n  \"type\": \"a\",\n  \"payload\": {\n  }\n}";
    assert_eq!(texts(pretty, Format::Text), [pretty]);
    let broken = "{\n  \"type\": \"a\",\n";
    assert_eq!(texts(broken, Format::Text), [broken.trim()]);
}

#[test]
fn what_cannot_be_split_is_refused_as_a_whole() {
    assert_eq!(Format::Lines.read(b" \n "), Err(Malformed::Empty));
    assert_eq!(Format::Json.read(b""), Err(Malformed::Empty));
    assert_eq!(Format::Json.read(b"[]"), Err(Malformed::NoEvents));
    assert_eq!(Format::Json.read(b"[\"\xff\"]"), Err(Malformed::NotUtf8(2)));
    let error = Format::Text.read(b"[{},\n{]").unwrap_err().to_string();
    assert!(error.contains("line 2 column 2"), "{error}");
    assert!(matches!(Format::Json.read(b"[{}] x"), Err(Malformed::Syntax(_))));
    let deep = "[".repeat(100_000);
    assert!(matches!(Format::Json.read(deep.as_bytes()), Err(Malformed::Syntax(_))));
    let deep = format!("{{\"events\":{deep}");
    assert_eq!(Format::Text.read(deep.as_bytes()).unwrap().events.len(), 1, "its event says what is wrong");
}

proptest! {
    #[test]
    fn any_bytes_are_split_or_refused(body in prop::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\",:\na-eventsp0]{0,60}") {
        for format in [Format::Json, Format::Lines, Format::Text] {
            let _ = format.read(&body);
            let _ = format.read(text.as_bytes());
            let _ = format.read(format!("{{\"events\":{text}}}").as_bytes());
        }
    }

    #[test]
    fn an_array_and_its_lines_are_the_same_events(events in prop::collection::vec("\\{(\"[a-z\\[]{1,5}\":[1-9]{1,3})\\}|[1-9]{1,5}", 1..10)) {
        let array = format!("[{}]", events.join(", "));
        prop_assert_eq!(&texts(&array, Format::Json), &events);
        prop_assert_eq!(&texts(&format!("{{\"events\":{array}}}"), Format::Text), &events);
        prop_assert_eq!(&texts(&events.join("\n"), Format::Lines), &events);
    }
}
