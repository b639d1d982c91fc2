use super::messages::{LabelMatcher, MatcherKind, Query, QueryResult, Sample};
use super::*;
use crate::counter::{Counters, Spec, WindowSpec};
use crate::http::Unreceived;
use crate::query::QueryError;
use crate::query::budget::Priced;
use crate::query::fake::{Fake, row};

/// A Thursday in October 2025, 5 s into a 10 s window.
const NOW_MS: i64 = 1_760_000_005_000;
const START: i64 = 1_760_000_000;

fn counters() -> Counters {
    let window = |size: &str, keep: &str| WindowSpec { size: size.into(), keep: keep.into() };
    let windows = || vec![window("10s", "10m"), window("1m", "10y")];
    let spec = |name: &str, by: &[&str]| {
        let by = by.iter().map(|by| (*by).to_owned()).collect();
        Spec { name: name.into(), event: vec![], by, windows: windows(), max_keys: 10, ..Spec::default() }
    };
    Counters::new(vec![spec("views", &["payload.path"]), spec("plain", &[])]).unwrap()
}

/// Everything before START is final and counted from the beginning.
fn fake() -> Fake {
    let fake = Fake::default();
    fake.put(0, row(1, START * 1_000, NOW_MS));
    counters().iter().for_each(|counter| fake.know(counter.spec().clone(), 0));
    fake
}

/// Seconds before START, as a range of ms with both ends in it; matchers as in PromQL.
fn query(from: i64, to: i64, matchers: &[(&str, MatcherKind, &str)]) -> ReadRequest {
    let matcher = |(name, kind, value): &(&str, MatcherKind, &str)| LabelMatcher {
        kind: (*kind).into(),
        name: (*name).into(),
        value: (*value).into(),
    };
    let (start_timestamp_ms, end_timestamp_ms) = ((START - from) * 1_000, (START - to) * 1_000);
    let query = Query { start_timestamp_ms, end_timestamp_ms, matchers: matchers.iter().map(matcher).collect() };
    ReadRequest { queries: vec![query], accepted_response_types: vec![] }
}

async fn ask(fake: &Fake, request: &ReadRequest) -> Result<Vec<QueryResult>, QueryError> {
    let counters = counters();
    let plan = Plan::of(&counters, request, NOW_MS)?;
    plan.least()?;
    plan.price(fake).await?;
    Ok(plan.answer(fake, "t").await?.results)
}

/// Each series as its labels, then seconds from START to each sample's second, with its value; `None` when stale.
async fn series(fake: &Fake, request: &ReadRequest) -> Vec<(String, Vec<(i64, Option<f64>)>)> {
    let mut results = ask(fake, request).await.unwrap();
    assert_eq!(results.len(), 1);
    let result = results.remove(0);
    let point = |sample: Sample| {
        assert_eq!(sample.timestamp.rem_euclid(1_000), 999, "the last millisecond of a window");
        ((sample.timestamp + 1) / 1_000 - START, (!sample.value.is_nan()).then_some(sample.value))
    };
    let one = |series: messages::TimeSeries| {
        let labels: Vec<_> = series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        (labels.join(","), series.samples.into_iter().map(point).collect())
    };
    result.timeseries.into_iter().map(one).collect()
}

const EQ: MatcherKind = MatcherKind::Equal;
const VIEWS: [(&str, MatcherKind, &str); 3] =
    [(matchers::NAME, EQ, COUNT), ("counter", EQ, "views"), ("window", EQ, "10s")];

