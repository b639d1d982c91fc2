//! What every store must do, tried on each: Redis with one shard and with three, a Redis Cluster, and the embedded
//! file.

use super::testing::{Bench, EmbeddedBench, RedisBench};
use super::{
    Condition, CounterStore, Flush, Flushed, Keys, Layout, PartitionFlush, PartitionState, Read, StoreError,
    StoredBucket,
};
use crate::counter::{Fingerprint, Gap, Kind, Ledger, Segment, Slot, Spec, WindowSpec};
use crate::window::Watermark;
use std::sync::Arc;

mod measured;

pub(super) use measured::measuring;
use measured::*;

/// Far in the future, so that the Redis of the tests expires nothing by its own clock. A whole hour.
pub(super) const NOW_S: i64 = 4_000_003_200;
pub(super) const TOPIC: &str = "user.events";

/// `views` by path in windows of 10 s and 1 min with room for 3 keys, and `plain` without keys.
pub(super) fn specs() -> Vec<Spec> {
    let window = |size: &str, keep: &str| WindowSpec { size: size.into(), keep: keep.into() };
    let views = Spec {
        name: "views".into(),
        event: vec!["page_view".into()],
        by: vec!["payload.path".into()],
        windows: vec![window("10s", "1m"), window("1m", "1h")],
        max_keys: 3,
        ..Spec::default()
    };
    let plain = Spec {
        name: "plain".into(),
        event: Vec::new(),
        by: Vec::new(),
        windows: vec![window("10s", "1m")],
        max_keys: 3,
        ..Spec::default()
    };
    vec![views, plain]
}

pub(super) fn running() -> Condition {
    Condition { state: PartitionState::Running, reason: None, missing: None, high_watermark: Some(50), partitions: 4 }
}

/// A range of offsets whose events all add to one bucket of `views` per key.
pub(super) fn segment(from: i64, to: i64, keys: &[(&str, u64)]) -> Segment {
    let mut segment = Segment::starting_at(from);
    segment.to = to;
    segment.ledger =
        Ledger { consumed: (to - from).unsigned_abs(), counted: (to - from).unsigned_abs(), ..Ledger::default() };
    segment.watermark = Watermark::at(NOW_S * 1_000 + to);
    segment.fingerprint = (from < to).then(|| Fingerprint::of(to - 1, NOW_S * 1_000, None, Some(b"x")));
    for (key, n) in keys {
        segment.deltas.add(Slot { counter: 0, window: 0, start: NOW_S }, Some(key), *n);
    }
    segment
}

pub(super) fn part(partition: i32, expected: Option<i64>, segment: Option<Segment>) -> PartitionFlush {
    PartitionFlush { partition, expected, segment: segment.map(Arc::new), condition: running() }
}

pub(super) fn flush(parts: Vec<PartitionFlush>) -> Flush {
    Flush { shard: 0, topic: TOPIC.into(), now_ms: NOW_S * 1_000, parts }
}

async fn applied(store: &dyn CounterStore, parts: Vec<PartitionFlush>) -> usize {
    match store.flush(&flush(parts)).await.unwrap() {
        Flushed::Applied { cells } => cells,
        conflict @ Flushed::Conflict(_) => panic!("{conflict:?}"),
    }
}

async fn bucket(store: &dyn CounterStore, keys: Keys) -> StoredBucket {
    let read = Read { counter: "views".into(), kind: Kind::Count, window: "10s".into(), starts: vec![NOW_S], keys };
    let mut buckets = store.read(&read).await.unwrap();
    assert_eq!(buckets.len(), 1);
    buckets[0].keys.sort();
    buckets.remove(0)
}

fn counted(total: u64, other: u64, keys: &[(&str, u64)]) -> StoredBucket {
    let keys = keys.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect();
    StoredBucket { total, other, keys, ..StoredBucket::default() }
}

