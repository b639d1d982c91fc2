//! verify over a real embedded file: counts made by the code that counts, then damaged in various ways.

use super::run::{Report, verify};
use crate::cli::now_s;
use crate::config::Config;
use crate::counter::{Counted, Counters, Counting, Dedupe, Segment, Timing};
use crate::embedded::EmbeddedFile;
use crate::log::{self, EmbeddedLog, EventLog, NewRecord, scan_embedded};
use crate::store::{self, Condition, CounterStore, EmbeddedStore, Flush, Layout, PartitionFlush, PartitionState};
use crate::telemetry::Metrics;
use crate::traffic::Visitors;
use std::path::Path;
use std::sync::Arc;

fn config(dir: &Path) -> Config {
    let mut config = Config::default();
    config.log.kind = log::Kind::Embedded;
    config.store.kind = store::Kind::Embedded;
    config.embedded.path = dir.join("t.db");
    config
}

/// A day of visitors in the log, all but the last records counted. Answers how many were.
async fn counted(config: &Config) -> u64 {
    let file = EmbeddedFile::open(&config.embedded, false).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let log = EmbeddedLog::open(file.clone(), &config.embedded, ("user.events", "g"), metrics).await.unwrap();
    let now_ms = now_s() * 1_000;
    let mut visitors = Visitors::new(3, 50).unwrap();
    for age in 0..40 {
        let bodies = visitors.bodies(50, 1, now_ms - (40 - age) * 90_000);
        let record = |json: String| NewRecord {
            key: Some(b"k".to_vec()),
            value: Some(json.trim_matches(['[', ']']).as_bytes().to_vec()),
            headers: Vec::new(),
        };
        log.append(bodies.into_iter().map(|body| record(body.json)).collect()).await.unwrap();
    }
    let counters = Arc::new(Counters::new(config.counters.clone()).unwrap());
    let store = EmbeddedStore::open(file, counters.clone()).await.unwrap();
    let topic = config.log.kafka.topic.clone();
    let layout = Layout { topic: topic.clone(), group: "g".into(), counters: config.counters.clone() };
    store.prepare(&layout, now_s()).await.unwrap();
    let mut counting = Counting::new(counters, Timing { lateness_ms: 5_000, max_ahead_ms: 60_000 });
    let (mut dedupe, mut segment) = (Dedupe::new(200_000), Segment::starting_at(0));
    let mut letters = 0;
    scan_embedded(&config.embedded.path, 0, 1_900, &mut |record| {
        segment.consume(record.offset);
        let counted = counting.count(record.time_ms, record.value, &mut dedupe, &mut segment);
        letters += u64::from(matches!(counted, Counted::DeadLetter(_)));
    })
    .unwrap();
    assert!(letters > 0 && segment.ledger.counted > 1_800);
    let condition =
        Condition { state: PartitionState::Running, reason: None, missing: None, high_watermark: None, partitions: 1 };
    let part = PartitionFlush { partition: 0, expected: None, segment: Some(Arc::new(segment)), condition };
    store.flush(&Flush { shard: 0, topic, now_ms, parts: vec![part] }).await.unwrap();
    1_900
}

async fn damaged(sql: &str) -> (Report, Report) {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    counted(&config).await;
    let before = verify(&config, None, None).await.unwrap();
    let changed = rusqlite::Connection::open(&config.embedded.path).unwrap().execute(sql, []).unwrap();
    assert!(changed > 0);
    (before, verify(&config, None, None).await.unwrap())
}

#[tokio::test]
async fn counts_that_are_right_are_found_right() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let records = counted(&config).await;
    let report = verify(&config, None, None).await.unwrap();
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!(report.records, records);
    assert!(report.cells > 5_000, "{}", report.cells);
    let one = verify(&config, Some("clicks".into()), Some(now_s() - 900)).await.unwrap();
    assert_eq!(one.differences, Vec::<String>::new());
    assert!(one.cells > 10 && one.cells < report.cells / 10, "{}", one.cells);
    assert!(verify(&config, Some("clikcs".into()), None).await.is_err());
}

#[tokio::test]
async fn one_event_too_many_is_found() {
    let sql = "UPDATE store_key SET count = count + 1 WHERE key = '/' AND start = (SELECT max(start) FROM store_key \
               WHERE key = '/')";
    let (before, after) = damaged(sql).await;
    assert_eq!(before.differences, Vec::<String>::new());
    assert!(after.differences.iter().any(|line| line.contains("page_views 10s") && line.contains("key \"/\"")));
}

#[tokio::test]
async fn a_bucket_that_nobody_counted_into_is_found() {
    let sql = "INSERT INTO store_sum SELECT series, start + 10 * 20, 1, 0, 0 FROM store_sum WHERE series = \
               (SELECT series FROM store_series WHERE counter = 'searches' AND window = '10s') \
               ORDER BY start LIMIT 1 ON CONFLICT DO UPDATE SET total = total + 1";
    let (_, after) = damaged(sql).await;
    assert!(after.differences.iter().any(|line| line.starts_with("searches 10s")), "{:?}", after.differences);
}

#[tokio::test]
async fn a_ledger_that_hides_a_record_is_found() {
    let (_, after) = damaged("UPDATE store_partition SET counted = counted - 1, filtered = filtered + 1").await;
    assert_eq!(after.differences.len(), 2);
    let (_, after) = damaged("UPDATE store_partition SET consumed = consumed - 1").await;
    assert_eq!(after.differences.len(), 2, "{:?}", after.differences);
}

#[tokio::test]
async fn records_that_are_gone_are_said_to_be() {
    let (_, after) = damaged("DELETE FROM records WHERE offset < 100").await;
    assert_eq!(after.differences, Vec::<String>::new());
    assert!(after.notes.iter().any(|note| note.contains("100 counted offsets are no longer")), "{:?}", after.notes);
    let (_, after) = damaged("DELETE FROM records").await;
    assert_eq!(after.differences, Vec::<String>::new());
}