#[tokio::test]
async fn a_key_without_a_count_is_stale_until_it_has_one_again() {
    let fake = fake();
    fake.fill("views", "10s", START - 40, 0, &[("/a", 4), ("/b", 1)]);
    fake.fill("views", "10s", START - 20, 0, &[("/a", 2)]);
    fake.fill("views", "10s", START - 10, 1, &[("/a", 3), ("/c", 9)]);
    let name = |key: &str| format!("__name__=streamgauge_window_count,counter=views,key={key},window=10s");
    assert_eq!(
        series(&fake, &query(40, 0, &VIEWS)).await,
        [
            (name("/a"), vec![(-30, Some(4.0)), (-20, None), (-10, Some(2.0)), (0, Some(3.0))]),
            (name("/b"), vec![(-30, Some(1.0)), (-20, None)]),
            (name("/c"), vec![(0, Some(9.0))]),
        ]
    );
    let only = [VIEWS.as_slice(), &[("key", MatcherKind::NotRegex, "/a|/b")]].concat();
    assert_eq!(series(&fake, &query(40, 0, &only)).await, [(name("/c"), vec![(0, Some(9.0))])]);
    let one = [VIEWS.as_slice(), &[("key", EQ, "/b")]].concat();
    assert_eq!(series(&fake, &query(40, 0, &one)).await, [(name("/b"), vec![(-30, Some(1.0)), (-20, None)])]);
}

#[tokio::test]
async fn a_window_is_where_its_last_millisecond_is() {
    let fake = fake();
    for n in 0..6 {
        fake.fill("plain", "10s", START - 60 + 10 * n, 1 + n as u64, &[]);
    }
    let total = [(matchers::NAME, EQ, TOTAL), ("counter", EQ, "plain"), ("window", EQ, "10s")];
    let values = async |from, to| series(&fake, &query(from, to, &total)).await.pop().map(|(_, samples)| samples);
    // Both ends are in the range, and none of the windows that end at its begin.
    assert_eq!(values(20, 0).await.unwrap(), [(-10, Some(5.0)), (0, Some(6.0))]);
    assert_eq!(values(21, 1).await.unwrap(), [(-20, Some(4.0)), (-10, Some(5.0))]);
    assert_eq!(values(9, 1).await, None);
    assert_eq!(values(0, 20).await, None, "backwards");
}

#[tokio::test]
async fn nothing_is_said_of_what_was_not_counted_yet() {
    let fake = fake();
    let total = [(matchers::NAME, EQ, TOTAL), ("counter", EQ, "plain"), ("window", EQ, "10s")];
    // Final and empty is 0; not final is unknown until it has a count.
    assert_eq!(series(&fake, &query(10, -20, &total)).await[0].1, [(-10, Some(0.0)), (0, Some(0.0))][1..]);
    fake.fill("plain", "10s", START, 2, &[]);
    assert_eq!(series(&fake, &query(10, -20, &total)).await[0].1, [(0, Some(0.0)), (10, Some(2.0))]);
    // Past its retention, and before the counter existed.
    assert_eq!(series(&fake, &query(100_000, 590, &total)).await[0].1, [(-590, Some(0.0))]);
    fake.known.lock().unwrap().iter_mut().for_each(|counter| counter.since = START - 25);
    assert_eq!(series(&fake, &query(100, 0, &total)).await[0].1, [(-10, Some(0.0)), (0, Some(0.0))]);
}

#[tokio::test]
async fn matchers_choose_among_series_and_others_are_not_read() {
    let fake = fake();
    fake.fill("views", "10s", START - 10, 0, &[("", 4)]);
    let all = series(&fake, &query(10, 0, &[])).await;
    let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "__name__=streamgauge_window_count,counter=plain,window=10s",
            "__name__=streamgauge_window_count,counter=views,window=10s",
            "__name__=streamgauge_window_total,counter=plain,window=10s",
            "__name__=streamgauge_window_total,counter=views,window=10s",
        ],
        "the empty key is no label; the minute has not ended"
    );
    let calls = std::mem::take(&mut *fake.calls.lock().unwrap());
    let first = |call| calls.iter().position(|seen| *seen == call).unwrap();
    assert!(first("partitions") < first("read"), "watermarks are read before counts: {calls:?}");
    for none in [("__name__", EQ, "up"), ("job", EQ, "x"), ("counter", EQ, "no"), ("window", MatcherKind::Regex, "10")]
    {
        assert!(series(&fake, &query(10, 0, &[none])).await.is_empty(), "{none:?}");
    }
    assert!(fake.calls.lock().unwrap().is_empty(), "the store was not asked");
}