/// Partitions that belong to shard 0, whatever the number of shards.
fn of_shard_0(store: &dyn CounterStore) -> (i32, i32) {
    (0, i32::try_from(store.shards()).unwrap())
}

pub(super) fn layout(specs: Vec<Spec>) -> Layout {
    Layout { topic: TOPIC.into(), group: "streamgauge".into(), counters: specs }
}

async fn a_flush_adds_counts_ledger_and_offsets_together(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    assert_eq!(store.partitions(TOPIC, &[0]).await.unwrap(), [None]);
    let first = segment(5, 10, &[("/a", 3), ("/b", 2)]);
    assert_eq!(applied(&*store, vec![part(0, None, Some(first.clone()))]).await, 3);
    applied(&*store, vec![part(0, Some(10), Some(segment(10, 12, &[("/a", 2)])))]).await;
    assert_eq!(bucket(&*store, Keys::All).await, counted(7, 0, &[("/a", 5), ("/b", 2)]));
    assert_eq!(bucket(&*store, Keys::None).await, counted(7, 0, &[]));
    assert_eq!(bucket(&*store, Keys::One("/b".into())).await, counted(7, 0, &[("/b", 2)]));
    assert_eq!(bucket(&*store, Keys::One("/c".into())).await, counted(7, 0, &[]));
    let stored = store.partitions(TOPIC, &[1, 0]).await.unwrap();
    assert_eq!(stored[0], None);
    let stored = stored[1].clone().unwrap();
    assert_eq!((stored.start_offset, stored.next_offset), (Some(5), Some(12)));
    assert_eq!(stored.ledger, Ledger { consumed: 7, counted: 7, ..Ledger::default() });
    assert_eq!(stored.watermark_ms, Some(NOW_S * 1_000 + 12));
    assert_eq!(stored.fingerprint, Some(Fingerprint::of(11, NOW_S * 1_000, None, Some(b"x"))));
    assert_eq!((stored.condition, stored.updated_at_ms), (running(), NOW_S * 1_000));
    assert_eq!(store.key_count("views", "10s", &[NOW_S, NOW_S + 10]).await.unwrap(), 2);
}

async fn a_flush_that_comes_again_is_a_conflict_that_shows_it_was_applied(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let again = vec![part(0, None, Some(segment(0, 4, &[("/a", 4)])))];
    applied(&*store, again.clone()).await;
    for _ in 0..3 {
        assert_eq!(store.flush(&flush(again.clone())).await.unwrap(), Flushed::Conflict(vec![(0, Some(4))]));
    }
    assert_eq!(bucket(&*store, Keys::All).await, counted(4, 0, &[("/a", 4)]));
}

async fn a_conflict_of_one_partition_writes_nothing_of_the_others(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let (a, b) = of_shard_0(&*store);
    applied(&*store, vec![part(a, None, Some(segment(0, 4, &[("/a", 4)])))]).await;
    let before = bench.snapshot().await.len();
    let parts =
        vec![part(b, None, Some(segment(0, 9, &[("/b", 9)]))), part(a, Some(3), Some(segment(3, 5, &[("/a", 2)])))];
    assert_eq!(store.flush(&flush(parts)).await.unwrap(), Flushed::Conflict(vec![(b, None), (a, Some(4))]));
    assert_eq!(bucket(&*store, Keys::All).await, counted(4, 0, &[("/a", 4)]));
    assert_eq!(store.partitions(TOPIC, &[b]).await.unwrap(), [None]);
    assert_eq!(bench.snapshot().await.len(), before);
}

async fn partitions_of_one_flush_add_to_the_same_buckets(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let (a, b) = of_shard_0(&*store);
    let parts = vec![
        part(a, None, Some(segment(0, 4, &[("/a", 3), ("/b", 1)]))),
        part(b, None, Some(segment(7, 9, &[("/a", 2)]))),
    ];
    assert_eq!(applied(&*store, parts).await, 3, "merged: a sum and two keys");
    assert_eq!(bucket(&*store, Keys::All).await, counted(6, 0, &[("/a", 5), ("/b", 1)]));
    let offsets = store.partitions(TOPIC, &[a, b]).await.unwrap();
    let offsets: Vec<_> = offsets.into_iter().map(|p| p.unwrap().next_offset).collect();
    assert_eq!(offsets, [Some(4), Some(9)]);
}

