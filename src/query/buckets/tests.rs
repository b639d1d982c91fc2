use super::*;
use crate::counter::{Amounts, Spec, WindowSpec, default_specs};
use crate::query::fake::{Fake, row};
use crate::store::StoredValue;
use serde_json::{Value, json};

/// A Thursday in October 2025, 5 s into a 10 s window.
const NOW_MS: i64 = 1_760_000_005_000;
const START: i64 = 1_760_000_000;

fn counters() -> Counters {
    let window = |size: &str, keep: &str| WindowSpec { size: size.into(), keep: keep.into() };
    let spec = |name: &str, windows| Spec {
        name: name.into(),
        event: vec![],
        by: vec![],
        windows,
        max_keys: 10,
        ..Spec::default()
    };
    let plain = spec("plain", vec![window("1m", "1h"), window("10s", "10m")]);
    let long = spec("long", vec![window("1s", "10y"), window("1m", "10y"), window("1h", "10y")]);
    Counters::new(default_specs().into_iter().chain([plain, long]).collect()).unwrap()
}

async fn ask(fake: &Fake, name: &str, query: &str) -> Result<Value, QueryError> {
    let (counters, params) = (counters(), Params::parse(Some(query), PARAMETERS)?);
    let question = Question::parse(&counters, name, &params, NOW_MS)?;
    question.least()?;
    question.price(fake).await?;
    Ok(serde_json::to_value(question.answer(fake, "t").await?).unwrap())
}

async fn buckets(fake: &Fake, name: &str, query: &str) -> Vec<Value> {
    ask(fake, name, query).await.unwrap()["buckets"].as_array().unwrap().clone()
}

async fn refused(name: &str, query: &str) -> String {
    ask(&Fake::default(), name, query).await.unwrap_err().to_string()
}

/// First start, last start and number of buckets.
async fn span(name: &str, query: &str) -> (i64, i64, usize) {
    let buckets = buckets(&Fake::default(), name, query).await;
    let start = |bucket: Option<&Value>| bucket.map_or(0, |b| b["start"].as_i64().unwrap());
    (start(buckets.first()), start(buckets.last()), buckets.len())
}

#[tokio::test]
async fn an_answer_says_all_that_is_known_of_a_bucket() {
    let fake = Fake::default();
    fake.put(0, row(1, START * 1_000, NOW_MS - 500));
    fake.know(default_specs().remove(0), START - 5);
    fake.fill("page_views", "10s", START - 10, 3, &[("/b", 5), ("/a", 5), ("/c", 9)]);
    let from = format!("from={}&top=2", START - 20);
    let answer = ask(&fake, "page_views", &from).await.unwrap();
    assert_eq!(
        answer,
        json!({"counter": "page_views", "window": "10s", "data_as_of": 1_760_000_004.5, "complete_until": 1.76e9,
        "buckets": [
            {"start": START - 20, "end": START - 10, "final": true, "partial": true, "total": 0, "other": 0, "keys": []},
            {"start": START - 10, "end": START, "final": true, "partial": true, "total": 22, "other": 3,
                "keys": [{"key": "/c", "count": 9}, {"key": "/a", "count": 5}]},
            {"start": START, "end": START + 10, "final": false, "partial": false, "total": 0, "other": 0, "keys": []},
        ]})
    );
}

#[tokio::test]
async fn watermarks_are_read_before_counts() {
    let fake = Fake::default();
    ask(&fake, "page_views", "").await.unwrap();
    assert_eq!(*fake.calls.lock().unwrap(), ["key_count", "partitions", "counters", "read"]);
}

#[tokio::test]
async fn nothing_is_final_or_whole_before_anything_is_known() {
    let answer = ask(&Fake::default(), "page_views", "from=-10s").await.unwrap();
    assert_eq!((&answer["data_as_of"], &answer["complete_until"]), (&Value::Null, &Value::Null));
    for bucket in answer["buckets"].as_array().unwrap() {
        assert_eq!((&bucket["final"], &bucket["partial"]), (&json!(false), &json!(true)));
    }
}