#[tokio::test]
async fn too_much_is_refused_before_it_is_read() {
    let fake = fake();
    let mut forever = query(0, 0, &[("window", EQ, "1m")]);
    forever.queries[0].start_timestamp_ms = i64::MIN;
    forever.queries[0].end_timestamp_ms = i64::MAX;
    let refused = ask(&fake, &forever).await.unwrap_err();
    assert!(refused.to_string().contains("one question may read 1000000"), "{refused}");
    let mut many = query(0, 0, &[]);
    many.queries = vec![many.queries[0].clone(); MOST_QUERIES + 1];
    assert!(ask(&fake, &many).await.unwrap_err().to_string().contains("17 queries"));
    let matchers = vec![("key", EQ, ""); MOST_MATCHERS + 1];
    assert!(ask(&fake, &query(0, 0, &matchers)).await.unwrap_err().to_string().contains("65 matchers"));
    // The same in several selectors, and of expressions fewer.
    let several = |kind, each| {
        let one = query(0, 0, &vec![("key", kind, "a"); each]).queries.remove(0);
        ReadRequest { queries: vec![one; MOST_QUERIES], accepted_response_types: vec![] }
    };
    assert!(ask(&fake, &several(EQ, 5)).await.unwrap_err().to_string().contains("80 matchers"));
    let refused = ask(&fake, &several(MatcherKind::NotRegex, 2)).await.unwrap_err();
    assert!(refused.to_string().contains("32 regular expressions"), "{refused}");
    ask(&fake, &several(MatcherKind::Regex, 1)).await.unwrap();
    assert!(!fake.calls.lock().unwrap().contains(&"read"));

    let keys: Vec<String> = (0..=MOST_SERIES).map(|n| n.to_string()).collect();
    let keys: Vec<_> = keys.iter().map(|key| (key.as_str(), 1)).collect();
    fake.fill("views", "10s", START - 10, 0, &keys);
    let refused = ask(&fake, &query(10, 0, &VIEWS)).await.unwrap_err();
    assert!(refused.to_string().contains("more than 50000 series"), "{refused}");
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[test]
fn a_body_is_refused_before_it_is_inflated() {
    let snappy = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    let request = query(1, 0, &VIEWS);
    assert_eq!(decode(&snappy(&request.encode_to_vec())).unwrap(), request);
    let bomb = decode(&snappy(&vec![0; MOST_INFLATED_BYTES + 1])).unwrap_err();
    assert_eq!(bomb.status(), StatusCode::PAYLOAD_TOO_LARGE, "{bomb}");
    // A length of 4 GiB in front of nothing.
    assert_eq!(decode(b"\xff\xff\xff\xff\x0f").unwrap_err().status(), StatusCode::PAYLOAD_TOO_LARGE);
    for wrong in [b"".as_slice(), b"GET /", b"\xff\xff\xff\xff\xff\xff", &snappy(b"\xff\xff\xff")] {
        assert_eq!(decode(wrong).unwrap_err().status(), StatusCode::BAD_REQUEST);
    }
    let chunks = ReadRequest { accepted_response_types: vec![1], ..request.clone() };
    assert!(matches!(decode(&snappy(&chunks.encode_to_vec())), Err(Refused::ResponseType)));
    let both = ReadRequest { accepted_response_types: vec![1, SAMPLES], ..request };
    decode(&snappy(&both.encode_to_vec())).unwrap();
    assert_eq!(Refused::Unreceived(Unreceived::TooLarge(1)).status(), StatusCode::PAYLOAD_TOO_LARGE);
}
