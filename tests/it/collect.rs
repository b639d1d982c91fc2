//! The collection endpoint as services and browsers use it: compressed, with write keys, within limits, and asked first
//! what would become of an event.

mod limits;
mod sites;

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::support::app::Running;
use crate::support::oracle::{Recount, records_of};
use crate::support::{self, Settings, now_ms, unique};

/// Counts apart whose events they are.
const BY_SITE: &str = r#"
[[counters]]
name = "by_site"
by = ["context.site"]
windows = [{ size = "1h", keep = "1d" }]

[[counters]]
name = "views"
event = "page_view"
by = ["payload.path", "session_id"]
windows = [{ size = "10s", keep = "1h" }, { size = "1h", keep = "1d" }]

[[counters]]
name = "all"
windows = [{ size = "10s", keep = "1h" }]
"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), Compression::fast());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut to = ZlibEncoder::new(Vec::new(), Compression::fast());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut to = DeflateEncoder::new(Vec::new(), Compression::fast());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// What an embedded program has stored.
fn stored(settings: &Settings) -> Vec<Value> {
    let records = records_of(settings.text_of("embedded.path").as_ref());
    records.iter().map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_bodies_are_taken_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).counting(BY_SITE);
    let gauge = Running::start(&settings).await;
    let view =
        |n: usize| format!("{{\"type\":\"page_view\",\"id\":\"{n}\",\"payload\":{{\"path\":\"/{}\"}}}}\n", n % 7);
    // 5,000 events have about 300 KiB: they are read on a thread of their own.
    let lines = |encoding: usize| (encoding * 5_000..(encoding + 1) * 5_000).map(view).collect::<String>().into_bytes();
    for (at, (encoding, compress)) in
        [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("deflate", zlib), ("deflate", raw_deflate), ("ZSTD", zstd)]
            .into_iter()
            .enumerate()
    {
        let request = gauge.events("application/x-ndjson", compress(&lines(at))).header("content-encoding", encoding);
        assert_eq!(gauge.send(request).await.expect(202)["accepted"], 5_000, "{encoding}");
        let cut = compress(&lines(at));
        let request = gauge.events("application/x-ndjson", cut[..cut.len() - 3].to_vec());
        let answer = gauge.send(request.header("content-encoding", encoding)).await.expect(400);
        assert!(answer["error"].as_str().unwrap().contains("breaks off"), "{answer}");
    }
    gauge.until_consumed(20_000).await;
    Recount::of_records(&settings, &records_of(settings.text_of("embedded.path").as_ref())).assert_in_api(&gauge).await;
    gauge.stop().await;
}

