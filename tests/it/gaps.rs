//! Records that are gone before they were counted, topics made anew, stores that were emptied: named, never skipped
//! silently, and passed only by somebody's leave.

use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use streamgauge::telemetry::Role;

use crate::support::app::{Running, finish};
use crate::support::doors::{Doors, SOON, sum};
use crate::support::oracle::Recount;
use crate::support::traffic::COUNTERS;
use crate::support::{self, Kafka, Redis, Settings, eventually, now_ms, unique};

/// A check of the log every 30 s, and time for a busy machine.
const NEXT_CHECK: Duration = Duration::from_secs(90);

/// One partition, so that offsets are what is written here.
async fn one_partition(kafka: &Kafka, redis: &Redis, name: &str) -> Settings {
    let topic = kafka.topic(name, 1).await;
    Settings::kafka(kafka, redis, &topic, &unique(name)).counting(COUNTERS)
}

fn views(name: &str, n: usize) -> Value {
    let view = |n: usize| json!({"type": "page_view", "id": format!("{name}-{n}"), "payload": {"path": "/x"}});
    (0..n).map(view).collect()
}

async fn until_partition(doors: &Doors, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(NEXT_CHECK, what, async || {
        let status = doors.status().await;
        let partition = status["partitions"][0].clone();
        if holds(&partition) { Ok(partition) } else { Err(status.to_string()) }
    })
    .await
}

async fn until_stopped(doors: &Doors, named: &str) -> Value {
    let stopped = until_partition(doors, "the partition is stopped", |partition| {
        partition["state"] == "stopped" && partition["reason"].as_str().is_some_and(|reason| reason.contains(named))
    })
    .await;
    let reply = doors.until_admin("/readyz/process", 503).await;
    assert!(reply.text().contains("accept-gap"), "{}", reply.text());
    stopped
}

async fn delete_below(kafka: &Kafka, settings: &Settings, offset: i64) {
    let mut below = TopicPartitionList::new();
    below.add_partition_offset(settings.text_of("log.kafka.topic"), 0, Offset::Offset(offset)).unwrap();
    kafka.admin().delete_records(&below, &AdminOptions::new()).await.unwrap();
}

async fn make_anew(kafka: &Kafka, settings: &Settings) {
    let topic = settings.text_of("log.kafka.topic");
    let deleted = kafka.admin().delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
    assert_eq!(deleted, [Ok(topic.to_owned())]);
    eventually(SOON, "the topic can be made anew", async || {
        let new = rdkafka::admin::NewTopic::new(topic, 1, rdkafka::admin::TopicReplication::Fixed(1));
        let made = kafka.admin().create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0);
        made.map_err(|(_, code)| code.to_string())
    })
    .await;
}

/// The counts of the one path, all windows of an hour together.
async fn counted(doors: &Doors) -> u64 {
    let answer = doors.counter("page_views", "window=1h&from=-3h").await;
    answer["buckets"].as_array().unwrap().iter().map(|bucket| bucket["total"].as_u64().unwrap()).sum()
}