async fn shards_are_added_up(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    for partition in 0..6 {
        let mut flush = flush(vec![part(partition, None, Some(segment(0, 1, &[("/a", 1), ("/b", 2)])))]);
        flush.shard = u32::try_from(partition).unwrap() % store.shards();
        assert!(matches!(store.flush(&flush).await.unwrap(), Flushed::Applied { .. }));
    }
    assert_eq!(bucket(&*store, Keys::All).await, counted(18, 0, &[("/a", 6), ("/b", 12)]));
    assert_eq!(bucket(&*store, Keys::One("/b".into())).await, counted(18, 0, &[("/b", 12)]));
    assert_eq!(store.partitions(TOPIC, &[0, 1, 2, 3, 4, 5]).await.unwrap().iter().flatten().count(), 6);
}

async fn keys_beyond_the_limit_are_other(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    applied(&*store, vec![part(0, None, Some(segment(0, 2, &[("/d", 1), ("/e", 1)])))]).await;
    let more = segment(2, 9, &[("/c", 1), ("/a", 2), ("/d", 4), ("/b", 3)]);
    applied(&*store, vec![part(0, Some(2), Some(more))]).await;
    assert_eq!(bucket(&*store, Keys::All).await, counted(12, 4, &[("/a", 2), ("/d", 5), ("/e", 1)]));
    applied(&*store, vec![part(0, Some(9), Some(segment(9, 11, &[("/a", 1), ("/f", 7)])))]).await;
    assert_eq!(bucket(&*store, Keys::All).await, counted(20, 11, &[("/a", 3), ("/d", 5), ("/e", 1)]));
    assert_eq!(store.key_count("views", "10s", &[NOW_S]).await.unwrap(), 3);
}

async fn a_counter_without_keys_has_only_sums(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let mut plain = segment(0, 3, &[]);
    plain.deltas.add(Slot { counter: 1, window: 0, start: NOW_S }, None, 3);
    assert_eq!(applied(&*store, vec![part(0, None, Some(plain))]).await, 1);
    let starts = vec![NOW_S + 10, NOW_S, NOW_S - 10];
    let read = Read { counter: "plain".into(), kind: Kind::Count, window: "10s".into(), starts, keys: Keys::All };
    let read = store.read(&read).await.unwrap();
    assert_eq!(read, [StoredBucket::default(), counted(3, 0, &[]), StoredBucket::default()], "in order of the starts");
    assert_eq!(store.key_count("plain", "10s", &[NOW_S]).await.unwrap(), 0);
}

async fn many_buckets_and_keys_come_back_in_order(bench: &dyn Bench) {
    let mut wide = specs();
    wide[0].max_keys = 10_000;
    let store = bench.store(wide).await;
    let mut big = segment(0, 5_000, &[]);
    for n in 0..2_500_i64 {
        big.deltas.add(Slot { counter: 0, window: 1, start: NOW_S }, Some(&format!("/{n}")), 1);
        let start = NOW_S + 60 + n % 120 * 60;
        big.deltas.add(Slot { counter: 0, window: 1, start }, Some("/x"), n.unsigned_abs());
    }
    applied(&*store, vec![part(0, None, Some(big))]).await;
    let starts: Vec<_> = (0..121).rev().map(|n| NOW_S + n * 60).collect();
    let read = Read {
        counter: "views".into(),
        kind: Kind::Count,
        window: "1m".into(),
        starts: starts.clone(),
        keys: Keys::All,
    };
    let buckets = store.read(&read).await.unwrap();
    assert_eq!(buckets[120].keys.len(), 2_500);
    for (n, bucket) in buckets.iter().rev().skip(1).enumerate() {
        let sum: u64 = (0..2_500).filter(|i| i % 120 == n as u64).sum();
        assert_eq!(bucket, &counted(sum, 0, &[("/x", sum)]));
    }
    assert_eq!(store.key_count("views", "1m", &starts).await.unwrap(), 2_620);
}