#[tokio::test]
async fn a_range_is_aligned_down_and_ends_before_its_end() {
    assert_eq!(span("page_views", "").await, (START - 900, START, 91));
    assert_eq!(span("page_views", &format!("from={}&to={START}", START - 11)).await, (START - 20, START - 10, 2));
    assert_eq!(span("page_views", &format!("from={START}&to={START}.5")).await, (START, START, 1));
    assert_eq!(span("page_views", &format!("from={START}&to={START}")).await.2, 0);
    assert_eq!(span("page_views", "window=1h&from=-2h").await, (1_759_989_600, 1_759_996_800, 3));
    assert_eq!(span("plain", "from=-10s").await.0, START - 10, "the smallest window, wherever it stands");
}

#[tokio::test]
async fn buckets_past_their_retention_or_in_the_future_are_left_out() {
    // Kept for 10 minutes: the bucket that ended 600 s ago has just been kept for the last time.
    assert_eq!(span("plain", "from=0").await, (START - 600, START, 61));
    assert_eq!(span("plain", "from=0&to=1000").await.2, 0);
    // Begins at now + 60 s at the latest.
    assert_eq!(span("plain", "from=now&to=9999999999").await, (START, START + 60, 7));
    assert!(refused("plain", "from=9999999998&to=9999999999").await.contains("in the future"));
    assert_eq!(span("plain", "from=-9999999999&to=9999999999").await.2, 67);
}

#[tokio::test]
async fn one_key_is_answered_even_where_it_was_not_counted() {
    let fake = Fake::default();
    fake.fill("page_views", "10s", START, 0, &[("", 4), ("/a b", 5)]);
    let keys = |bucket: &Value| bucket["keys"].clone();
    let seen = buckets(&fake, "page_views", "from=-10s&key=%2Fa+b").await;
    assert_eq!(keys(&seen[0]), json!([{"key": "/a b", "count": 0}]));
    assert_eq!(keys(&seen[1]), json!([{"key": "/a b", "count": 5}]));
    assert_eq!(seen[1]["total"], 9);
    assert_eq!(keys(&buckets(&fake, "page_views", "key=").await[90]), json!([{"key": "", "count": 4}]));
}

#[tokio::test]
async fn keys_are_read_only_where_they_are_wanted() {
    let fake = Fake::default();
    fake.fill("page_views", "10s", START, 0, &[("/", 4)]);
    assert_eq!(buckets(&fake, "page_views", "top=0").await[90]["keys"], json!([]));
    assert_eq!(buckets(&fake, "plain", "").await[0]["keys"], json!([]));
    assert!(!fake.calls.lock().unwrap().contains(&"key_count"));
}

#[tokio::test]
async fn a_question_that_reads_too_much_is_told_what_to_ask_instead() {
    let text = refused("long", "from=-20d").await;
    assert_eq!(
        text,
        "this would read 1728000 counts, and one question may read 1000000: ask for window=1m, or for a shorter range"
    );
    assert!(refused("long", "from=-9y").await.contains("window=1h"));
    // 9 years of hours are few, and a range of all time is cut by retention before it is counted.
    assert!(refused("long", "from=-9y&window=1s&to=99999999999").await.contains("1000000"));
    let fake = Fake::default();
    let keys: Vec<(String, u64)> = (0..1_001).map(|n| (n.to_string(), 1)).collect();
    let bucket = StoredBucket { total: 1_001, keys, ..StoredBucket::default() };
    for n in 0..360 {
        let place = ("page_views".to_owned(), "10s".to_owned(), START - n * 10);
        fake.buckets.lock().unwrap().insert(place, bucket.clone());
    }
    ask(&fake, "page_views", "from=-1h").await.unwrap();
    let keys: Vec<(String, u64)> = (0..3_000).map(|n| (n.to_string(), 1)).collect();
    fake.buckets.lock().unwrap().values_mut().for_each(|bucket| bucket.keys = keys.clone());
    let refused = ask(&fake, "page_views", "from=-1h").await.unwrap_err().to_string();
    assert!(refused.contains("1080000 counts") && refused.contains("window=1m"), "{refused}");
    ask(&fake, "page_views", "from=-1h&key=1").await.unwrap();
    ask(&fake, "page_views", "from=-1h&top=0").await.unwrap();
}

