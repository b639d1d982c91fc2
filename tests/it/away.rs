//! Kafka and Redis away, at the start and later: said so, waited for, and nothing lost.

use std::time::Duration;

use serde_json::json;

use crate::support::app::Binary;
use crate::support::doors::Doors;
use crate::support::oracle::Recount;
use crate::support::traffic::{COUNTERS, Load, Visitors, assert_stored_once};
use crate::support::{self, Kafka, Redis, Settings, eventually, unique};

/// The default `shutdown_timeout`, and the 2 s that a TERM may take on top of it.
const SHUTDOWN: Duration = Duration::from_secs(12);

/// Far less than the drain may take, and enough for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

fn settings(kafka: &Kafka, redis: &Redis, name: &str) -> Settings {
    Settings::kafka(kafka, redis, &unique(name), &unique(name)).counting(COUNTERS)
}

/// Not ready, alive, and the reason names each of these.
async fn until_away(doors: &Doors, path: &str, named: &[&str]) {
    eventually(Duration::from_secs(60), &format!("{path} names {named:?}"), async || {
        let reply = doors.admin(path).await;
        assert_eq!(doors.admin("/healthz").await.status, 200);
        let (ready, text) = (reply.json()["ready"] == true, reply.text());
        let said = named.iter().all(|name| text.to_lowercase().contains(name));
        if reply.status == 503 && !ready && said { Ok(()) } else { Err(text) }
    })
    .await;
}

async fn assert_exact(kafka: &Kafka, redis: &Redis, settings: &Settings, doors: &Doors) {
    let recount = Recount::of_topic(kafka, settings).await;
    doors.until_consumed(recount.records()).await;
    recount.assert_in_redis(redis, settings).await;
    recount.assert_in_api(doors).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn away_at_the_start_both_are_waited_for_and_away_at_the_end_they_hold_nobody_up() {
    let (kafka, redis) = (Kafka::start().await, Redis::start().await);
    kafka.kill();
    redis.kill();
    let settings = settings(&kafka, &redis, "away");
    let binary = Binary::start("run", &settings).await;
    until_away(&binary, "/readyz", &["kafka", "redis"]).await;
    until_away(&binary, "/readyz/ingest", &["kafka"]).await;
    until_away(&binary, "/readyz/query", &["redis"]).await;
    let refused = binary.send(binary.events("application/json", json!({"type": "brief"}).to_string())).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.headers.contains_key("retry-after") && refused.json()["error"].is_string());
    assert_eq!(binary.get("/api/v1/status").await.status, 503);

    redis.restart().await;
    binary.until_admin("/readyz/query", 200).await;
    until_away(&binary, "/readyz", &["kafka"]).await;
    kafka.restart().await;
    binary.until_ready().await;
    binary.post(&json!(Visitors::new("away").events(100))).await;
    assert_exact(&kafka, &redis, &settings, &binary).await;

    kafka.kill();
    redis.kill();
    until_away(&binary, "/readyz", &["kafka", "redis"]).await;
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());

    // And so when they never were there.
    binary.restart().await;
    until_away(&binary, "/readyz", &["kafka", "redis"]).await;
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());

    // A second signal does not wait for any drain.
    binary.restart().await;
    until_away(&binary, "/readyz", &["kafka", "redis"]).await;
    binary.terminate();
    binary.terminate();
    binary.ended(AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_under_load_and_comes_back_has_lost_nothing() {
    let (kafka, redis) = (support::kafka().await, Redis::start().await);
    let settings = settings(kafka, &redis, "redis-away");
    let binary = Binary::start("run", &settings).await;
    binary.until_ready().await;
    let load = Load::start(&binary, "redis-away");
    load.until_acknowledged(1_000).await;
    redis.kill();
    until_away(&binary, "/readyz", &["redis"]).await;
    // What comes in meanwhile is stored all the same.
    load.until_acknowledged(1_000).await;
    binary.until_admin("/readyz/ingest", 200).await;
    redis.restart().await;
    binary.until_ready().await;
    load.until_acknowledged(500).await;
    // As if it were frozen: connections stay, answers do not come.
    redis.pause();
    until_away(&binary, "/readyz", &["redis"]).await;
    redis.resume();
    binary.until_ready().await;
    let acknowledged = load.stop().await;
    let records = kafka.read(settings.text_of("log.kafka.topic")).await;
    assert_stored_once(&acknowledged, records.iter().map(|record| record.value.as_deref().unwrap()));
    assert_exact(kafka, &redis, &settings, &binary).await;
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_that_dies_under_load_and_comes_back_has_lost_nothing() {
    let (kafka, redis) = (Kafka::start().await, support::redis().await);
    let settings = settings(&kafka, redis, "kafka-away");
    let binary = Binary::start("run", &settings).await;
    binary.until_ready().await;
    let load = Load::start(&binary, "kafka-away");
    load.until_acknowledged(1_000).await;
    kafka.kill();
    load.until_refused().await;
    until_away(&binary, "/readyz", &["kafka"]).await;
    until_away(&binary, "/readyz/ingest", &["kafka"]).await;
    // What is counted can still be asked for.
    binary.until_admin("/readyz/query", 200).await;
    binary.status().await;
    kafka.restart().await;
    binary.until_ready().await;
    load.until_acknowledged(1_000).await;
    let acknowledged = load.stop().await;
    let records = kafka.read(settings.text_of("log.kafka.topic")).await;
    assert_stored_once(&acknowledged, records.iter().map(|record| record.value.as_deref().unwrap()));
    assert_exact(&kafka, redis, &settings, &binary).await;
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());
}
