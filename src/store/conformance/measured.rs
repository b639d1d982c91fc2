//! Counters that tell more than how many: sums and distinct counts.

use super::{NOW_S, TOPIC, flush, part, segment};
use crate::counter::{Amounts, Kind, Measured, Raise, Segment, Slot, Spec, WindowSpec};
use crate::store::testing::Bench;
use crate::store::{CounterStore, Flushed, Keys, Read, StoredBucket, StoredValue};

/// `revenue` and `visitors`, by path in windows of 10 s, each with room for 2 keys.
pub(in crate::store) fn measuring() -> Vec<Spec> {
    let spec = |name: &str, kind, of: &str| Spec {
        name: name.into(),
        kind,
        of: Some(of.into()),
        by: vec!["payload.path".into()],
        windows: vec![WindowSpec { size: "10s".into(), keep: "1m".into() }],
        max_keys: 2,
        ..Spec::default()
    };
    vec![spec("revenue", Kind::Sum, "payload.amount"), spec("visitors", Kind::Distinct, "user_id")]
}

fn amounts(from: i64, events: &[(&str, i64)]) -> Segment {
    with(from, 0, events, |amount| Measured::Amount(*amount))
}

fn visits(from: i64, start: i64, events: &[(&str, &str)]) -> Segment {
    with(from, start, events, |who| Measured::Member(Raise::of(who.as_bytes()), who))
}

/// A range of so many offsets whose events are measured.
fn with<'a, T>(from: i64, at_s: i64, events: &'a [(&str, T)], measured: impl Fn(&'a T) -> Measured<'a>) -> Segment {
    let mut segment = segment(from, from + events.len() as i64, &[]);
    for (key, event) in events {
        let measured = measured(event);
        let counter = u16::from(matches!(measured, Measured::Member(..)));
        let id = segment.deltas.id(counter, key);
        segment.deltas.add_event(Slot { counter, window: 0, start: NOW_S + at_s }, Some(id), measured);
    }
    segment
}

async fn applied(store: &dyn CounterStore, partition: i32, expected: Option<i64>, segment: Segment) {
    let flush = crate::store::Flush {
        shard: u32::try_from(partition).unwrap() % store.shards(),
        ..flush(vec![part(partition, expected, Some(segment))])
    };
    assert!(matches!(store.flush(&flush).await.unwrap(), Flushed::Applied { .. }));
}

fn question(counter: &str, keys: Keys) -> Read {
    let kind = if counter == "revenue" { Kind::Sum } else { Kind::Distinct };
    Read { counter: counter.into(), kind, window: "10s".into(), starts: vec![NOW_S], keys }
}

async fn bucket(store: &dyn CounterStore, counter: &str, keys: Keys) -> StoredBucket {
    store.read(&question(counter, keys)).await.unwrap().remove(0)
}

fn sum(sum: i128, min: i64, max: i64) -> StoredValue {
    StoredValue::Amounts(Amounts { sum, min, max })
}

pub(super) async fn amounts_add_up_and_the_smallest_and_largest_stay(bench: &dyn Bench) {
    let store = bench.store(measuring()).await;
    assert_eq!(bucket(&*store, "revenue", Keys::All).await, StoredBucket::default());
    applied(&*store, 0, None, amounts(0, &[("/a", 1_999), ("/b", -5), ("/a", 1)])).await;
    applied(&*store, 0, Some(3), amounts(3, &[("/a", 7), ("/b", -500), ("/c", 40)])).await;
    let all = bucket(&*store, "revenue", Keys::All).await;
    assert_eq!((all.total, all.other, all.value), (6, 1, Some(sum(1_542, -500, 1_999))));
    assert_eq!(all.values.len(), 2, "a key without room is in the whole alone");
    assert_eq!((all.values["/a"], all.values["/b"]), (sum(2_007, 1, 1_999), sum(-505, -500, -5)));
    let one = bucket(&*store, "revenue", Keys::One("/b".into())).await;
    assert_eq!((one.value, one.values["/b"]), (all.value, sum(-505, -500, -5)));
    let none = bucket(&*store, "revenue", Keys::None).await;
    assert_eq!((none.value, none.values.len()), (all.value, 0));
}

