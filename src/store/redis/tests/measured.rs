//! What sums and distinct counts leave in Redis, for whoever reads it there.

use super::hash;
use crate::counter::{Kind, Measured, Raise, Segment, Slot};
use crate::store::conformance::{NOW_S, flush, measuring, part, segment};
use crate::store::testing::{Bench, RedisBench};
use crate::store::{CounterStore, Keys, Read, StoreError, StoredValue};
use ::redis::cmd;

fn visit(from: i64, key: &str, who: &str) -> Segment {
    measured(from, 1, key, Measured::Member(Raise::of(who.as_bytes()), who))
}

fn measured(from: i64, counter: u16, key: &str, measured: Measured<'_>) -> Segment {
    let mut segment = segment(from, from + 1, &[]);
    let id = segment.deltas.id(counter, key);
    segment.deltas.add_event(Slot { counter, window: 0, start: NOW_S }, Some(id), measured);
    segment
}

async fn flushed(store: &dyn CounterStore, segment: Segment) {
    let expected = (segment.from > 0).then_some(segment.from);
    store.flush(&flush(vec![part(0, expected, Some(segment))])).await.unwrap();
}

#[tokio::test]
async fn a_sum_is_in_fields_of_its_own() {
    let bench = RedisBench::new(1).await;
    let store = bench.store(measuring()).await;
    for (from, amount) in [(0, 1_999), (1, -5), (2, 999_999_999_999_999_999)] {
        flushed(&*store, measured(from, 0, "a:b", Measured::Amount(amount))).await;
    }
    let sum = hash(&bench, "{0}:sum:revenue:10s:4000003200").await;
    let field = |name: &str| sum.get(name).map(String::as_str);
    // 1,000,000,000,000,001,993 in parts of 10^15.
    assert_eq!((field("value"), field("value_high")), (Some("1993"), Some("1000")));
    assert_eq!((field("min"), field("max"), field("total")), (Some("-5"), Some("999999999999999999"), Some("3")));
    let amounts = hash(&bench, "{0}:amounts:revenue:10s:4000003200").await;
    assert_eq!(amounts.keys().collect::<Vec<_>>(), ["max:a:b", "min:a:b", "value:a:b", "value_high:a:b"]);
}

#[tokio::test]
async fn a_set_is_one_that_redis_knows() {
    let bench = RedisBench::new(1).await;
    let store = bench.store(measuring()).await;
    let who: Vec<String> = (0..500).map(|n| format!("user-{n}")).collect();
    for (from, who) in who.iter().enumerate() {
        flushed(&*store, visit(from as i64, "/a:b", who)).await;
    }
    let name = format!("{}:{{0}}:distinct:visitors:10s:4000003200", bench.config.prefix);
    let mut redis = bench.connection.clone();
    let read = Read {
        counter: "visitors".into(),
        kind: Kind::Distinct,
        window: "10s".into(),
        starts: vec![NOW_S],
        keys: Keys::All,
    };
    let bucket = store.read(&read).await.unwrap().remove(0);
    for name in [name.clone(), format!("{name}:/a%3Ab")] {
        let counted: u64 = cmd("PFCOUNT").arg(&name).query_async(&mut redis).await.unwrap();
        let expected = StoredValue::Distinct(counted);
        assert_eq!((bucket.value, bucket.values["/a:b"]), (Some(expected), expected));
        let changed: i64 = cmd("PFADD").arg(&name).arg(&who).query_async(&mut redis).await.unwrap();
        assert_eq!(changed, 0, "everybody is in it");
    }
    // Dense, as Redis makes it of many; and what it makes of two.
    let (other, both) = (format!("{name}:other"), format!("{name}:both"));
    let more: Vec<String> = (400..20_000).map(|n| format!("user-{n}")).collect();
    for thousand in more.chunks(1_000) {
        cmd("PFADD").arg(&other).arg(thousand).exec_async(&mut redis).await.unwrap();
    }
    cmd("PFMERGE").arg(&both).arg(&name).arg(&other).exec_async(&mut redis).await.unwrap();
    let counted: u64 = cmd("PFCOUNT").arg(&both).query_async(&mut redis).await.unwrap();
    cmd("RENAME").arg(&both).arg(&name).exec_async(&mut redis).await.unwrap();
    let united = store.united(&Read { keys: Keys::None, ..read }).await.unwrap();
    assert_eq!((united.estimate(), counted.abs_diff(20_000) < 300), (counted, true));
}

#[tokio::test]
async fn what_is_no_set_or_no_amount_is_named_and_nothing_is_written() {
    // What begins like a set is found out by Redis when it adds to it, which is before all else.
    let damaged = "HYLL\x05\0\0\0\0\0\0\0\0\0\0\0";
    let mistakes = [
        ("SET", "distinct:visitors", vec!["text"], "is no set"),
        ("HSET", "distinct:visitors", vec!["a", "b"], "is no set"),
        ("SET", "distinct:visitors", vec![damaged], "is no set"),
        ("SET", "amounts:revenue", vec!["text"], "is no hash"),
        ("HSET", "amounts:revenue", vec!["value:/a", "1.5"], "field value"),
        ("HSET", "sum:revenue", vec!["min", "small"], "field min"),
        ("HSET", "sum:revenue", vec!["value_high", "10000000000000000000"], "field value_high"),
    ];
    for (command, name, values, told) in mistakes {
        let bench = RedisBench::new(1).await;
        let store = bench.store(measuring()).await;
        let name = format!("{}:{{0}}:{name}:10s:4000003200", bench.config.prefix);
        cmd(command).arg(&name).arg(values).exec_async(&mut bench.connection.clone()).await.unwrap();
        let before = bench.snapshot().await;
        let mut both = visit(0, "/a", "ann");
        both.deltas.merge(measured(0, 0, "/a", Measured::Amount(1)).deltas);
        let error = store.flush(&flush(vec![part(0, None, Some(both))])).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(&name) && error.to_string().contains(told), "{error}");
        assert_eq!(bench.snapshot().await, before);
    }
}