/// Events of all kinds, with ids and times, so that they are the same whenever they are sent.
fn events() -> Value {
    let now = now_ms();
    let view = |id: &str, at: i64, rest: &Value| {
        let mut event = json!({"type": "page_view", "id": id, "timestamp": at, "payload": {"path": "/a"}});
        event.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        event
    };
    json!([
        view("now", now, &json!({"session_id": "s"})),
        {},
        view("late", now - 7_200_000, &json!({})),
        view("gone", now - 200_000_000, &json!({})),
        {"type": "page_view", "timestamp": "now"},
        view("ahead", now + 7_200_000, &json!({"user_id": "u", "payload": {"path": {"deep": [1, "ä\u{1f600}"]}}})),
        {"type": "click", "id": "click", "properties": {"target": "\"quoted\""}},
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_is_counted_then_and_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).counting(BY_SITE);
    let gauge = Running::start(&settings).await;
    let body = events().to_string();
    let dry = gauge.http().post(gauge.ingest_url("/events?dry_run=1")).body(body.clone());
    let dry = gauge.send(dry.header("content-type", "application/json")).await.expect(200);
    assert_eq!((&dry["dry_run"], &dry["accepted"], &dry["rejected"]), (&json!(true), &json!(5), &json!(2)));
    assert_eq!(stored(&settings), Vec::<Value>::new());
    let unclear = gauge.http().post(gauge.ingest_url("/events?dry_run=yes")).body(body.clone());
    assert_eq!(gauge.send(unclear).await.expect(400)["field"], "dry_run");

    let real = gauge.send(gauge.events("application/json", body)).await.expect(202);
    for same in ["accepted", "rejected", "event_ids", "errors"] {
        assert_eq!(dry[same], real[same], "{same}");
    }
    let status = gauge.until_consumed(5).await;
    assert_eq!(status["partitions"][0]["ledger"]["expired"], 1, "{status}");
    let dry = dry["events"].as_array().unwrap();
    assert_eq!(dry.iter().map(|event| event["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 2, 3, 5, 6]);
    for (said, record) in dry.iter().zip(records_of(settings.text_of("embedded.path").as_ref())) {
        let mut value: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        let mut expected = said["record"].clone();
        // Only when it was received differs, and what follows from that.
        for (field, differs) in [("received_at", true), ("timestamp", said["index"] == 6)] {
            let (was, is) = (expected[field].take(), value[field].take());
            assert_eq!(was == is, !differs || was == is, "{field}");
        }
        assert_eq!(value, expected);
        assert_eq!(said["key"].as_str().unwrap().as_bytes(), record.key.unwrap());
    }
    assert_reached(&gauge, dry).await;
    gauge.stop().await;
}

/// Every series that was named has what was said of it, and there are no others.
async fn assert_reached(gauge: &Running, dry: &[Value]) {
    let mut expected = std::collections::BTreeMap::new();
    for reached in dry.iter().flat_map(|event| event["counters"].as_array().unwrap()) {
        for window in reached["windows"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let series = (text(&reached["counter"]).unwrap(), text(&window["size"]).unwrap(), text(&reached["key"]));
            *expected.entry(series).or_insert(0) += 1;
        }
    }
    let mut found = std::collections::BTreeMap::new();
    for (counter, window) in [("by_site", "1h"), ("views", "10s"), ("views", "1h"), ("all", "10s")] {
        let answer = gauge.counter(counter, &format!("window={window}&from=-24h&to={}", now_ms() / 1_000 + 60)).await;
        for bucket in answer["buckets"].as_array().unwrap() {
            let keys = bucket["keys"].as_array().map_or(&[][..], Vec::as_slice);
            for key in keys {
                let series = (counter.to_owned(), window.to_owned(), Some(key["key"].as_str().unwrap().to_owned()));
                *found.entry(series).or_insert(0) += key["count"].as_u64().unwrap();
            }
            if keys.is_empty() && bucket["total"] != 0 {
                let series = (counter.to_owned(), window.to_owned(), None);
                *found.entry(series).or_insert(0) += bucket["total"].as_u64().unwrap();
            }
        }
    }
    assert_eq!(found, expected);
    assert!(expected.len() > 5, "{expected:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_clock_is_corrected_up_to_the_window_that_counts() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = Settings::kafka(kafka, redis, &unique("clock"), &unique("clock")).counting(BY_SITE);
    let gauge = Running::start(&settings).await;
    let hour = 3_600_000;
    let sent = |behind: i64, event: Value| json!({"sent_at": now_ms() - behind, "events": [event]});
    let view = |id: &str, at: i64| json!({"type": "page_view", "id": id, "timestamp": at, "payload": {"path": "/"}});
    // A clock five hours behind, one three years ahead, and one that is nearly right.
    gauge.post(&sent(5 * hour, view("behind", now_ms() - 5 * hour - 1_000))).await;
    gauge.post(&sent(-26_000 * hour, view("ahead", now_ms() + 26_000 * hour - 1_000))).await;
    let right = now_ms() - 30_000;
    gauge.post(&sent(20_000, view("right", right))).await;
    let by_header = gauge.events("application/json", view("header", now_ms() - 2 * hour).to_string());
    gauge.send(by_header.header("x-sent-at", (now_ms() - 2 * hour).to_string())).await.expect(202);
    // Without a time of its own an event happened when it was received.
    gauge.post(&sent(5 * hour, json!({"type": "page_view", "id": "none", "payload": {"path": "/"}}))).await;
    let refused = gauge.events("application/json", "{\"type\":\"page_view\"}").header("x-sent-at", "yesterday");
    assert_eq!(gauge.send(refused).await.expect(400)["field"], "X-Sent-At");
    gauge.until_consumed(5).await;

    let records = kafka.read(settings.text_of("log.kafka.topic")).await;
    let record = |id: &str| {
        let values = records.iter().map(|record| record.value.as_deref().unwrap());
        let mut values = values.map(|value| serde_json::from_slice::<Value>(value).unwrap());
        values.find(|value| value["event_id"] == id).unwrap_or_else(|| panic!("no {id}"))
    };
    let skew = |id: &str| record(id)["context"]["clock_skew_ms"].as_i64();
    for (id, expected) in [("behind", 5 * hour), ("ahead", -26_000 * hour), ("header", 2 * hour)] {
        let skew = skew(id).unwrap_or_else(|| panic!("{id} was not moved"));
        assert!((expected..expected + 60_000).contains(&skew), "{id}: {skew}");
        let off = record(id)["received_at"].as_i64().unwrap() - record(id)["timestamp"].as_i64().unwrap();
        assert!((0..60_000).contains(&off), "{id}: {off}");
        assert!(record(id).get("sent_at").is_none());
    }
    assert_eq!((skew("right"), skew("none")), (None, None));
    assert_eq!(record("right")["timestamp"], right);
    let answer = gauge.counter("views", "window=10s&from=-5m").await;
    let total: u64 = answer["buckets"].as_array().unwrap().iter().map(|bucket| bucket["total"].as_u64().unwrap()).sum();
    assert_eq!(total, 5, "{answer}");
    Recount::of_topic(kafka, &settings).await.assert_in_redis(redis, &settings).await;
    gauge.stop().await;
}