async fn what_is_past_its_retention_is_left_out_but_stays_counted(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let mut both = segment(0, 2, &[("/a", 1)]);
    both.deltas.add(Slot { counter: 0, window: 1, start: NOW_S - 60 }, Some("/a"), 1);
    let mut late = flush(vec![part(0, None, Some(both))]);
    late.now_ms = (NOW_S + 70) * 1_000;
    assert_eq!(store.flush(&late).await.unwrap(), Flushed::Applied { cells: 2 });
    assert_eq!(bucket(&*store, Keys::All).await, StoredBucket::default());
    assert_eq!(store.partitions(TOPIC, &[0]).await.unwrap()[0].as_ref().unwrap().ledger.counted, 2);
    assert_eq!(bench.expires_at("views", "1m", NOW_S - 60).await, Some(NOW_S + 3_600 + 600));
}

async fn a_bucket_expires_after_its_retention_however_often_it_is_flushed(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let expires = Some(NOW_S + 10 + 60 + 600);
    applied(&*store, vec![part(0, None, Some(segment(0, 1, &[("/a", 1)])))]).await;
    assert_eq!(bench.expires_at("views", "10s", NOW_S).await, expires);
    let mut later = flush(vec![part(0, Some(1), Some(segment(1, 2, &[("/b", 1)])))]);
    later.now_ms += 60_000;
    store.flush(&later).await.unwrap();
    assert_eq!(bench.expires_at("views", "10s", NOW_S).await, expires);
}

async fn a_condition_alone_moves_no_offset(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let mut stopped = part(0, None, None);
    stopped.condition = Condition {
        missing: Some("5-9".to_owned()),
        state: PartitionState::Stopped,
        reason: Some("offsets 3 to 7 are gone".into()),
        high_watermark: None,
        partitions: 4,
    };
    assert_eq!(applied(&*store, vec![stopped.clone()]).await, 0);
    let stored = store.partitions(TOPIC, &[0]).await.unwrap().remove(0).unwrap();
    assert_eq!((stored.start_offset, stored.next_offset, stored.watermark_ms), (None, None, None));
    assert_eq!(stored.condition, stopped.condition);
    applied(&*store, vec![part(0, None, Some(segment(3, 5, &[("/a", 2)])))]).await;
    stopped.expected = Some(4);
    assert_eq!(store.flush(&flush(vec![stopped.clone()])).await.unwrap(), Flushed::Conflict(vec![(0, Some(5))]));
    stopped.expected = Some(5);
    applied(&*store, vec![stopped]).await;
    let stored = store.partitions(TOPIC, &[0]).await.unwrap().remove(0).unwrap();
    assert_eq!((stored.start_offset, stored.next_offset), (Some(3), Some(5)));
    assert_eq!(stored.condition.state, PartitionState::Stopped);
    assert_eq!(stored.condition.high_watermark, Some(50), "an unknown end leaves the last known one");
}

