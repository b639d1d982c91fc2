//! A real Prometheus that reads the windows by remote read: PromQL gives the numbers of the API.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::app::Running;
use crate::support::doors::SOON;
use crate::support::prometheus::Prometheus;
use crate::support::{self, Settings, eventually, now_ms, unique};

const COUNTERS: &str = r#"
[[counters]]
name = "views"
event = "view"
by = ["payload.path"]
windows = [{ size = "1s", keep = "1h" }, { size = "1m", keep = "1h" }]

[[counters]]
name = "all"
windows = [{ size = "1s", keep = "1h" }]
"#;
/// Keys with what PromQL, JSON and URLs each have to escape; and the empty one.
const KEYS: [&str; 6] = ["/a", "/ab", "/b", "", "quote \" and \\ and\nline", "<é {}>"];

/// Events of the last seconds of ended windows: `at` and the five seconds before it, each key another number of times.
async fn post(gauge: &Running, at: i64) -> u64 {
    let mut events = Vec::new();
    for (n, key) in KEYS.iter().enumerate() {
        for second in 0..6 {
            // A key is not in every window.
            let times = if (second as usize + n).is_multiple_of(3) { 0 } else { n + 1 + second as usize };
            let event = json!({"type": "view", "timestamp": (at - second) * 1_000 + 7, "payload": {"path": key}});
            events.extend(std::iter::repeat_n(event, times));
        }
    }
    let sent = events.len() as u64;
    gauge.post(&json!(events)).await;
    sent
}

/// Sums of the API over the windows with from <= start < to, by key; the total under no key.
async fn api(gauge: &Running, window: &str, from: i64, to: i64) -> BTreeMap<Option<String>, u64> {
    let answer = gauge.counter("views", &format!("window={window}&from={from}&to={to}&top=100")).await;
    let mut sums = BTreeMap::new();
    for bucket in answer["buckets"].as_array().unwrap() {
        *sums.entry(None).or_default() += bucket["total"].as_u64().unwrap();
        for key in bucket["keys"].as_array().unwrap() {
            *sums.entry(Some(key["key"].as_str().unwrap().to_owned())).or_default() += key["count"].as_u64().unwrap();
        }
    }
    sums
}

/// The same by PromQL. `key` absent is the empty key.
async fn promql(prometheus: &Prometheus, expression: &str, at: f64) -> BTreeMap<String, u64> {
    let evaluated = prometheus.query(expression, at).await;
    assert!(evaluated.warnings.is_empty(), "{expression}: {:?}", evaluated.warnings);
    let key = |labels: &Value| labels["key"].as_str().unwrap_or_default().to_owned();
    evaluated.series.iter().map(|(labels, value)| (key(labels), value.parse().unwrap())).collect()
}

