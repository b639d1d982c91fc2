//! The spine: events in by every form of body, exact windowed counts out, on Kafka and Redis and on one file.

use serde_json::{Value, json};
use streamgauge::telemetry::Role;

use crate::support::app::Running;
use crate::support::doors::{Doors, SOON, sum};
use crate::support::oracle::{Recount, records_of};
use crate::support::topic::Record;
use crate::support::traffic::{COUNTERS, Visitors};
use crate::support::{self, Settings, eventually, now_ms, unique};

/// Over the shared Kafka and Redis, with a topic that the program has to make, and all kinds of counters.
async fn on_kafka(name: &str) -> Settings {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    Settings::kafka(kafka, redis, &unique(name), &unique(name)).counting(COUNTERS)
}

fn embedded() -> (tempfile::TempDir, Settings) {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).counting(COUNTERS);
    (dir, settings)
}

/// Recounts the topic and compares it with Redis and the API.
async fn assert_exact(settings: &Settings, doors: &Doors) -> Recount {
    let recount = Recount::of_topic(support::kafka().await, settings).await;
    recount.assert_in_redis(support::redis().await, settings).await;
    recount.assert_in_api(doors).await;
    recount
}

/// Recounts the file's log and compares it with the API.
async fn assert_exact_in_file(settings: &Settings, doors: &Doors) -> Recount {
    let recount = Recount::of_records(settings, &records_of(settings.text_of("embedded.path").as_ref()));
    recount.assert_in_api(doors).await;
    recount
}

/// Posts events in every form that a body may have, 61 that are good and 3 that are not.
async fn post_every_form(doors: &Doors, stored: &str) {
    let mut visitors = Visitors::new("forms");
    let one = visitors.event();
    let answer = doors.post(&one).await;
    let id = one["event_id"].as_str().or(one["id"].as_str()).unwrap();
    assert_eq!(answer, json!({"accepted": 1, "rejected": 0, "stored": stored, "event_ids": [id], "errors": []}));

    assert_eq!(doors.post(&json!(visitors.events(20))).await["accepted"], 20);
    assert_eq!(doors.post(&json!({"events": visitors.events(20)})).await["accepted"], 20);

    let lines = |events: Vec<Value>| events.iter().map(|event| format!("{event}\n")).collect::<String>();
    let (ndjson, text) = (lines(visitors.events(5)), lines(visitors.events(5)));
    let array = json!(visitors.events(5)).to_string();
    for (content_type, body) in [
        ("application/x-ndjson", ndjson),
        ("text/plain;charset=UTF-8", text),
        ("application/json; charset=utf-8", array),
    ] {
        let answer = doors.send(doors.events(content_type, body)).await.expect(202);
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(5), &json!(0)), "{content_type}: {answer}");
    }
    // What a page sends by navigator.sendBeacon, and an event that says nothing but its type.
    let beacon = doors.events("text/plain", visitors.event().to_string());
    assert_eq!(doors.send(beacon).await.expect(202)["accepted"], 1);
    let answer = doors.post(&json!({"type": "page_view"})).await;
    assert_eq!(answer["event_ids"][0].as_str().unwrap().len(), 36, "a UUID was made: {answer}");

    post_good_and_bad(doors).await;
}

