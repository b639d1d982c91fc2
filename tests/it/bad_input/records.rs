//! The door of the topic itself: what other producers write there.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::json;

use crate::support::app::Running;
use crate::support::oracle::{Recount, records_of};
use crate::support::topic::{Raw, Record};
use crate::support::traffic::Visitors;
use crate::support::{self, Settings, now_ms, unique};

/// Values of records that cannot be read as an event, `None` for a tombstone.
fn unreadable() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let deep = |n: usize| format!("{{\"type\":\"view\",\"payload\":{}1{}}}", "{\"a\":".repeat(n), "}".repeat(n));
    vec![
        ("a tombstone", None),
        ("an empty value", text("")),
        ("white space", text(" \n ")),
        ("no JSON", text("not json")),
        ("JSON that breaks off", text(r#"{"type":"view""#)),
        ("something behind it", text(r#"{"type":"view"} x"#)),
        ("an array", text(r#"[{"type":"view"}]"#)),
        ("a number", text("5")),
        ("no type", text(r#"{"event_id":"x"}"#)),
        ("wrong types", text(r#"{"type":"view","user_id":7}"#)),
        ("an absurd timestamp", text(r#"{"type":"view","timestamp":1}"#)),
        ("a timestamp that is none", text(r#"{"type":"view","timestamp":"soon"}"#)),
        ("a known field twice", text(r#"{"type":"view","type":"view"}"#)),
        ("a lone surrogate", text(r#"{"type":"view","payload":{"path":"\udfff"}}"#)),
        ("invalid UTF-8", Some(b"{\"type\":\"vi\xffew\"}".to_vec())),
        ("NUL bytes", Some(vec![0; 64])),
        ("NUL in a type", text(r#"{"type":"a\u0000b"}"#)),
        ("a raw NUL in a string", Some(b"{\"type\":\"a\0b\"}".to_vec())),
        ("depth 33", text(&deep(33))),
        ("depth 1,000", text(&deep(1_000))),
        ("depth 100,000", text(&deep(100_000))),
        ("1 MB of brackets", Some(vec![b'['; 1_000_000])),
        ("1 MB of nothing", Some(vec![0xff; 1_000_000])),
        (
            "1 MB that breaks off",
            text(&format!("{{\"type\":\"view\",\"payload\":{{\"path\":\"{}", "x".repeat(1_000_000))),
        ),
        ("1 MB of text in a type", text(&format!("{{\"type\":\"{}\"}}", "x".repeat(1_000_000)))),
    ]
}

/// Values that are events, however strange.
fn readable() -> Vec<Vec<u8>> {
    let long = format!("{{\"type\":\"page_view\",\"payload\":{{\"path\":\"{}\"}}}}", "y".repeat(1_000_000));
    let texts = [
        r#"{"type":"page_view","payload":{"path":"/a"}}"#.to_owned(),
        r#" {"type" : "page_view", "context":{"country":"NO"}, "received_at": 1760000000000 } "#.to_owned(),
        r#"{"event_type":"page_view","event_id":null,"payload":null}"#.to_owned(),
        r#"{"type":"page_view","payload":{"path":"nul\u0000"}}"#.to_owned(),
        format!(r#"{{"type":"page_view","received_at":{},"payload":{{"path":"/received"}}}}"#, now_ms()),
        long,
    ];
    texts.map(String::into_bytes).into()
}

/// All of them, in turns, spread over this many partitions.
fn mixed(partitions: i32) -> (Vec<Raw>, usize) {
    let (bad, good) = (unreadable(), readable());
    let count = bad.len();
    let mut values: Vec<_> = bad.into_iter().map(|(_, value)| value).collect();
    for (n, value) in good.into_iter().cycle().take(2 * count).enumerate() {
        values.insert((n * 3 + 1).min(values.len()), Some(value));
    }
    let raw = values.into_iter().enumerate().map(|(n, value)| Raw {
        key: (n % 3 != 0).then(|| format!("key {n}").into_bytes()),
        value,
        partition: Some(n as i32 % partitions),
        ..Raw::default()
    });
    (raw.collect(), count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_that_cannot_be_read_is_a_dead_letter_and_its_partition_goes_on() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic("bad-records", 3).await;
    let (mut raw, mut bad) = mixed(3);
    // No event has a time without the record's.
    raw.push(Raw {
        value: Some(br#"{"type":"page_view"}"#.to_vec()),
        partition: Some(1),
        timestamp: Some(-1),
        ..Raw::default()
    });
    bad += 1;
    let all = raw.len() as u64;
    kafka.produce(&topic, raw).await;

    let settings = Settings::kafka(kafka, redis, &topic, &unique("bad-records"));
    let gauge = Running::start(&settings).await;
    gauge.until_consumed(all).await;
    let recount = Recount::of_topic(kafka, &settings).await;
    assert_eq!(recount.outcome("dead_lettered"), bad as u64);
    recount.assert_in_redis(redis, &settings).await;
    recount.assert_in_api(&gauge).await;
    gauge.until_ready().await;
    let metrics = gauge.admin("/metrics").await.text();
    assert!(metrics.contains(&format!("streamgauge_dead_letters_total {bad}\n")), "{metrics}");
    gauge.stop().await;

    let letters = kafka.read(&format!("{topic}.dlq")).await;
    assert_dead_letters(&topic, &kafka.read(&topic).await, &letters, bad);
    assert!(letters.iter().all(|letter| letter.headers.iter().all(|(name, _)| name != "truncated")));
}

/// For each record that cannot be read, its own bytes, and headers that tell where they came from and why.
fn assert_dead_letters(topic: &str, records: &[Record], letters: &[Record], bad: usize) {
    let at = |letter: &Record, header: &str| letter.header(header).parse::<i64>().unwrap();
    let place = |letter: &Record| (at(letter, "original-partition") as i32, at(letter, "original-offset"));
    let by_place: BTreeMap<_, _> = letters.iter().map(|letter| (place(letter), letter)).collect();
    assert_eq!(by_place.len(), bad);
    for (place, letter) in by_place {
        let original = records.iter().find(|record| (record.partition, record.offset) == place).unwrap();
        assert_eq!((&letter.key, &letter.value), (&original.key, &original.value), "{place:?}");
        assert_eq!(letter.header("original-topic"), topic);
        let timestamp = original.timestamp.map(|ms| ms.to_string()).unwrap_or_default();
        assert_eq!(letter.header("original-timestamp"), timestamp);
        assert!(at(letter, "attempts") >= 1 && (at(letter, "failed-at") - now_ms()).abs() < 600_000);
        let error = letter.header("error");
        assert!(error.len() > 5 && error.len() < 2_000, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_the_broker_refuses_for_its_size_is_cut_and_blocks_nobody() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic("cut", 1).await;
    kafka.create(&format!("{topic}.dlq"), 1, &[("max.message.bytes", "20000")]).await;
    // Bytes that cannot be compressed.
    let mut visitors = Visitors::new("cut");
    let large: Vec<u8> = (0..1_000_000).map(|_| visitors.below(256) as u8).collect();
    let values = [b"small".to_vec(), large.clone(), br#"{"type":"page_view"}"#.to_vec()];
    kafka.produce(&topic, values.map(|value| Raw { value: Some(value), ..Raw::default() })).await;
    let settings = Settings::kafka(kafka, redis, &topic, &unique("cut"));
    let gauge = Running::start(&settings).await;
    gauge.until_consumed(3).await;
    Recount::of_topic(kafka, &settings).await.assert_in_redis(redis, &settings).await;
    gauge.stop().await;

    let letters = kafka.read(&format!("{topic}.dlq")).await;
    let of = |offset: &str| letters.iter().find(|letter| letter.header("original-offset") == offset).unwrap();
    assert_eq!(of("0").value.as_deref(), Some(&b"small"[..]));
    let cut = of("1");
    assert!(large.starts_with(cut.value.as_ref().unwrap()) && cut.value.as_ref().unwrap().len() < 20_000);
    assert!(!cut.header("truncated").is_empty() && !cut.header("error").is_empty());
}

/// The log of the embedded mode is a table that other programs can write as well, while nobody runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_the_file_that_cannot_be_read_is_a_dead_letter_too() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path());
    let file = settings.text_of("embedded.path").to_owned();
    let gauge = Running::start(&settings).await;
    gauge.post(&json!({"type": "page_view", "payload": {"path": "/before"}})).await;
    gauge.until_consumed(1).await;
    gauge.stop().await;

    let (raw, bad) = mixed(1);
    let all = raw.len() as u64 + 1;
    {
        let connection = Connection::open(&file).unwrap();
        let insert = "INSERT INTO records (time_ms, key, value) VALUES (?1, ?2, ?3)";
        for record in raw {
            connection.execute(insert, rusqlite::params![now_ms(), record.key, record.value]).unwrap();
        }
    }
    let gauge = Running::start(&settings).await;
    gauge.until_consumed(all).await;
    let records = records_of(file.as_ref());
    let recount = Recount::of_records(&settings, &records);
    assert_eq!(recount.outcome("dead_lettered"), bad as u64);
    recount.assert_in_api(&gauge).await;
    gauge.stop().await;

    let connection = Connection::open(&file).unwrap();
    let mut select = connection.prepare("SELECT original_offset, value, error FROM dead_letters").unwrap();
    let letters: Vec<(i64, Option<Vec<u8>>, String)> = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(|letter| letter.unwrap())
        .collect();
    assert_eq!(letters.len(), bad);
    for (offset, value, error) in letters {
        let original = records.iter().find(|record| record.offset == offset).unwrap();
        assert_eq!(original.value, value);
        assert!(!error.is_empty());
    }
}
