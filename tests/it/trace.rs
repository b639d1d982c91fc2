//! A client's trace, from the HTTP request to the record to the log lines.

use serde_json::json;

use crate::support::app::Binary;
use crate::support::doors::SOON;
use crate::support::topic::{Raw, Record};
use crate::support::{self, Settings, eventually, unique};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The program with all that it logs, and its topic.
async fn talkative(name: &str) -> (Binary, String) {
    let (topic, prefix) = (unique(name), unique(name));
    let settings = Settings::kafka(support::kafka().await, support::redis().await, &topic, &prefix);
    let program = Binary::prepare(&[], "run", &settings);
    program.spawn_with(&[("STREAMGAUGE_LOG", "streamgauge=debug")]);
    program.until_ready().await;
    (program, topic)
}

/// Posts one event with these headers `traceparent`.
async fn post(program: &Binary, id: &str, traces: &[&str]) {
    let body = json!({"event_type": "page_view", "event_id": id}).to_string();
    let request = program.events("application/json", body);
    let request = traces.iter().fold(request, |request, trace| request.header("traceparent", *trace));
    program.send(request).await.expect(202);
}

fn trace_of(record: &Record) -> Option<&str> {
    record.headers.iter().any(|(name, _)| name == "traceparent").then(|| record.header("traceparent"))
}

async fn until_logged(program: &Binary, parts: &[&str]) {
    eventually(SOON, &format!("a line with {parts:?}"), async || {
        let output = program.output();
        let found = output.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        if found { Ok(()) } else { Err(output) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stands_in_the_record_of_the_request_that_carried_it() {
    let (program, topic) = talkative("traced").await;
    post(&program, "valid", &[TRACEPARENT]).await;
    post(&program, "none", &[]).await;
    post(&program, "invalid", &["00-0-0-0"]).await;
    post(&program, "twice", &[TRACEPARENT, TRACEPARENT]).await;

    let records = support::kafka().await.read(&topic).await;
    let trace = |id: &str| {
        let record = records.iter().find(|record| record.key.as_deref() == Some(id.as_bytes()));
        trace_of(record.unwrap_or_else(|| panic!("no {id} in {records:?}")))
    };
    assert_eq!(trace("valid"), Some(TRACEPARENT));
    assert_eq!([trace("none"), trace("invalid"), trace("twice")], [None; 3]);
    program.until_consumed(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stands_in_the_log_line_of_a_refusal() {
    let (program, _) = talkative("traced").await;
    let refused = |body: &'static str| program.events("application/json", body).header("traceparent", TRACEPARENT);
    program.send(refused("{}")).await.expect(400);
    until_logged(&program, &["request refused", "status=400", &format!("trace_id=\"{TRACE_ID}\"")]).await;
    program.send(refused(r#"[{"type":"page_view"},{}]"#)).await.expect(202);
    until_logged(&program, &["events of a request refused", TRACE_ID]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_keeps_it_and_its_log_line_names_it() {
    let (program, topic) = talkative("traced").await;
    let raw = |value: &str, trace: Option<&str>| Raw {
        value: Some(value.as_bytes().to_vec()),
        partition: Some(0),
        headers: trace.map(|trace| ("traceparent".to_owned(), trace.as_bytes().to_vec())).into_iter().collect(),
        ..Raw::default()
    };
    let other = TRACEPARENT.replace(TRACE_ID, "00000000000000000000000000000bad");
    let records = [raw("no event", Some(TRACEPARENT)), raw("nor this", None), raw("nor that", Some(&other))];
    let kafka = support::kafka().await;
    kafka.produce(&topic, records).await;
    program.until_consumed(3).await;

    let letters = kafka.read(&format!("{topic}.dlq")).await;
    let trace = |value: &str| {
        let letter = letters.iter().find(|letter| letter.value.as_deref() == Some(value.as_bytes()));
        trace_of(letter.unwrap_or_else(|| panic!("no {value} in {letters:?}")))
    };
    assert_eq!(trace("no event"), Some(TRACEPARENT));
    assert_eq!(trace("nor this"), None);
    assert_eq!(trace("nor that"), Some(&*other));
    until_logged(&program, &["stored", "partition=0", "offset=0", TRACE_ID]).await;
    until_logged(&program, &["stored", "partition=0", "offset=2", "00000000000000000000000000000bad"]).await;
}
