//! The services themselves: they hold what they are given, over a kill too. When this fails, so does all
//! the rest, and for the same reason.

use std::time::Duration;

use redis::AsyncCommands;

use crate::support::{self, Kafka, Redis};

#[tokio::test]
async fn kafka_keeps_a_record_over_a_kill() {
    let kafka = Kafka::start().await;
    let topic = kafka.topic("services", 1).await;
    kafka.produce(&topic, vec![record("before")]).await;
    assert_eq!(values(&kafka, &topic).await, ["before"]);

    kafka.kill();
    kafka.restart().await;
    kafka.produce(&topic, vec![record("after")]).await;
    assert_eq!(values(&kafka, &topic).await, ["before", "after"]);
}

#[tokio::test]
async fn the_shared_kafka_gives_each_test_its_own_topic() {
    let kafka = support::kafka().await;
    let (one, two) = (kafka.topic("services", 1).await, kafka.topic("services", 1).await);
    assert_ne!(one, two);
    kafka.produce(&one, vec![record("one")]).await;
    kafka.produce(&two, vec![record("two")]).await;
    assert_eq!(values(kafka, &two).await, ["two"]);
}

#[tokio::test]
async fn redis_keeps_a_key_over_a_kill() {
    let redis = Redis::start().await;
    let () = redis.connection().await.set("key", 42).await.unwrap();

    redis.kill();
    redis.restart().await;
    let value: u32 = redis.connection().await.get("key").await.unwrap();
    assert_eq!(value, 42);
}

#[tokio::test]
async fn a_paused_redis_answers_once_resumed() {
    let redis = Redis::start_with(&[]).await;
    let mut connection = redis.connection().await;
    redis.pause();
    let unanswered = tokio::time::timeout(Duration::from_millis(200), connection.get::<_, Option<u32>>("key"));
    assert!(unanswered.await.is_err());

    redis.resume();
    let answer: Option<u32> = redis.connection().await.get("key").await.unwrap();
    assert_eq!(answer, None);
}

#[tokio::test]
async fn the_shared_redis_is_one() {
    let prefix = support::unique("services");
    let () = support::redis().await.connection().await.set(&prefix, 1).await.unwrap();
    assert!(support::redis().await.connection().await.exists::<_, bool>(&prefix).await.unwrap());
}

async fn values(kafka: &Kafka, topic: &str) -> Vec<String> {
    let records = kafka.read(topic).await;
    records.into_iter().map(|record| String::from_utf8(record.value.unwrap()).unwrap()).collect()
}

fn record(value: &str) -> (String, Vec<u8>) {
    ("key".to_owned(), value.as_bytes().to_vec())
}
