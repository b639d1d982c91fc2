//! Bad input through both doors, HTTP and the topic itself: a clear answer or a dead letter for each, and no panic, no
//! stall, no silent drop.

mod bodies;
mod records;

use serde_json::json;

use crate::support::app::Running;
use crate::support::doors::SOON;
use crate::support::oracle::Recount;
use crate::support::{self, Settings, now_ms, unique};

/// A counter whose keys are soon too many.
const PAGES: &str = r#"
[[counters]]
name = "pages"
event = "page_view"
by = ["payload.path"]
windows = [{ size = "1h", keep = "1d" }]
max_keys = 2500
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_distinct_pages_go_to_other_and_the_total_is_exact() {
    let dir = tempfile::tempdir().unwrap();
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let on_kafka = Settings::kafka(kafka, redis, &unique("pages"), &unique("pages")).counting(PAGES);
    for (settings, in_file) in [(Settings::embedded(dir.path()).counting(PAGES), true), (on_kafka, false)] {
        let gauge = Running::start(&settings).await;
        let hour = now_ms() / 3_600_000 * 3_600;
        for batch in 0..20 {
            let page = |n: usize| {
                format!("{{\"type\":\"page_view\",\"timestamp\":{},\"payload\":{{\"path\":\"/{n}\"}}}}\n", hour * 1_000)
            };
            let body: String = (batch * 5_000..(batch + 1) * 5_000).map(page).collect();
            assert_eq!(gauge.send(gauge.events("application/x-ndjson", body)).await.expect(202)["accepted"], 5_000);
        }
        gauge.until_consumed_within(2 * SOON, 100_000).await;
        let answer = gauge.counter("pages", &format!("from={hour}&to={}&top=10000", hour + 1)).await;
        let bucket = &answer["buckets"][0];
        assert_eq!((&bucket["total"], &bucket["other"]), (&json!(100_000), &json!(97_500)));
        assert_eq!(bucket["keys"].as_array().unwrap().len(), 2_500);
        if !in_file {
            Recount::of_topic(kafka, &settings).await.assert_in_redis(redis, &settings).await;
        }
        gauge.until_ready().await;
        gauge.stop().await;
    }
}