#[tokio::test]
async fn a_wrong_question_names_what_would_be_right() {
    assert!(refused("page_view", "").await.ends_with("did you mean `page_views`?"));
    let unknown = refused("pages", "").await;
    assert!(unknown.contains("page_views, clicks, searches, events, plain, long"), "{unknown}");
    assert!(refused("clicks", "window=10m").await.contains("it has 10s, 1m, 1h"));
    assert!(refused("clicks", "window=").await.contains("no window ``"));
    for top in ["-1", "10001", "+5", "many", ""] {
        assert!(refused("clicks", &format!("top={}", top.replace('+', "%2B"))).await.contains("0 to 10000"), "{top}");
    }
    assert!(refused("plain", "key=a").await.contains("no keys"));
    assert!(refused("clicks", "from=now&to=-1m").await.contains("ends before it begins"));
}

#[tokio::test]
async fn a_sum_and_a_distinct_count_say_what_they_amount_to() {
    let spec = |name: &str, kind, of: &str| Spec {
        name: name.into(),
        kind,
        of: Some(of.into()),
        by: vec!["payload.shop".into()],
        windows: vec![WindowSpec { size: "10s".into(), keep: "1h".into() }],
        ..Spec::default()
    };
    let sum = Spec { factor: Some(100), ..spec("revenue", Kind::Sum, "payload.amount") };
    let counters = Counters::new(vec![sum, spec("buyers", Kind::Distinct, "user_id")]).unwrap();
    let fake = Fake::default();
    let amounts = |sum, min, max| StoredValue::Amounts(Amounts { sum, min, max });
    // Beyond what a float tells, and more than one key with another order by value than by count.
    let huge = amounts(90_071_992_547_409_935, -50, 90_071_992_547_409_985);
    for (name, all, [a, b]) in [
        ("revenue", huge, [amounts(-50, -50, 0), amounts(7, 7, 7)]),
        ("buyers", StoredValue::Distinct(5), [StoredValue::Distinct(2), StoredValue::Distinct(4)]),
    ] {
        let (keys, values) = (vec![("a".into(), 3), ("b".into(), 1)], [("a".into(), a), ("b".into(), b)].into());
        let bucket = StoredBucket { total: 4, other: 0, keys, value: Some(all), values };
        fake.buckets.lock().unwrap().insert((name.to_owned(), "10s".to_owned(), START - 10), bucket);
    }
    let ask = async |name: &str, query: &str| {
        let params = Params::parse(Some(query), PARAMETERS).unwrap();
        let question = Question::parse(&counters, name, &params, NOW_MS).unwrap();
        serde_json::to_string(&question.answer(&fake, "t").await.unwrap()).unwrap()
    };
    let (from, begin) = (format!("from={}", START - 10), r#""partial":true,"total":4,"other":0,"#);
    let revenue = ask("revenue", &from).await;
    let value = r#""count":4,"value":900719925474099.35,"min":-0.5,"max":900719925474099.85,"mean":225179981368524.84"#;
    let keys = r#"[{"key":"b","count":1,"value":0.07,"min":0.07,"max":0.07,"mean":0.07},{"key":"a","count":3,"value":-0.5,"min":-0.5,"max":0,"#;
    assert!(revenue.contains(&format!("{begin}{value},\"keys\":{keys}")), "{revenue}");
    assert!(revenue.contains(&format!("\"complete_until\":null,{value},\"buckets\"")), "{revenue}");
    let empty = r#""total":0,"other":0,"count":0,"value":0,"min":null,"max":null,"mean":null,"keys":[]"#;
    assert!(revenue.contains(empty), "{revenue}");
    assert!(ask("revenue", &format!("{from}&key=a")).await.contains(r#"null,"count":3,"value":-0.5,"#));
    let buyers = ask("buyers", &from).await;
    let keys = r#"[{"key":"b","count":1,"value":4},{"key":"a","count":3,"value":2}]"#;
    assert!(buyers.contains(&format!("{begin}\"value\":5,\"keys\":{keys}")), "{buyers}");
    assert!(buyers.contains("\"complete_until\":null,\"value\":4,\"buckets\""), "united, not added up: {buyers}");
    let params = Params::parse(Some("from=-1h"), PARAMETERS).unwrap();
    let question = Question::parse(&counters, "buyers", &params, NOW_MS).unwrap();
    assert_eq!(question.least().unwrap(), 361 * 16);
}