fn keys(sums: &BTreeMap<Option<String>, u64>, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, u64> {
    let keys = sums.iter().filter_map(|(key, count)| Some((key.clone()?, *count)));
    keys.filter(|(key, _)| wanted(key)).collect()
}

async fn gauges() -> Vec<(Option<tempfile::TempDir>, Settings)> {
    let dir = tempfile::tempdir().unwrap();
    let file = Settings::embedded(dir.path());
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let on_kafka = Settings::kafka(kafka, redis, &unique("promql"), &unique("promql"));
    let counting = |settings: Settings| settings.counting(COUNTERS).with("pipeline.lateness", "500ms");
    vec![(Some(dir), counting(file)), (None, counting(on_kafka))]
}

/// Every kind of matcher, aggregation and range, each against the API.
async fn assert_equal(gauge: &Running, prometheus: &Prometheus, at: i64) {
    let end = at + 1;
    let sums = api(gauge, "1s", at - 5, end).await;
    let over = |matcher: &str| {
        format!(r#"sum_over_time(streamgauge_window_count{{counter="views",window="1s"{matcher}}}[6s])"#)
    };
    type Wanted = fn(&str) -> bool;
    let cases: [(&str, Wanted); 9] = [
        ("", |_| true),
        (r#",key="/a""#, |key| key == "/a"),
        (r#",key!="/a""#, |key| key != "/a"),
        (r#",key=~"/a.*""#, |key| key.starts_with("/a")),
        (r#",key=~"/a|b""#, |key| key == "/a"),
        (r#",key!~"/.*""#, |key| !key.starts_with('/')),
        (r#",key="""#, str::is_empty),
        (r#",key=~".+""#, |key| !key.is_empty()),
        (r#",key="quote \" and \\ and\nline""#, |key| key.starts_with("quote")),
    ];
    for (matcher, wanted) in cases {
        let expected = keys(&sums, wanted);
        assert!(!expected.is_empty(), "{matcher}");
        assert_eq!(promql(prometheus, &over(matcher), end as f64).await, expected, "{matcher}");
    }
    let total = BTreeMap::from([(String::new(), sums[&None])]);
    for expression in [
        format!("sum by (counter) ({})", over("")),
        r#"sum_over_time(streamgauge_window_total{counter="views",window="1s"}[6s])"#.into(),
        r#"sum_over_time(streamgauge_window_total{counter="all",window=~"1s|5s"}[6s])"#.into(),
        r#"sum_over_time(streamgauge_window_count{counter="all"}[6s])"#.into(),
    ] {
        assert_eq!(promql(prometheus, &expression, end as f64).await, total, "{expression}");
    }
    let minutes = (at / 60 + 1) * 60;
    let expected = keys(&api(gauge, "1m", minutes - 120, minutes).await, |_| true);
    let expression = r#"sum_over_time(streamgauge_window_count{counter="views",window="1m"}[2m])"#;
    assert_eq!(promql(prometheus, expression, minutes as f64).await, expected);
}

/// An instant query is the newest window that ended, and nothing of older ones; a range steps through the windows.
async fn assert_window_by_window(gauge: &Running, prometheus: &Prometheus, at: i64) {
    for second in at - 4..=at {
        let expected = keys(&api(gauge, "1s", second, second + 1).await, |_| true);
        assert!(expected.len() < KEYS.len(), "some keys are not in it");
        let expression = r#"streamgauge_window_count{counter="views",window="1s"}"#;
        assert_eq!(promql(prometheus, expression, (second + 1) as f64).await, expected, "{second} - {at}");
        assert_eq!(promql(prometheus, expression, (second + 1) as f64 + 0.998).await, expected, "until the next ends");
    }
    let expression = r#"streamgauge_window_total{counter="views",window="1s"}"#;
    let values = prometheus.range(expression, at - 4, at + 1, 1).await;
    let answer = gauge.counter("views", &format!("window=1s&from={}&to={}", at - 5, at + 1)).await;
    let buckets = answer["buckets"].as_array().unwrap().iter();
    let expected: Vec<_> = buckets.map(|b| (b["end"].as_i64().unwrap(), b["total"].to_string())).collect();
    assert_eq!(values, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promql_gives_the_numbers_of_the_api_late_corrections_included() {
    for (_dir, settings) in gauges().await {
        let gauge = Running::start(&settings).await;
        let prometheus = Prometheus::reading_from(&gauge.query_url("/api/v1/prometheus/read"), None).await;
        let at = now_ms() / 1_000 - 1;
        let sent = post(&gauge, at).await;
        gauge.until_consumed(sent).await;
        assert_equal(&gauge, &prometheus, at).await;
        assert_window_by_window(&gauge, &prometheus, at).await;

        let one = r#"sum_over_time(streamgauge_window_count{counter="views",window="1s",key="/a"}[6s])"#;
        let before = promql(&prometheus, one, (at + 1) as f64).await["/a"];
        gauge.post(&json!({"type": "view", "timestamp": (at - 3) * 1_000, "payload": {"path": "/a"}})).await;
        gauge.until_consumed(sent + 1).await;
        assert_eq!(promql(&prometheus, one, (at + 1) as f64).await["/a"], before + 1, "it was late");
        assert_equal(&gauge, &prometheus, at).await;
        assert_window_by_window(&gauge, &prometheus, at).await;
        gauge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_or_too_much_is_told_by_prometheus() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path()).counting(COUNTERS)).await;
    let prometheus = Prometheus::reading_from(&gauge.query_url("/api/v1/prometheus/read"), None).await;
    let now = now_ms() as f64 / 1_000.0;
    for nothing in ["up", r#"{counter="views",job="else"}"#, r#"streamgauge_window_count{counter="no"}"#] {
        assert_eq!(promql(&prometheus, nothing, now).await, BTreeMap::new(), "{nothing}");
    }
    let refused = prometheus.query(r#"streamgauge_window_count{key=~"\\w{500}"}"#, now).await;
    assert!(refused.series.is_empty());
    assert!(refused.warnings.iter().any(|warning| warning.contains("too large")), "{refused:?}");
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_query_token_is_asked_of_prometheus_too() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).counting(COUNTERS).with("query.token", "read-it");
    let gauge = Running::start(&settings).await;
    let url = gauge.query_url("/api/v1/prometheus/read");
    let at = now_ms() / 1_000 - 1;
    gauge.post(&json!({"type": "view", "timestamp": at * 1_000, "payload": {"path": "/a"}})).await;
    let stranger = Prometheus::reading_from(&url, None).await;
    let reader = Prometheus::reading_from(&url, Some("read-it")).await;
    let expression = r#"streamgauge_window_total{counter="views",window="1s"}"#;
    eventually(SOON, "the event is counted", async || {
        let answer = reader.query(expression, (at + 1) as f64).await;
        let values: Vec<_> = answer.series.iter().map(|(_, value)| value.as_str()).collect();
        if values == ["1"] && answer.warnings.is_empty() { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    let refused = stranger.query(expression, (at + 1) as f64).await;
    assert!(refused.series.is_empty() && refused.warnings[0].contains("401"), "{refused:?}");
    gauge.stop().await;
}