async fn a_gap_is_accepted_at_its_offset_crossed_and_noted(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let stored = async || store.partitions(TOPIC, &[0]).await.unwrap().remove(0).unwrap();
    applied(&*store, vec![part(0, None, Some(segment(0, 10, &[("/a", 10)])))]).await;
    store.accept_gap(TOPIC, 0, Some(9)).await.unwrap();
    assert!(!stored().await.gap_accepted, "that was another gap");
    store.accept_gap(TOPIC, 0, Some(10)).await.unwrap();
    assert!(stored().await.gap_accepted);
    let gap = Gap { start_offset: -13, missing_ms: (70, 90) };
    applied(&*store, vec![part(0, Some(10), Some(Segment::across(gap, 10, 2, 5)))]).await;
    let behind = stored().await;
    assert_eq!((behind.start_offset, behind.next_offset, behind.ledger.lost), (Some(-13), Some(2), 5));
    assert_eq!((behind.fingerprint, behind.gap_accepted, behind.lost_ms), (None, false, Some((70, 90))));
    assert_eq!(behind.ledger.unaccounted(2 + 13), 0);
    applied(&*store, vec![part(0, Some(2), Some(segment(2, 4, &[("/a", 2)])))]).await;
    let gap = Gap { start_offset: -13, missing_ms: (80, 800) };
    applied(&*store, vec![part(0, Some(4), Some(Segment::across(gap, 4, 6, 2)))]).await;
    assert_eq!(stored().await.lost_ms, Some((70, 800)));
    let backwards = Segment { to: 3, ..Segment::starting_at(6) };
    let refused = store.flush(&flush(vec![part(0, Some(6), Some(backwards))])).await;
    assert!(matches!(refused, Err(StoreError::Contradiction(_))), "only a gap leads back");
}

async fn a_gap_where_nothing_was_counted_is_accepted_too(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let mut stopped = part(0, None, None);
    stopped.condition.missing = Some("0-6".into());
    applied(&*store, vec![stopped]).await;
    store.accept_gap(TOPIC, 0, None).await.unwrap();
    assert!(store.partitions(TOPIC, &[0]).await.unwrap()[0].as_ref().unwrap().gap_accepted);
    let gap = Gap { start_offset: 0, missing_ms: (0, 90) };
    applied(&*store, vec![part(0, None, Some(Segment::across(gap, 0, 7, 7)))]).await;
    let behind = store.partitions(TOPIC, &[0]).await.unwrap().remove(0).unwrap();
    assert_eq!((behind.start_offset, behind.next_offset, behind.condition.missing), (Some(0), Some(7), None));
}

async fn the_watermark_rises_without_records_and_never_falls(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let mut expected = None;
    let offers = [(None, None), (Some(-5_000), Some(-5_000)), (Some(-70_000), Some(-5_000)), (Some(9), Some(9))];
    let more = [(Some(10), Some(10)), (Some(9), Some(10)), (None, Some(10))];
    for (offered, stored) in offers.into_iter().chain(more) {
        let mut empty = segment(8, 8, &[]);
        empty.watermark = offered.map_or(Watermark::NONE, Watermark::at);
        applied(&*store, vec![part(0, expected, Some(empty))]).await;
        expected = Some(8);
        let now = store.partitions(TOPIC, &[0]).await.unwrap().remove(0).unwrap();
        assert_eq!((now.watermark_ms, now.start_offset, now.next_offset), (stored, Some(8), Some(8)));
        assert_eq!(now.fingerprint, None);
    }
}

async fn counts_and_offsets_above_two_to_the_53_are_exact(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let large = 9_007_199_254_740_993;
    let mut first = segment(large, large + 2, &[("/a", large as u64), ("/b", 1), ("/c", 1), ("/d", large as u64)]);
    first.ledger.skipped = large as u64;
    applied(&*store, vec![part(0, None, Some(first))]).await;
    let stale = part(0, Some(large + 1), Some(segment(large + 1, large + 3, &[("/a", 2)])));
    assert_eq!(store.flush(&flush(vec![stale])).await.unwrap(), Flushed::Conflict(vec![(0, Some(large + 2))]));
    applied(&*store, vec![part(0, Some(large + 2), Some(segment(large + 2, large + 4, &[("/a", 2)])))]).await;
    let n = large as u64;
    assert_eq!(bucket(&*store, Keys::All).await, counted(2 * n + 4, n, &[("/a", n + 2), ("/b", 1), ("/c", 1)]));
    let stored = store.partitions(TOPIC, &[0]).await.unwrap().remove(0).unwrap();
    assert_eq!((stored.start_offset, stored.next_offset), (Some(large), Some(large + 4)));
    assert_eq!(stored.ledger.skipped, n);
}

