//! The recount beside the code that counts: two writings of the same rules have to agree on whatever a topic holds.

use super::*;
use crate::counter::{Counters, Counting, Dedupe, Kind, Measure, Segment, Timing, WindowSpec, default_specs};
use proptest::prelude::*;
use std::sync::Arc;

const NOW: i64 = 1_760_000_000_000;
const MAX_AHEAD: i64 = 60_000;

fn specs() -> Vec<Spec> {
    let mut specs = default_specs();
    let windows = vec![WindowSpec { size: "7s".into(), keep: "1m".into() }];
    let spec = |name: &str, by: &[&str]| Spec {
        name: name.into(),
        event: vec!["a".into(), "click".into()],
        by: by.iter().map(|by| (*by).to_owned()).collect(),
        windows: windows.clone(),
        max_keys: 10,
        ..Spec::default()
    };
    specs.push(spec("plain", &[]));
    specs.push(spec("pair", &["user_id", r#"payload."x.y""#]));
    specs.push(spec("deep", &["payload.o.p"]));
    specs.push(spec("whole", &["payload.o"]));
    specs.push(spec("placed", &["context.c", "session_id", "event_type"]));
    let measuring = |name: &str, kind, of: &str| Spec {
        name: name.into(),
        kind,
        of: Some(of.into()),
        by: vec!["session_id".into()],
        windows: windows.clone(),
        ..Spec::default()
    };
    specs.push(Spec { factor: Some(100), ..measuring("sum", Kind::Sum, "payload.n") });
    specs.push(Spec { by: Vec::new(), ..measuring("fine", Kind::Sum, "payload.n") });
    specs.push(measuring("users", Kind::Distinct, "user_id"));
    specs.push(Spec {
        except: vec!["context.c=x".into(), "context.c=".into()],
        ..measuring("some", Kind::Distinct, "payload.path")
    });
    specs.push(Spec { only: vec!["event_type=a".into(), r#"payload."x.y"=1"#.into()], ..spec("only", &[]) });
    specs
}

fn whole() -> Scope {
    Scope { dedupe_horizon: 7, max_ahead_ms: MAX_AHEAD, kept_past_s: i64::MIN, from_s: i64::MIN, only: None }
}

fn tally(measure: Measure<'_>) -> Tally {
    let mut tally = Tally::default();
    match measure {
        Measure::Count => {}
        Measure::Amounts(amounts) => {
            (tally.sum, tally.range) = (amounts.sum, Some((amounts.min, amounts.max)));
        }
        Measure::Members(members) => members.iter().for_each(|(raise, _)| tally.add(Measured::Member(raise))),
    }
    tally
}

/// Both ways of counting, as the same kind of value.
fn both(records: &[(Option<i64>, Option<Vec<u8>>)]) -> (Recount, HashMap<Bucket, Cells>, Outcomes) {
    let mut recount = Recount::new(&specs(), whole());
    let timing = Timing { lateness_ms: 5_000, max_ahead_ms: MAX_AHEAD };
    let mut counting = Counting::new(Arc::new(Counters::new(specs()).unwrap()), timing);
    let (mut dedupe, mut segment) = (Dedupe::new(7), Segment::starting_at(0));
    for (offset, (time_ms, value)) in records.iter().enumerate() {
        segment.consume(offset as i64);
        counting.count(*time_ms, value.as_deref(), &mut dedupe, &mut segment);
        recount.record(0, offset as i64, *time_ms, value.as_deref());
    }
    let buckets = segment.deltas.buckets().into_iter().map(|bucket| {
        let slot = bucket.slot;
        let (tally, mut tallies) = (tally(bucket.measure), HashMap::new());
        for keyed in bucket.keys.iter().filter(|keyed| keyed.measure != Measure::Count) {
            tallies.insert(keyed.key.to_owned(), self::tally(keyed.measure));
        }
        let keys = bucket.keys.into_iter().map(|keyed| (keyed.key.to_owned(), keyed.count)).collect();
        let cells = Cells { total: bucket.total, keys, tally, tallies };
        ((slot.counter.into(), slot.window.into(), slot.start), cells)
    });
    let ledger = segment.ledger;
    let outcomes = Outcomes {
        consumed: ledger.consumed,
        counted: ledger.counted,
        duplicate: ledger.duplicate,
        filtered: ledger.filtered,
        expired: ledger.expired,
        dead_lettered: ledger.dead_lettered,
    };
    (recount, buckets.collect(), outcomes)
}

fn agree(records: &[(Option<i64>, Option<Vec<u8>>)]) {
    let (recount, buckets, outcomes) = both(records);
    let shown: Vec<_> = records.iter().map(|(t, v)| (t, v.as_deref().map(String::from_utf8_lossy))).collect();
    assert_eq!(recount.partitions.get(&0).copied().unwrap_or_default(), outcomes, "{shown:?}");
    assert_eq!(recount.buckets, buckets, "{shown:?}");
}

fn each_agrees(values: &[&str]) {
    for value in values {
        agree(&[(Some(NOW), Some(value.as_bytes().to_vec()))]);
    }
}

#[test]
fn on_what_is_no_event() {
    each_agrees(&[
        "",
        " ",
        "null",
        "[]",
        "{}",
        "{",
        "{}x",
        "{\"type\":1}",
        "{\"type\":\"\"}",
        "{\"type\":\"a\u{85}\"}",
        "\u{feff}{\"type\":\"a\"}",
        "{\"type\":\"a\",\"type\":\"a\"}",
        "{\"type\":null,\"type\":\"a\"}",
        "{\"event_type\":\"a\",\"type\":7}",
        "{\"event_type\":\"a\",\"type\":1e999}",
        "{\"type\":\"a\",\"x\":1e999}",
        "{\"type\":\"a\",\"id\":\"\"}",
        "{\"type\":\"a\",\"id\":null,\"message_id\":5}",
        "{\"type\":\"a\",\"event_version\":0}",
        "{\"type\":\"a\",\"event_version\":1.0}",
        "{\"type\":\"a\",\"event_version\":-0}",
        "{\"type\":\"a\",\"event_version\":99999999999999999999}",
        "{\"type\":\"a\",\"payload\":[]}",
        "{\"type\":\"a\",\"payload\":null,\"properties\":{\"o\":1}}",
        "{\"type\":\"a\",\"context\":7}",
        "{\"type\":\"a\",\"x\":\"\\ud800\"}",
        "{\"type\":\"a\",\"x\":\"\\q\"}",
        "{\"type\":\"a\",\"\\u0074ype\":\"a\"}",
        "{\"t\\u0079pe\":\"a\"}",
    ]);
    agree(&[(None, Some(b"{\"type\":\"a\"}".to_vec())), (Some(NOW), None)]);
    agree(&[(Some(NOW), Some(b"{\"type\":\"a\",\"x\":\"\xff\"}".to_vec()))]);
    let nested = |depth: usize| {
        let payload = "{\"o\":".repeat(depth - 1) + "{}" + &"}".repeat(depth - 1);
        format!("{{\"type\":\"a\",\"payload\":{payload}}}")
    };
    each_agrees(&[&nested(31), &nested(32), &nested(33), &nested(20_000)]);
    let deep = "[".repeat(50_000) + &"]".repeat(50_000);
    each_agrees(&[
        &format!("{{\"type\":\"a\",\"x\":{deep}}}"),
        &format!("{{\"type\":\"a\",\"context\":{{\"c\":{deep}}}}}"),
    ]);
    for long in [127, 128, 129, 256, 257] {
        let text = "ü".repeat(long / 2) + &"x".repeat(long % 2);
        each_agrees(&[
            &format!("{{\"type\":\"{text}\"}}"),
            &format!("{{\"type\":\"a\",\"id\":\"{text}\"}}"),
            &format!("{{\"type\":\"a\",\"user_id\":\"{text}\"}}"),
        ]);
    }
}

#[test]
fn on_times() {
    for time in [
        "1760000000000",
        "1760000060000",
        "1760000060001",
        "1759999000000",
        "946684799999",
        "946684800000",
        "4133980800000",
        "-1",
        "-0",
        "1.76e12",
        "1e3",
        "99999999999999999999",
        "\"2025-10-09T08:53:20Z\"",
        "\"2025-10-09 10:53:20.9999+02:00\"",
        "\"2025-10-09t08:53:20.1z\"",
        "\"2025-10-09T08:53:20.Z\"",
        "\"2024-02-29T00:00:00Z\"",
        "\"2023-02-29T00:00:00Z\"",
        "\"2100-12-31T23:59:60-00:01\"",
        "\"now\"",
        "\"\"",
        "\"2025-10-09T24:00:00Z\"",
        "\"2025-10-09T08:53:20+24:00\"",
        "\"2025-10-09T08:53:20-05:30\"",
        "\"0000-02-30T00:00:00Z\"",
        "\"é025-10-09T08:53:20Z\"",
        "\"2025-10-09T08:53:61Z\"",
        "null",
        "true",
        "{}",
    ] {
        for field in ["timestamp", "received_at"] {
            let value = format!("{{\"type\":\"a\",\"{field}\":{time}}}");
            agree(&[(Some(NOW), Some(value.into_bytes()))]);
        }
        let both = format!("{{\"type\":\"a\",\"timestamp\":null,\"received_at\":{time},\"user_id\":\"u\"}}");
        agree(&[(Some(NOW), Some(both.into_bytes()))]);
    }
}

#[test]
fn on_the_last_moment_of_a_bucket() {
    for age_ms in (0..160).map(|n| n * 500).chain((7_100..7_240).map(|n| n * 500)) {
        let value = format!("{{\"type\":\"click\",\"timestamp\":{}}}", NOW - age_ms);
        agree(&[(Some(NOW), Some(value.into_bytes()))]);
    }
}

#[test]
fn on_keys() {
    let long = "é".repeat(200);
    let list = (0..200).map(|n| n.to_string()).collect::<Vec<_>>().join(" , ");
    for value in [
        "1.50",
        "1e3",
        "-0",
        "true",
        "null",
        "\"\"",
        "\"a\\u0000\\n\\\"\\/\\u00e9\"",
        "{}",
        "[]",
        "[ 1 , \"\\u0041\" ]",
        "{\"b\": 1, \"a\" :{ \"b\":null}, \"\\u0062\":2}",
        "{\"p\":{\"q\":[1.0]}}",
        "{\"p\":\"x\",\"p\":\"y\"}",
        "\"\\ud83d\\ude00\\u001f\\u007f\"",
        &format!("\"{long}\""),
        &format!("[{list}]"),
        &format!("{{\"{long}\":1}}"),
    ] {
        let all = format!(
            "{{\"type\":\"a\",\"user_id\":\"{long:.100}\",\"session_id\":\"\\t\",\"payload\":{{\"o\":{value},\
             \"x.y\":{value},\"path\":{value}}},\"context\":{{\"c\":{value}}}}}"
        );
        agree(&[(Some(NOW), Some(all.into_bytes()))]);
    }
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i16>().prop_map(|n| n.to_string()),
        any::<f32>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| f.to_string()),
        "[a-c\u{e9}\"\\\\\n]{0,6}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|list| format!("[{}]", list.join(", "))),
            prop::collection::vec(("[op]|x[.]y|path", inner), 0..3).prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn member() -> impl Strategy<Value = String> {
    let time = prop_oneof![
        (NOW - 4_000_000..NOW + 200_000).prop_map(|ms| ms.to_string()),
        (NOW - 100_000..NOW + 100_000).prop_map(|ms| format!("\"{}\"", jiff::Timestamp::from_millisecond(ms).unwrap())),
    ];
    let kind = prop_oneof![Just("a"), Just("click"), Just("page_view"), Just("search"), Just("other")];
    prop_oneof![
        4 => kind.prop_map(|kind| format!("\"type\":\"{kind}\"")),
        2 => time.prop_map(|time| format!("\"timestamp\":{time}")),
        1 => value().prop_map(|value| format!("\"payload\": {{\"o\": {value}, \"path\":{value}}}")),
        1 => (r#"payload|context|user_id|session_id|timestamp|received_at|id|event_version|extra"#, value())
            .prop_map(|(name, value)| format!("\"{name}\":{value}")),
    ]
}

fn record() -> impl Strategy<Value = (Option<i64>, Option<Vec<u8>>)> {
    let json = prop::collection::vec(member(), 1..5).prop_map(|members| format!("{{{}}}", members.join(","))).boxed();
    let broken = (json.clone(), any::<prop::sample::Index>()).prop_map(|(json, at)| {
        let at = at.index(json.len());
        [&json.as_bytes()[..at], &json.as_bytes()[at + 1..]].concat()
    });
    let value = prop_oneof![6 => json.prop_map(String::into_bytes), 1 => broken];
    (prop::option::weighted(0.98, NOW - 5_000..NOW + 5_000), prop::option::weighted(0.98, value))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn on_any_records(records in prop::collection::vec(record(), 1..12)) {
        agree(&records);
    }
}

#[test]
fn only_what_is_in_scope_takes_memory() {
    let record = format!("{{\"type\":\"click\",\"timestamp\":{NOW}}}").into_bytes();
    let mut recount = Recount::new(&specs(), Scope { only: Some("plain".into()), ..whole() });
    recount.record(0, 0, Some(NOW), Some(&record));
    assert_eq!(recount.buckets.len(), 1);
    assert_eq!(recount.partitions[&0].counted, 1);
    let mut recount = Recount::new(&specs(), Scope { from_s: NOW / 1_000 + 1, ..whole() });
    recount.record(0, 1, Some(NOW), Some(&record));
    assert!(recount.buckets.is_empty());
}