/// Only good events are stored, each bad one is named, and the ids of the good ones come back in their order.
async fn post_good_and_bad(doors: &Doors) {
    let mixed = json!([
        {"type": "page_view", "id": "mixed-1", "payload": {"path": "/mixed"}},
        {"type": "page_view", "id": "mixed-2", "timestamp": "yesterday"},
        {"id": "mixed-3"},
        {"type": "page_view", "id": "mixed-4", "payload": {"path": "/mixed"}},
        7,
        {"event_type": "page_view", "type": "the full name wins", "message_id": "mixed-6", "payload": null},
    ]);
    let answer = doors.send(doors.events("application/json", mixed.to_string())).await.expect(202);
    assert_eq!(answer["event_ids"], json!(["mixed-1", "mixed-4", "mixed-6"]), "{answer}");
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(3), &json!(3)));
    let places: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|e| (e["index"].clone(), e["field"].clone())).collect();
    assert_eq!(places, [(json!(1), json!("timestamp")), (json!(2), json!("event_type")), (json!(4), Value::Null)]);
    assert!(answer["errors"].as_array().unwrap().iter().all(|e| !e["error"].as_str().unwrap().is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_body_is_counted_exactly_on_kafka_and_redis() {
    let settings = on_kafka("spine").await;
    let gauge = Running::start(&settings).await;
    post_every_form(&gauge, "kafka").await;
    let posted = 61;
    gauge.until_consumed(posted).await;
    let recount = assert_exact(&settings, &gauge).await;
    assert_eq!(recount.records(), posted);
    assert!(recount.outcome("counted") > 40 && recount.outcome("filtered") > 0);

    let records = support::kafka().await.read(settings.text_of("log.kafka.topic")).await;
    assert_canonical(&records);
    assert_topic_is_ours(settings.text_of("log.kafka.topic")).await;
    gauge.stop().await;
}

/// Each record is the canonical form under the key that decides its partition, with the documented headers.
fn assert_canonical(records: &[Record]) {
    for record in records {
        let event: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        assert_eq!(event.to_string().len(), record.value.as_ref().unwrap().len(), "compact: {event}");
        assert_eq!(record.header("event_type"), event["event_type"].as_str().unwrap());
        assert_eq!(record.header("event_version"), event["event_version"].to_string());
        assert_eq!(record.header("content-type"), "application/json");
        for alias in ["type", "id", "message_id", "properties"] {
            let kept = event.get(alias).is_some() && event[alias] != "the full name wins";
            assert!(!kept, "an alias is written under its full name: {event}");
        }
        let key = event["session_id"].as_str().or(event["user_id"].as_str()).or(event["event_id"].as_str()).unwrap();
        assert_eq!(record.key.as_deref(), Some(key.as_bytes()), "{event}");
        assert_eq!(record.partition, java_partition(key.as_bytes(), 4), "{event}");
        let (received, time) = (event["received_at"].as_i64().unwrap(), event["timestamp"].as_i64().unwrap());
        assert!(record.timestamp.unwrap() >= received && received <= now_ms() && time > 0, "{event}");
    }
    let search =
        records.iter().map(|r| String::from_utf8_lossy(r.value.as_ref().unwrap())).find(|v| v.contains("search"));
    assert!(search.is_some_and(|value| value.contains(r#""experiment":{"variant":"b"}"#)), "unknown fields are kept");
}

/// The partition that a Java producer chooses for a key: murmur2, as its documentation describes it.
fn java_partition(key: &[u8], partitions: u32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes(word.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let bytes = rest.iter().enumerate().map(|(at, byte)| u32::from(*byte) << (8 * at));
        hash = (hash ^ bytes.sum::<u32>()).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    ((hash ^ (hash >> 15)) & 0x7fff_ffff).rem_euclid(partitions) as i32
}

/// The topic that the program made has four partitions, and the broker gives its records their time.
async fn assert_topic_is_ours(topic: &str) {
    use rdkafka::admin::{AdminOptions, ResourceSpecifier};
    let admin = support::kafka().await.admin();
    let asked = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()).await.unwrap();
    let config = asked.into_iter().next().unwrap().unwrap();
    assert_eq!(config.get("message.timestamp.type").unwrap().value.as_deref(), Some("LogAppendTime"));
    assert_eq!(config.get("retention.ms").unwrap().value.as_deref(), Some("604800000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_body_is_counted_exactly_in_one_file() {
    let (_dir, settings) = embedded();
    let gauge = Running::start(&settings).await;
    post_every_form(&gauge, "disk").await;
    gauge.until_consumed(61).await;
    let recount = assert_exact_in_file(&settings, &gauge).await;
    assert_eq!(recount.records(), 61);
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_event_corrects_its_window_though_it_is_final() {
    let (_dir, file) = embedded();
    for settings in [file, on_kafka("late").await] {
        let settings = settings
            .counting(
                "[[counters]]\nname = \"views\"\nby = [\"payload.path\"]\nwindows = [{ size = \"1s\", keep = \"1h\" }]",
            )
            .with("pipeline.lateness", "500ms");
        let gauge = Running::start(&settings).await;
        let at = now_ms();
        let view = |path: &str| json!({"type": "view", "timestamp": at, "payload": {"path": path}});
        gauge.post(&json!([view("/b"), view("/a"), view("/c"), view("/c")])).await;
        let query = format!("from={}&to={}", at / 1_000, at / 1_000 + 1);
        let bucket = eventually(SOON, "the window is final", async || {
            let answer = gauge.counter("views", &query).await;
            if answer["buckets"][0]["final"] == true { Ok(answer) } else { Err(answer) }
        })
        .await;
        assert!(bucket["complete_until"].as_f64().unwrap() >= (at / 1_000 + 1) as f64);
        let start = at / 1_000;
        let keys = json!([{"key": "/c", "count": 2}, {"key": "/a", "count": 1}, {"key": "/b", "count": 1}]);
        let expected = json!([{"start": start, "end": start + 1, "final": true, "partial": false, "total": 4,
            "other": 0, "keys": keys}]);
        assert_eq!(bucket["buckets"], expected, "{bucket}");

        gauge.post(&view("/b")).await;
        gauge.until_consumed(5).await;
        let corrected = gauge.counter("views", &format!("{query}&top=2")).await;
        let keys = json!([{"key": "/b", "count": 2}, {"key": "/c", "count": 2}]);
        assert_eq!((&corrected["buckets"][0]["keys"], &corrected["buckets"][0]["total"]), (&keys, &json!(5)));
        assert_eq!(corrected["buckets"][0]["final"], true);
        gauge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_names_what_became_of_every_record() {
    let settings = on_kafka("ledger").await;
    let gauge = Running::start(&settings).await;
    let hours_ago = now_ms() - 7_200_000;
    gauge
        .post(&json!([
            {"type": "page_view", "payload": {"path": "/"}},
            {"type": "page_view", "timestamp": hours_ago, "payload": {"path": "/late, but not too late for the hour"}},
            {"type": "brief", "timestamp": hours_ago},
            {"type": "nobody_counts_this"},
        ]))
        .await;
    let raw = vec![("key".to_owned(), b"no event".to_vec())];
    support::kafka().await.produce(settings.text_of("log.kafka.topic"), raw).await;
    let status = gauge.until_consumed(5).await;
    let outcomes = ["counted", "duplicate", "filtered", "expired", "dead_lettered", "skipped", "lost"];
    assert_eq!(outcomes.map(|outcome| sum(&status, outcome)), [2, 0, 1, 1, 1, 0, 0], "{status}");
    assert_eq!(status["unaccounted"], 0);
    assert_eq!(status["partitions"].as_array().unwrap().len(), 4);
    for partition in status["partitions"].as_array().unwrap() {
        assert_eq!(partition["topic"], settings.text_of("log.kafka.topic"));
        assert!(partition["state"] == "running" && partition["reason"].is_null(), "{partition}");
    }
    assert_exact(&settings, &gauge).await;
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_groups_with_two_prefixes_each_count_all_of_a_topic() {
    let one = on_kafka("groups").await;
    let other = unique("groups");
    let two = one.clone().with("store.redis.prefix", other.as_str()).with("log.kafka.group", other.as_str());
    let (first, second) = (Running::start(&one).await, Running::start(&two).await);
    let mut visitors = Visitors::new("groups");
    for doors in [&first, &second] {
        doors.post(&json!(visitors.events(300))).await;
    }
    for (settings, gauge) in [(&one, first), (&two, second)] {
        gauge.until_consumed(600).await;
        assert_exact(settings, &gauge).await;
        gauge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_does_its_part_in_a_process_of_its_own() {
    let settings = on_kafka("roles").await;
    let ingest = Running::start_roles(&settings, &[Role::Ingest]).await;
    ingest.until_ready().await;
    ingest.post(&json!(Visitors::new("roles").events(500))).await;
    assert_eq!(ingest.admin("/readyz/process").await.status, 503);

    let query = Running::start_roles(&settings, &[Role::Query]).await;
    query.until_ready().await;
    assert_eq!(
        query.status().await,
        json!({"data_as_of": null, "complete_until": null, "unaccounted": 0, "partitions": []})
    );

    let (one, two) = (
        Running::start_roles(&settings, &[Role::Process]).await,
        Running::start_roles(&settings, &[Role::Process]).await,
    );
    query.until_consumed(500).await;
    one.until_ready().await;
    two.until_ready().await;
    ingest.post(&json!(Visitors::new("more-roles").events(500))).await;
    query.until_consumed(1_000).await;
    // What one of two leaves behind, the other takes over.
    one.stop().await;
    ingest.post(&json!(Visitors::new("still-more-roles").events(500))).await;
    query.until_consumed(1_500).await;
    assert_exact(&settings, &query).await;
    for part in [two, query, ingest] {
        part.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_exactly_where_it_stopped() {
    let (_dir, file) = embedded();
    for (settings, in_file) in [(file, true), (on_kafka("restart").await, false)] {
        let mut visitors = Visitors::new("restart");
        for round in 1..=3 {
            let gauge = Running::start(&settings).await;
            gauge.post(&json!(visitors.events(200))).await;
            if round == 3 {
                gauge.until_consumed(600).await;
                let recount = match in_file {
                    true => assert_exact_in_file(&settings, &gauge).await,
                    false => assert_exact(&settings, &gauge).await,
                };
                assert_eq!(recount.records(), 600);
            }
            gauge.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_counters_is_the_configured_one() {
    let (_dir, settings) = embedded();
    let gauge = Running::start(&settings).await;
    let answer = gauge.get("/api/v1/counters").await.expect(200);
    let names: Vec<_> = answer["counters"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["page_views", "pairs", "few", "brief"]);
    assert_eq!(
        answer["counters"][2],
        json!({"name": "few", "kind": "count", "event": ["page_view", "click"], "by": ["payload.path"],
            "windows": [{"size": "10s", "keep": "1d"}], "max_keys": 7, "since": 0})
    );
    gauge.stop().await;
}
