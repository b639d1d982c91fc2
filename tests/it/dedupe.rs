//! The same event counts once: also when it is sent again after a restart, by somebody else, or much later.

use serde_json::{Value, json};

use crate::support::app::{Running, finish};
use crate::support::doors::sum;
use crate::support::oracle::Recount;
use crate::support::traffic::{COUNTERS, Visitors};
use crate::support::{self, Settings, unique};

async fn on_kafka(name: &str) -> Settings {
    Settings::kafka(support::kafka().await, support::redis().await, &unique(name), &unique(name)).counting(COUNTERS)
}

async fn assert_exact(settings: &Settings, gauge: &Running) -> Recount {
    let recount = Recount::of_topic(support::kafka().await, settings).await;
    gauge.until_consumed(recount.records()).await;
    recount.assert_in_redis(support::redis().await, settings).await;
    recount.assert_in_api(gauge).await;
    recount
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_sent_again_counts_once_also_after_a_restart() {
    let settings = on_kafka("again").await;
    let events = json!(Visitors::new("again").events(300));
    let mut gauge = Running::start(&settings).await;
    gauge.post(&events).await;
    gauge.post(&events).await;
    assert_exact(&settings, &gauge).await;
    gauge.stop().await;
    // What was counted before is known to who comes after.
    gauge = Running::start(&settings).await;
    gauge.post(&events).await;
    let recount = assert_exact(&settings, &gauge).await;
    assert_eq!((recount.records(), recount.outcome("duplicate")), (900, 600));
    assert_eq!(sum(&gauge.status().await, "duplicate"), 600);
    gauge.stop().await;
    let verified = finish(&["verify"], &settings).await;
    assert_eq!(verified.code, 0, "{}", verified.output);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_horizon_is_one_of_offsets_and_can_be_switched_off() {
    let event = |n: i64| json!({"type": "page_view", "id": format!("e{n}"), "session_id": "one"});
    let events: Value = (0..30).map(event).collect();
    // The first 10 come again 30 offsets after themselves.
    let again: Value = (0..10).map(event).collect();
    for (horizon, duplicates) in [(0_i64, 0), (29, 0), (30, 10)] {
        let settings = on_kafka("horizon").await.with("pipeline.dedupe_horizon", horizon);
        let gauge = Running::start(&settings).await;
        gauge.post(&events).await;
        gauge.post(&again).await;
        let recount = assert_exact(&settings, &gauge).await;
        assert_eq!(recount.outcome("duplicate"), duplicates, "a horizon of {horizon}");
        gauge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_the_same_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).counting(COUNTERS);
    let events = json!(Visitors::new("file-again").events(200));
    for round in 1..=3 {
        let gauge = Running::start(&settings).await;
        gauge.post(&events).await;
        gauge.until_consumed(200 * round).await;
        assert_eq!(sum(&gauge.status().await, "duplicate"), 200 * (round - 1));
        gauge.stop().await;
    }
    let verified = finish(&["verify"], &settings).await;
    assert_eq!(verified.code, 0, "{}", verified.output);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_whose_ids_find_no_room_waits_and_says_so() {
    let settings = on_kafka("room").await.with("pipeline.dedupe_horizon", 1_000).with("pipeline.max_dedupe_ids", 3_500);
    let gauge = Running::start_roles(&settings, &streamgauge::telemetry::Role::ALL).await;
    let reply = gauge.until_admin("/readyz/process", 503).await;
    support::eventually(support::doors::SOON, "one of four partitions waits", async || {
        let status = gauge.status().await;
        let partitions = status["partitions"].as_array().unwrap();
        let waiting: Vec<_> = partitions.iter().filter(|one| one["state"] == "stopped").collect();
        let said = waiting.iter().filter(|one| one["reason"].to_string().contains("max_dedupe_ids")).count();
        if (waiting.len(), said) == (1, 1) { Ok(()) } else { Err(format!("{status} {}", reply.text())) }
    })
    .await;
    gauge.stop().await;
}
