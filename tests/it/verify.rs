//! `streamgauge verify`: it agrees with counts that are right, and finds one that is not.

use redis::AsyncCommands;
use serde_json::json;

use crate::support::app::{Running, finish};
use crate::support::traffic::{COUNTERS, Visitors};
use crate::support::{self, Settings, now_ms, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_agrees_and_finds_what_was_planted() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let prefix = unique("verify");
    let settings = Settings::kafka(kafka, redis, &unique("verify"), &prefix).counting(COUNTERS);
    let gauge = Running::start(&settings).await;
    let mut visitors = Visitors::new("verify");
    for _ in 0..5 {
        gauge.post(&json!(visitors.events(400))).await;
    }
    gauge.post(&json!({"type": "page_view", "timestamp": now_ms(), "payload": {"path": "/planted"}})).await;
    gauge.until_consumed(2_001).await;
    let right = finish(&["verify"], &settings).await;
    assert_eq!(right.code, 0, "{}", right.output);
    assert!(right.output.contains("2001"), "it says how many records: {}", right.output);

    let mut connection = redis.connection().await;
    let hour = now_ms() / 3_600_000 * 3_600;
    let (keys, sum) =
        (format!("{prefix}:{{0}}:keys:page_views:1h:{hour}"), format!("{prefix}:{{0}}:sum:page_views:1h:{hour}"));
    let count: u64 = connection.hincr(&keys, "/planted", 1).await.unwrap();
    let wrong = finish(&["verify"], &settings).await;
    assert_eq!(wrong.code, 1, "{}", wrong.output);
    for part in ["page_views", "1h", "/planted"] {
        assert!(wrong.output.contains(part), "{part} is named: {}", wrong.output);
    }
    // It looks at one counter alone when asked to.
    assert_eq!(finish(&["verify", "--counter", "few"], &settings).await.code, 0);
    assert_eq!(finish(&["verify", "--counter", "page_views"], &settings).await.code, 1);

    let _: u64 = connection.hincr(&keys, "/planted", -1).await.unwrap();
    assert!(count > 1);
    let _: u64 = connection.hincr(&sum, "total", 5).await.unwrap();
    assert_eq!(finish(&["verify"], &settings).await.code, 1, "a total alone");
    let _: u64 = connection.hincr(&sum, "total", -5).await.unwrap();
    assert_eq!(finish(&["verify"], &settings).await.code, 0);
    gauge.stop().await;
}
