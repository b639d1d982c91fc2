//! A million events: exact by an independent recount, and in little memory.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use streamgauge::telemetry::Role;

use crate::support::app::{Binary, Running};
use crate::support::oracle::{Recount, records_of};
use crate::support::traffic::Visitors;
use crate::support::{self, Settings, now_ms, unique};

const MILLION: u64 = 1_000_000;
/// What `process` may take at this load, in bytes.
const MEMORY: u64 = 150 << 20;
/// What an idle `run` may take, in bytes.
const IDLE_MEMORY: u64 = 60 << 20;
const DEADLINE: Duration = Duration::from_secs(120);
const SHUTDOWN: Duration = Duration::from_secs(12);

/// An event of about 300 bytes in its canonical form, with its key.
fn event(visitors: &mut Visitors, number: u64, now_ms: i64) -> (String, Vec<u8>) {
    let session = format!("s-{:012x}", visitors.below(20_000));
    let (kind, payload) = match visitors.below(10) {
        0..7 => {
            ("page_view", format!(r#"{{"path":"/products/{}","referrer":"https://example.com/"}}"#, page(visitors)))
        }
        7 => ("click", format!(r#"{{"target":"button-{}","path":"/cart"}}"#, visitors.below(50))),
        8 => ("search", format!(r#"{{"query":"term {}","results":{}}}"#, page(visitors), visitors.below(100))),
        _ => ("checkout", format!(r#"{{"amount":{},"currency":"EUR"}}"#, visitors.below(10_000))),
    };
    let at = now_ms - visitors.below(120_000) as i64;
    let value = format!(
        r#"{{"event_id":"0199e5b2-7c4e-7aaa-8bbb-{number:012x}","event_type":"{kind}","event_version":1,"timestamp":{at},"received_at":{now_ms},"user_id":"user-{}","session_id":"{session}","payload":{payload},"context":{{"agent":"Mozilla/5.0 (X11; Linux x86_64)","country":"NO"}}}}"#,
        visitors.below(5_000),
    );
    (session, value.into_bytes())
}

/// Few pages are visited often, many seldom.
fn page(visitors: &mut Visitors) -> u64 {
    let most = 1 + visitors.below(2_000);
    visitors.below(most)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_events_of_a_topic_are_counted_exactly_and_in_little_memory() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic_with("million", 4, &[("message.timestamp.type", "LogAppendTime")]).await;
    let mut visitors = Visitors::new("million");
    kafka.produce(&topic, (0..MILLION).map(move |n| event(&mut visitors, n, now_ms()))).await;

    let settings = Settings::kafka(kafka, redis, &topic, &unique("million")).with("pipeline.flush_interval", "2s");
    let query = Running::start_roles(&settings, &[Role::Query]).await;
    let began = Instant::now();
    let process = Binary::start("process", &settings).await;
    query.until_consumed_within(DEADLINE, MILLION).await;
    let (took, peak) = (began.elapsed(), process.peak_memory());
    process.terminate();
    assert_eq!(process.ended(SHUTDOWN).await, 0, "{}", process.output());

    let recount = Recount::of_topic(kafka, &settings).await;
    assert_eq!((recount.records(), recount.outcome("counted")), (MILLION, MILLION));
    recount.assert_in_redis(redis, &settings).await;
    recount.assert_in_api(&query).await;
    query.stop().await;
    println!("a million events in {took:.1?}, {} cells, at most {} MiB", recount.cells(), peak >> 20);
    assert!(peak < MEMORY, "{} MiB, may be {}", peak >> 20, MEMORY >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_events_posted_into_one_file_are_counted_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).with("pipeline.flush_interval", "2s");
    let binary = Binary::start("run", &settings).await;
    binary.until_ready().await;
    let mut visitors = Visitors::new("hundred thousand");
    for batch in 0..50 {
        let mut body = Vec::new();
        for number in batch * 2_000..(batch + 1) * 2_000 {
            body.extend(sent(&mut visitors, number));
            body.push(b'\n');
        }
        let answer = binary.send(binary.events("application/x-ndjson", body)).await.expect(202);
        assert_eq!(answer["accepted"], 2_000, "{answer}");
    }
    binary.until_consumed_within(DEADLINE, 100_000).await;
    let peak = binary.peak_memory();
    let recount = Recount::of_records(&settings, &records_of(settings.text_of("embedded.path").as_ref()));
    assert_eq!(recount.outcome("counted"), 100_000);
    recount.assert_in_api(&binary).await;
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());
    println!("a hundred thousand events in one file: {} cells, at most {} MiB", recount.cells(), peak >> 20);
    assert!(peak < MEMORY, "{} MiB, may be {}", peak >> 20, MEMORY >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_run_takes_little_memory() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = Settings::kafka(kafka, redis, &unique("idle"), &unique("idle"));
    let binary = Binary::start("run", &settings).await;
    binary.until_ready().await;
    binary.post(&json!({"type": "page_view"})).await;
    binary.until_consumed(1).await;
    let peak = binary.peak_memory();
    println!("an idle run: at most {} MiB", peak >> 20);
    assert!(peak < IDLE_MEMORY, "{} MiB, may be {}", peak >> 20, IDLE_MEMORY >> 20);
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());
}

/// As a client sends it: without what ingest adds.
fn sent(visitors: &mut Visitors, number: u64) -> Vec<u8> {
    let (_, value) = event(visitors, number, now_ms());
    let mut event: serde_json::Map<String, Value> = serde_json::from_slice(&value).unwrap();
    event.retain(|name, _| name != "received_at" && name != "context");
    serde_json::to_vec(&event).unwrap()
}