async fn keys_are_any_text(bench: &dyn Bench) {
    let mut wide = specs();
    wide[0].max_keys = 100;
    let store = bench.store(wide).await;
    let mut keys = [
        "",
        "\0",
        "a\0b",
        "'",
        "\"; DROP TABLE store_key; --",
        "line\nbreak\r\n",
        "{0}:sum",
        "été 🦀",
        "*",
        "1e3",
        " ",
    ]
    .map(|key| (key, 1));
    keys.sort_unstable();
    applied(&*store, vec![part(0, None, Some(segment(0, 11, &keys)))]).await;
    assert_eq!(bucket(&*store, Keys::All).await, counted(11, 0, &keys));
    for (key, _) in keys {
        assert_eq!(bucket(&*store, Keys::One(key.into())).await, counted(11, 0, &[(key, 1)]));
    }
}

async fn a_number_that_cannot_be_added_to_fails_the_flush_and_nothing_is_written(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    applied(&*store, vec![part(0, None, Some(segment(0, 1, &[("/a", 1)])))]).await;
    bench.spoil("views", "10s", NOW_S).await;
    let mut before = bench.snapshot().await;
    let mut next = segment(1, 3, &[("/a", 2)]);
    next.deltas.add(Slot { counter: 0, window: 1, start: NOW_S }, Some("/a"), 2);
    let error = store.flush(&flush(vec![part(0, Some(1), Some(next))])).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }) && !error.is_retryable(), "{error}");
    let mut after = bench.snapshot().await;
    before.sort_by(|a, b| a.0.cmp(&b.0));
    after.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(before, after);
}

async fn a_flush_that_contradicts_itself_is_refused(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    let (a, b) = of_shard_0(&*store);
    let good = || part(a, None, Some(segment(0, 1, &[("/a", 1)])));
    let mut unknown = segment(0, 1, &[]);
    unknown.deltas.add(Slot { counter: 9, window: 0, start: NOW_S }, None, 1);
    let mut too_large = segment(0, 1, &[]);
    too_large.deltas.add(Slot { counter: 1, window: 0, start: NOW_S }, None, u64::MAX);
    let mut elsewhere = flush(vec![good()]);
    elsewhere.shard = 1;
    let refused = [
        flush(vec![good(), good()]),
        flush(vec![part(b, Some(2), Some(segment(0, 1, &[])))]),
        flush(vec![part(b, None, Some(segment(1, 0, &[])))]),
        flush(vec![part(b, None, Some(unknown))]),
        flush(vec![part(b, None, Some(too_large))]),
        elsewhere,
    ];
    for flush in refused {
        let error = store.flush(&flush).await.unwrap_err();
        assert!(matches!(error, StoreError::Contradiction(_)), "{error}");
    }
    assert_eq!(store.partitions(TOPIC, &[a, b]).await.unwrap(), [None, None]);
}