/// 100 counted, 100 more not counted, of which the first 50 are deleted.
async fn with_records_lost(kafka: &Kafka, redis: &Redis, name: &str) -> Settings {
    let settings = one_partition(kafka, redis, name).await;
    let gauge = Running::start(&settings).await;
    gauge.post(&views("before", 100)).await;
    gauge.until_consumed(100).await;
    gauge.stop().await;
    let front = Running::start_roles(&settings, &[Role::Ingest]).await;
    front.post(&views("after", 100)).await;
    front.stop().await;
    delete_below(kafka, &settings, 150).await;
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_lost_to_retention_stop_the_partition_until_the_gap_is_accepted() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = with_records_lost(kafka, redis, "retention").await;
    let gauge = Running::start_roles(&settings, &Role::ALL).await;
    let stopped = until_stopped(&gauge, "100-149").await;
    assert_eq!((&stopped["next_offset"], &stopped["ledger"]["lost"]), (&json!(100), &json!(0)));
    assert_eq!(counted(&gauge).await, 100, "nothing was skipped silently");
    let metrics = gauge.admin("/metrics").await.text();
    assert!(metrics.contains("streamgauge_partition_stopped{partition=\"0\"} 1"), "{metrics}");

    let wrong = finish(&["accept-gap", "--partition", "3"], &settings).await;
    assert_eq!(wrong.code, 1, "{}", wrong.output);
    let accepted = finish(&["accept-gap"], &settings).await;
    assert_eq!(accepted.code, 0, "{}", accepted.output);
    assert!(accepted.output.contains("100-149") && accepted.output.contains("goes on"), "{}", accepted.output);
    gauge.until_consumed(150).await;
    gauge.until_ready().await;
    let status = gauge.status().await;
    assert_eq!((sum(&status, "lost"), &status["unaccounted"]), (50, &json!(0)), "{status}");
    assert_eq!(counted(&gauge).await, 150);
    let answer = gauge.counter("page_views", "window=1h&from=-3h").await;
    let partial = |bucket: &Value| bucket["total"] != 0 && bucket["partial"] == true;
    assert!(answer["buckets"].as_array().unwrap().iter().any(partial), "{answer}");
    assert!(finish(&["accept-gap"], &settings).await.output.contains("nothing to accept"));
    let verified = finish(&["verify"], &settings).await;
    assert_eq!(verified.code, 0, "{}", verified.output);
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_passed_by_itself_where_that_is_configured() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = with_records_lost(kafka, redis, "continue").await.with("pipeline.on_gap", "continue");
    let gauge = Running::start(&settings).await;
    gauge.until_consumed(150).await;
    let status = gauge.status().await;
    assert_eq!((sum(&status, "lost"), &status["unaccounted"]), (50, &json!(0)), "{status}");
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_with_more_records_than_before_is_told_from_the_old_one() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = one_partition(kafka, redis, "anew").await;
    let gauge = Running::start(&settings).await;
    gauge.post(&views("old", 100)).await;
    gauge.until_consumed(100).await;
    gauge.stop().await;
    make_anew(kafka, &settings).await;
    let front = Running::start_roles(&settings, &[Role::Ingest]).await;
    front.post(&views("new", 250)).await;
    front.stop().await;

    let gauge = Running::start_roles(&settings, &Role::ALL).await;
    until_stopped(&gauge, "made anew").await;
    assert_eq!(counted(&gauge).await, 100);
    assert_eq!(finish(&["accept-gap", "--partition", "0"], &settings).await.code, 0);
    gauge.until_consumed(350).await;
    let status = gauge.status().await;
    assert_eq!((&status["unaccounted"], &status["partitions"][0]["next_offset"]), (&json!(0), &json!(250)));
    assert_eq!(counted(&gauge).await, 350, "the old ones once, and all of the new ones");
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_under_a_running_processor_is_noticed() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = one_partition(kafka, redis, "under").await;
    let gauge = Running::start(&settings).await;
    gauge.post(&views("old", 100)).await;
    gauge.until_consumed(100).await;
    make_anew(kafka, &settings).await;
    let event = |n: usize| (format!("k{n}"), format!("{{\"type\":\"page_view\",\"id\":\"n{n}\"}}").into_bytes());
    kafka.produce(settings.text_of("log.kafka.topic"), (0..30).map(event)).await;
    until_stopped(&gauge, "made anew").await;
    assert_eq!(counted(&gauge).await, 100);
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_emptied_is_filled_again_from_a_whole_log_and_else_says_what_is_missing() {
    let (kafka, redis) = (support::kafka().await, &Redis::start().await);
    let settings = one_partition(kafka, redis, "emptied").await;
    let gauge = Running::start(&settings).await;
    gauge.post(&views("a", 200)).await;
    gauge.until_consumed(200).await;
    let mut connection = redis.connection().await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    gauge.post(&views("b", 10)).await;
    let recount = Recount::of_topic(kafka, &settings).await;
    gauge.until_consumed(210).await;
    recount.assert_in_redis(redis, &settings).await;
    assert_eq!(counted(&gauge).await, 210);

    delete_below(kafka, &settings, 120).await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    gauge.post(&views("c", 10)).await;
    until_stopped(&gauge, "0-119").await;
    assert_eq!(finish(&["accept-gap"], &settings).await.code, 0);
    gauge.until_consumed(100).await;
    let status = gauge.status().await;
    assert_eq!((sum(&status, "lost"), &status["unaccounted"]), (120, &json!(0)), "{status}");
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_while_it_runs_are_counted_from_their_beginning() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = one_partition(kafka, redis, "added").await;
    let gauge = Running::start(&settings).await;
    gauge.post(&views("one", 50)).await;
    gauge.until_consumed(50).await;
    let topic = settings.text_of("log.kafka.topic");
    let grown = kafka.admin().create_partitions(&[NewPartitions::new(topic, 3)], &AdminOptions::new()).await.unwrap();
    assert_eq!(grown, [Ok(topic.to_owned())]);
    let time = now_ms();
    let event = move |n: usize| support::topic::Raw {
        value: Some(format!("{{\"type\":\"page_view\",\"id\":\"p{n}\",\"timestamp\":{time}}}").into_bytes()),
        partition: Some((n % 3) as i32),
        ..Default::default()
    };
    kafka.produce(topic, (0..90).map(event)).await;
    gauge.until_consumed(140).await;
    let recount = Recount::of_topic(kafka, &settings).await;
    recount.assert_in_redis(redis, &settings).await;
    assert_eq!(gauge.status().await["partitions"].as_array().unwrap().len(), 3);
    gauge.stop().await;
}