pub(super) async fn sums_beyond_64_bits_are_exact(bench: &dyn Bench) {
    let store = bench.store(measuring()).await;
    let largest = 999_999_999_999_999_999;
    let (mut offset, mut expected) = (0, 0_i128);
    for amount in [largest, largest, -1, 1, -largest, 3, largest] {
        let events = vec![("/a", amount); 20];
        applied(&*store, 0, (offset > 0).then_some(offset), amounts(offset, &events)).await;
        offset += 20;
        expected += 20 * i128::from(amount);
        let seen = bucket(&*store, "revenue", Keys::All).await;
        let Some(StoredValue::Amounts(seen_sum)) = seen.value else { panic!("{seen:?}") };
        assert_eq!((seen_sum.sum, seen_sum.max), (expected, largest));
        assert_eq!(seen.values["/a"], StoredValue::Amounts(seen_sum));
    }
    assert!(expected > i128::from(i64::MAX));
}

pub(super) async fn who_comes_again_is_told_once(bench: &dyn Bench) {
    let store = bench.store(measuring()).await;
    assert_eq!(bucket(&*store, "visitors", Keys::All).await, StoredBucket::default());
    let first = visits(0, 0, &[("/a", "ann"), ("/a", "bob"), ("/a", "ann"), ("/b", "ann")]);
    applied(&*store, 0, None, first.clone()).await;
    let again = flush(vec![part(0, None, Some(first))]);
    assert_eq!(store.flush(&again).await.unwrap(), Flushed::Conflict(vec![(0, Some(4))]));
    applied(&*store, 0, Some(4), visits(4, 0, &[("/a", "bob"), ("/a", "cid"), ("/x", "dan")])).await;
    applied(&*store, 0, Some(7), visits(7, 10, &[("/a", "bob"), ("/a", "eve")])).await;
    let all = bucket(&*store, "visitors", Keys::All).await;
    assert_eq!((all.total, all.other, all.value), (7, 1, Some(StoredValue::Distinct(4))));
    assert_eq!((all.values["/a"], all.values["/b"]), (StoredValue::Distinct(3), StoredValue::Distinct(1)));
    let one = bucket(&*store, "visitors", Keys::One("/a".into())).await;
    assert_eq!((one.value, one.values["/a"]), (all.value, StoredValue::Distinct(3)));
    let both = |keys| Read { starts: vec![NOW_S, NOW_S + 10, NOW_S + 20], ..question("visitors", keys) };
    assert_eq!(store.united(&both(Keys::None)).await.unwrap().estimate(), 5);
    assert_eq!(store.united(&both(Keys::One("/a".into()))).await.unwrap().estimate(), 4);
}

pub(super) async fn shards_make_one_sum_and_one_set(bench: &dyn Bench) {
    let store = bench.store(measuring()).await;
    for partition in 0..6 {
        applied(&*store, partition, None, amounts(0, &[("/a", 10 + i64::from(partition))])).await;
        let own = format!("user {partition}");
        applied(&*store, partition, Some(1), visits(1, 0, &[("/a", "everybody"), ("/a", &own)])).await;
    }
    let revenue = bucket(&*store, "revenue", Keys::All).await;
    assert_eq!((revenue.total, revenue.value), (6, Some(sum(75, 10, 15))));
    assert_eq!(revenue.values["/a"], sum(75, 10, 15));
    let visitors = bucket(&*store, "visitors", Keys::All).await;
    assert_eq!((visitors.total, visitors.value), (12, Some(StoredValue::Distinct(7))));
    assert_eq!(visitors.values["/a"], StoredValue::Distinct(7));
    assert_eq!(store.partitions(TOPIC, &[5]).await.unwrap().len(), 1);
}

pub(super) async fn many_are_told_within_one_and_a_half_percent(bench: &dyn Bench) {
    let store = bench.store(measuring()).await;
    let names: Vec<String> = (0..100_000).map(|n| format!("user-{n}")).collect();
    for (at, chunk) in names.chunks(25_000).enumerate() {
        let events: Vec<_> = chunk.iter().map(|name| ("/a", name.as_str())).collect();
        let from = 25_000 * at as i64;
        applied(&*store, 0, (at > 0).then_some(from), visits(from, 0, &events)).await;
    }
    let all = bucket(&*store, "visitors", Keys::All).await;
    let Some(StoredValue::Distinct(n)) = all.value else { panic!("{all:?}") };
    assert!(n.abs_diff(100_000) <= 1_500, "{n}");
    assert_eq!(all.values["/a"], StoredValue::Distinct(n));
}