async fn the_layout_is_kept_and_another_one_refused(bench: &dyn Bench) {
    let store = bench.store(specs()).await;
    assert!(store.counters().await.unwrap().is_empty());
    let one = specs().into_iter().take(1).collect();
    store.prepare(&layout(one), 1_000).await.unwrap();
    store.prepare(&layout(specs()), 2_000).await.unwrap();
    store.prepare(&layout(specs()), 3_000).await.unwrap();
    let mut counters = store.counters().await.unwrap();
    counters.sort_by_key(|counter| counter.since);
    assert_eq!(
        counters.iter().map(|c| (c.spec.name.as_str(), c.since)).collect::<Vec<_>>(),
        [("views", 0), ("plain", 2_000)]
    );
    assert_eq!(counters.into_iter().map(|c| c.spec).collect::<Vec<_>>(), specs());
    let refused = async |change: &dyn Fn(&mut Layout)| {
        let mut other = layout(specs());
        change(&mut other);
        let error = store.prepare(&other, 4_000).await.unwrap_err();
        assert!(matches!(error, StoreError::Layout(_)) && !error.is_retryable(), "{error}");
        error.to_string()
    };
    let error = refused(&|other| other.group = "other".into()).await;
    assert!(error.contains("`streamgauge`, not `other`") && error.contains("to count anew"), "{error}");
    let error = refused(&|other| other.topic = "other".into()).await;
    assert!(error.contains("`user.events`, not `other`") && error.contains("to count anew"), "{error}");
    let mut changed = specs();
    changed[1].windows[0].keep = "2m".into();
    assert!(store.prepare(&layout(changed), 4_000).await.unwrap_err().to_string().contains("windows changed"));
    store.ready().await.unwrap();
}

async fn two_that_begin_at_once_agree(bench: &dyn Bench) {
    let stores = futures_util::future::join_all((0..8).map(|_| bench.store(specs()))).await;
    let layouts: Vec<_> = (0..8)
        .map(|n| {
            let mut layout = layout(specs());
            layout.group = format!("group {}", n % 2);
            layout
        })
        .collect();
    let prepared = stores.iter().zip(&layouts).map(|(store, layout)| store.prepare(layout, 1_000));
    let prepared = futures_util::future::join_all(prepared).await;
    let ok: Vec<_> = (0..8).filter(|n| prepared[*n].is_ok()).map(|n| n % 2).collect();
    assert_eq!(ok.len(), 4, "one group begins, the other is refused: {prepared:?}");
    assert!(ok.iter().all(|group| group == &ok[0]));
    assert!(stores[0].counters().await.unwrap().iter().all(|counter| counter.since == 0));
}

macro_rules! suite {
    ($($name:ident,)*) => {
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(&super::RedisBench::new(1).await).await; })*
        }
        mod redis_with_three_shards {
            $(#[tokio::test] async fn $name() { super::$name(&super::RedisBench::new(3).await).await; })*
        }
        mod redis_in_a_cluster {
            $(#[tokio::test] async fn $name() { super::$name(&super::RedisBench::in_a_cluster(4).await).await; })*
        }
        mod embedded {
            $(#[tokio::test] async fn $name() { super::$name(&super::EmbeddedBench::new()).await; })*
        }
    };
}

suite! {
    a_flush_adds_counts_ledger_and_offsets_together,
    a_flush_that_comes_again_is_a_conflict_that_shows_it_was_applied,
    a_conflict_of_one_partition_writes_nothing_of_the_others,
    partitions_of_one_flush_add_to_the_same_buckets,
    shards_are_added_up,
    keys_beyond_the_limit_are_other,
    a_counter_without_keys_has_only_sums,
    many_buckets_and_keys_come_back_in_order,
    what_is_past_its_retention_is_left_out_but_stays_counted,
    a_bucket_expires_after_its_retention_however_often_it_is_flushed,
    a_condition_alone_moves_no_offset,
    a_gap_is_accepted_at_its_offset_crossed_and_noted,
    a_gap_where_nothing_was_counted_is_accepted_too,
    the_watermark_rises_without_records_and_never_falls,
    counts_and_offsets_above_two_to_the_53_are_exact,
    keys_are_any_text,
    a_number_that_cannot_be_added_to_fails_the_flush_and_nothing_is_written,
    a_flush_that_contradicts_itself_is_refused,
    the_layout_is_kept_and_another_one_refused,
    two_that_begin_at_once_agree,
    amounts_add_up_and_the_smallest_and_largest_stay,
    sums_beyond_64_bits_are_exact,
    who_comes_again_is_told_once,
    shards_make_one_sum_and_one_set,
    many_are_told_within_one_and_a_half_percent,
}
