use crate::counter::{Kind, Slot};
use crate::store::conformance::{NOW_S, TOPIC, flush, layout, part, segment, specs};
use crate::store::testing::{Bench, EmbeddedBench};
use crate::store::{CounterStore, EmbeddedStore, Flushed, Keys, Read, StoreError};

fn rows(bench: &EmbeddedBench, table: &str) -> i64 {
    let reader = bench.file.reader().unwrap();
    reader.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn buckets_past_their_retention_are_deleted_a_bounded_number_at_a_time() {
    let bench = EmbeddedBench::new();
    let mut wide = specs();
    wide[0].max_keys = 10_000;
    let store = bench.store(wide).await;
    let mut big = segment(0, 3_000, &[]);
    for n in 0..3_000 {
        big.deltas.add(Slot { counter: 0, window: 0, start: NOW_S }, Some(&n.to_string()), 1);
    }
    big.deltas.add(Slot { counter: 0, window: 1, start: NOW_S }, Some("stays"), 1);
    store.flush(&flush(vec![part(0, None, Some(big))])).await.unwrap();
    for (flushes, keys, sums) in [(0, 3_001, 2), (1, 1_001, 2), (2, 1, 1), (3, 1, 1)] {
        assert_eq!((rows(&bench, "store_key"), rows(&bench, "store_sum")), (keys, sums), "after {flushes}");
        let mut later = flush(vec![part(0, Some(3_000), None)]);
        later.now_ms = (NOW_S + 10 + 60 + 600) * 1_000;
        store.flush(&later).await.unwrap();
    }
    assert_eq!(store.key_count("views", "1m", &[NOW_S]).await.unwrap(), 1);
}

#[tokio::test]
async fn another_reader_sees_what_is_committed_and_cannot_write() {
    let bench = EmbeddedBench::new();
    let store = bench.store(specs()).await;
    let reader = EmbeddedStore::reading(bench.file.path()).unwrap();
    store.prepare(&layout(specs()), 0).await.unwrap();
    let first = flush(vec![part(0, None, Some(segment(0, 4, &[("/a", 4)])))]);
    store.flush(&first).await.unwrap();
    reader.ready().await.unwrap();
    assert_eq!(reader.counters().await.unwrap().len(), 2);
    let read =
        Read { counter: "views".into(), kind: Kind::Count, window: "10s".into(), starts: vec![NOW_S], keys: Keys::All };
    assert_eq!(reader.read(&read).await.unwrap()[0].keys, [("/a".to_owned(), 4)]);
    let stored = reader.partitions(TOPIC, &[0]).await.unwrap().remove(0).unwrap();
    assert_eq!(stored.next_offset, Some(4));
    let error = reader.flush(&flush(vec![part(0, Some(4), None)])).await.unwrap_err();
    assert!(error.to_string().contains("reading only"), "{error}");
    assert!(EmbeddedStore::reading(&bench.file.path().with_extension("none")).is_err());
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_same_flush_goes_through_later() {
    let bench = EmbeddedBench::new();
    let mut wide = specs();
    wide[0].max_keys = 1_000_000;
    let store = bench.store(wide).await;
    let limit =
        |pages: i64| bench.file.write(move |c| c.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())));
    limit(40).await.unwrap();
    let mut big = segment(0, 4, &[]);
    for n in 0..5_000 {
        let key = format!("{n:0200}");
        big.deltas.add(Slot { counter: 0, window: 0, start: NOW_S }, Some(&key), 1);
    }
    let big = flush(vec![part(0, None, Some(big))]);
    let error = store.flush(&big).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("disk is full"), "{error}");
    assert_eq!(store.partitions(TOPIC, &[0]).await.unwrap(), [None]);
    assert_eq!((rows(&bench, "store_key"), rows(&bench, "store_sum")), (0, 0));
    limit(1_000_000).await.unwrap();
    assert_eq!(store.flush(&big).await.unwrap(), Flushed::Applied { cells: 5_001 });
    bench.file.close();
    let error = store.ready().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
}
