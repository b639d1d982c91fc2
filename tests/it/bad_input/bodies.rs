//! The HTTP door.

use serde_json::{Value, json};

use crate::support::Settings;
use crate::support::app::Running;
use crate::support::oracle::{Recount, records_of};

/// A body that is refused as a whole: why it is here, itself, the status, and the field that is to be named.
type Refused = (&'static str, Vec<u8>, u16, Option<&'static str>);

/// One event that cannot be accepted, and the field at fault.
fn events() -> Vec<(&'static str, String, Option<&'static str>)> {
    let with = |field: &str, value: &str| format!("{{\"event_type\":\"view\",\"{field}\":{value}}}");
    let long = |n: usize| format!("\"{}\"", "x".repeat(n));
    let deep = format!("{}1{}", "{\"a\":".repeat(1_000), "}".repeat(1_000));
    let mut events = vec![
        ("no event_type", "{}".to_owned(), Some("event_type")),
        ("null is absent", r#"{"event_type":null,"type":null}"#.to_owned(), Some("event_type")),
        ("a type that is a number", r#"{"event_type":5}"#.to_owned(), Some("event_type")),
        ("the alias is named as it was sent", r#"{"type":["view"]}"#.to_owned(), Some("type")),
        ("an empty type", r#"{"event_type":""}"#.to_owned(), Some("event_type")),
        ("a long type", format!("{{\"event_type\":{}}}", long(129)), Some("event_type")),
        ("NUL in a type", r#"{"event_type":"a\u0000b"}"#.to_owned(), Some("event_type")),
        ("a control character in a type", r#"{"event_type":"a\u0085b"}"#.to_owned(), Some("event_type")),
        ("a known field twice", r#"{"event_type":"a","event_type":"a"}"#.to_owned(), Some("event_type")),
        ("a payload twice", r#"{"type":"a","payload":{},"payload":{}}"#.to_owned(), Some("payload")),
        ("not an object", "\"view\"".to_owned(), None),
        ("null", "null".to_owned(), None),
        ("a payload of depth 1,000", with("payload", &deep), Some("payload")),
        ("a lone surrogate", with("payload", r#"{"path":"\ud800"}"#), None),
    ];
    let wrong = [
        ("event_id", "7"),
        ("event_id", "\"\""),
        ("event_version", "0"),
        ("event_version", "\"1\""),
        ("event_version", "1.5"),
        ("timestamp", "true"),
        ("timestamp", "\"\""),
        ("timestamp", "\"yesterday\""),
        ("timestamp", "\"2026-02-30T00:00:00Z\""),
        ("timestamp", "1.5"),
        ("timestamp", "0"),
        ("timestamp", "-1"),
        ("timestamp", "1760000000"),
        ("timestamp", "946684799999"),
        ("timestamp", "4133980800000"),
        ("timestamp", "99999999999999999999999999"),
        ("timestamp", "1e400"),
        ("user_id", "{}"),
        ("session_id", "12"),
        ("payload", "[]"),
        ("payload", "\"text\""),
        ("context", "{}"),
        ("received_at", "1760000000000"),
    ];
    events.extend(wrong.map(|(field, value)| (value, with(field, value), Some(field))));
    let long = [("event_id", 129), ("user_id", 257), ("session_id", 257)];
    events.extend(long.map(|(field, n)| ("too long", with(field, &format!("\"{}\"", "x".repeat(n))), Some(field))));
    events.push((
        "64 KiB and more",
        with("payload", &format!("{{\"a\":{}}}", format_args!("\"{}\"", "x".repeat(70_000)))),
        None,
    ));
    events
}

/// Bodies that are refused as a whole.
fn bodies() -> Vec<Refused> {
    let text = |text: &str| text.as_bytes().to_vec();
    let mut bodies: Vec<Refused> = vec![
        ("nothing", text(""), 400, None),
        ("white space", text(" \n\t "), 400, None),
        ("no events", text("[]"), 400, None),
        ("no events in a wrapper", text(r#"{"events":[]}"#), 400, None),
        ("events that are no array", text(r#"{"events":{"type":"view"}}"#), 400, Some("events")),
        ("JSON that breaks off", text(r#"{"type":"view","#), 400, None),
        ("an array that breaks off", text(r#"[{"type":"view"}"#), 400, None),
        ("two values", text(r#"{"type":"view"}{"type":"view"}"#), 400, None),
        ("single quotes", text("{'type':'view'}"), 400, None),
        ("no JSON at all", text("<html></html>"), 400, None),
        ("a NUL byte", b"{\"type\":\"vi\0ew\"}".to_vec(), 400, Some("type")),
        ("NUL bytes alone", vec![0; 100], 400, None),
        ("invalid UTF-8", b"{\"type\":\"view\",\"payload\":{\"path\":\"\xff\xfe\"}}".to_vec(), 400, None),
        ("invalid UTF-8 in an array", b"[{\"type\":\"view\xc3\x28\"}]".to_vec(), 400, None),
        ("an overlong form", b"{\"type\":\"\xc0\xaf\"}".to_vec(), 400, None),
        ("an array of depth 1,000", text(&("[".repeat(1_000) + &"]".repeat(1_000))), 400, None),
        ("an array of depth 100,000", text(&("[".repeat(100_000) + &"]".repeat(100_000))), 400, None),
        ("a string of 1 MB", text(&format!("{{\"type\":\"{}\"}}", "x".repeat(1_000_000))), 400, None),
        ("a body over its limit", text(&format!("{{\"type\":\"{}\"}}", "x".repeat(1_100_000))), 413, None),
        ("a body far over its limit", vec![b'['; 5_000_000], 413, None),
        ("5,001 events", text(&format!("[{}{{}}]", "{\"type\":\"view\"},".repeat(5_000))), 413, None),
    ];
    bodies.extend(events().into_iter().map(|(why, event, field)| (why, event.into_bytes(), 400, field)));
    bodies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_body_is_refused_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    for (why, body, status, field) in bodies() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let reply = gauge.send(gauge.events("application/json", body)).await;
        assert_eq!(reply.status, status, "{why}: {shown}: {}", reply.text());
        let answer = reply.json();
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.len() > 10 && error.len() < 500, "{why}: {shown}: {answer}");
        if status == 400 {
            assert_eq!(answer["field"].as_str(), field, "{why}: {shown}: {answer}");
        }
    }
    for (content_type, method, path, status) in [
        ("text/html", reqwest::Method::POST, "/events", 415),
        ("application/x-www-form-urlencoded", reqwest::Method::POST, "/events", 415),
        ("application/json", reqwest::Method::GET, "/events", 405),
        ("application/json", reqwest::Method::DELETE, "/events", 405),
        ("application/json", reqwest::Method::POST, "/event", 404),
    ] {
        let request = gauge.http().request(method, gauge.ingest_url(path)).header("content-type", content_type);
        let reply = gauge.send(request.body(r#"{"type":"view"}"#)).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.json()["error"].is_string());
    }
    // Nobody was harmed, and nothing of it was stored.
    gauge.until_ready().await;
    gauge.post(&json!({"type": "view"})).await;
    assert_eq!(gauge.until_consumed(1).await["unaccounted"], 0);
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_good_events_each_bad_one_is_named_and_the_others_count() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path());
    let gauge = Running::start(&settings).await;
    let bad = events();
    let mut body: Vec<String> = bad.iter().flat_map(|(_, event, _)| [event.clone(), good()]).collect();
    body.extend(strange());
    let answer = gauge.send(gauge.events("application/x-ndjson", body.join("\n"))).await.expect(202);
    let good = body.len() - bad.len();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(good), &json!(bad.len())), "{answer}");
    for (error, (at, (why, _, field))) in answer["errors"].as_array().unwrap().iter().zip(bad.iter().enumerate()) {
        assert_eq!(error["index"], 2 * at, "{why}: {error}");
        assert_eq!(error["field"].as_str(), *field, "{why}: {error}");
        assert!(error["error"].as_str().unwrap().len() > 10, "{why}: {error}");
    }
    gauge.until_consumed(good as u64).await;
    let recount = Recount::of_records(&settings, &records_of(settings.text_of("embedded.path").as_ref()));
    assert_eq!(recount.outcome("counted"), good as u64);
    recount.assert_in_api(&gauge).await;
    gauge.stop().await;
}

fn good() -> String {
    json!({"type": "page_view", "payload": {"path": "/good"}}).to_string()
}

/// Events that are odd, but right.
fn strange() -> Vec<String> {
    let deep = format!("{}1{}", "{\"a\":".repeat(31), "}".repeat(31));
    let view = |payload: &Value| json!({"type": "page_view", "payload": payload}).to_string();
    vec![
        view(&json!({"path": "/nul\u{0}byte"})),
        view(&json!({"path": "x".repeat(60_000)})),
        view(&json!({"path": "ä".repeat(200)})),
        view(&json!({"path": {"an": "object"}})),
        view(&json!({"path": [1, null, "😀"]})),
        view(&json!({"path": true})),
        view(&json!({"path": 12_345_678_901_i64})),
        view(&json!({"path": null})),
        view(&json!({"path": "\u{202e}\n\r\t\"\\"})),
        format!("{{\"type\":\"page_view\",\"payload\":{{\"path\":{deep}}}}}"),
        r#"{"type":"page_view","payload":{"path":"/first","path":"/last"}}"#.to_owned(),
        r#"{"type":"page_view","unknown":1,"unknown":2}"#.to_owned(),
        r#"{"type":"\ud83d\ude00","payload":{"path":"a pair of surrogates"}}"#.to_owned(),
        r#"{"type":"page_view","timestamp":946684800000}"#
            .replace("946684800000", &crate::support::now_ms().to_string()),
        format!("{{\"type\":\"{}\",\"event_id\":\"{}\"}}", "t".repeat(128), "i".repeat(128)),
    ]
}
