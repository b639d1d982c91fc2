//! Signals in the middle of load: what was acknowledged is counted, once, and by nobody's leave twice.

use std::collections::BTreeSet;
use std::time::Duration;

use streamgauge::telemetry::Role;

use crate::support::app::{Binary, Running, finish};
use crate::support::doors::Doors;
use crate::support::oracle::{Recount, records_of};
use crate::support::traffic::{COUNTERS, Load, assert_stored_once};
use crate::support::{self, Settings, unique};

/// The default `shutdown_timeout`, and the 2 s that a TERM may take on top of it.
const SHUTDOWN: Duration = Duration::from_secs(12);

async fn on_kafka(name: &str) -> Settings {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = Settings::kafka(kafka, redis, &unique(name), &unique(name)).counting(COUNTERS);
    // A member that was killed is replaced as soon as its session is over.
    settings.with_property("session.timeout.ms", "3000").with_property("heartbeat.interval.ms", "500")
}

/// Compares what was acknowledged with the topic, and the topic with the counts.
async fn assert_nothing_lost_or_doubled(settings: &Settings, doors: &Doors, acknowledged: BTreeSet<String>) {
    let kafka = support::kafka().await;
    let records = kafka.read(settings.text_of("log.kafka.topic")).await;
    assert_stored_once(&acknowledged, records.iter().map(|record| record.value.as_deref().unwrap()));
    let recount = Recount::of_topic(kafka, settings).await;
    doors.until_consumed(recount.records()).await;
    recount.assert_in_redis(support::redis().await, settings).await;
    recount.assert_in_api(doors).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_term_in_the_middle_of_load_loses_and_doubles_nothing() {
    let settings = on_kafka("term").await;
    let binary = Binary::start("run", &settings).await;
    binary.until_ready().await;
    let load = Load::start(&binary, "term");
    load.until_acknowledged(2_000).await;
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());
    let mut acknowledged = load.stop().await;

    // It flushed before it went: all that it had read is in the store already.
    binary.restart().await;
    let load = Load::start(&binary, "term-again");
    load.until_acknowledged(1_000).await;
    acknowledged.append(&mut load.stop().await);
    assert_nothing_lost_or_doubled(&settings, &binary, acknowledged).await;

    let verified = finish(&["verify"], &settings).await;
    assert_eq!(verified.code, 0, "{}", verified.output);
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_of_load_loses_and_doubles_nothing() {
    let settings = on_kafka("kill").await;
    let binary = Binary::start("run", &settings).await;
    binary.until_ready().await;
    let load = Load::start(&binary, "kill");
    for _ in 0..2 {
        load.until_acknowledged(1_000).await;
        binary.kill();
        load.until_refused().await;
        binary.restart().await;
    }
    load.until_acknowledged(500).await;
    let acknowledged = load.stop().await;
    assert_nothing_lost_or_doubled(&settings, &binary, acknowledged).await;
}

/// A frozen process holds segments that it believes to be its own to flush, while somebody else counts the same records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_frozen_and_replaced_counts_nothing_twice() {
    let settings = on_kafka("zombie").await;
    let front = Running::start_roles(&settings, &[Role::Ingest, Role::Query]).await;
    front.until_ready().await;
    let frozen = Binary::start("process", &settings).await;
    frozen.until_ready().await;
    let load = Load::start(&front, "zombie");
    load.until_acknowledged(1_000).await;
    frozen.freeze();
    load.until_acknowledged(1_000).await;
    let other = Binary::start("process", &settings).await;
    other.until_ready().await;
    // All of it is counted without the frozen one, so that whatever it still wants to flush has been counted.
    let mut acknowledged = load.stop().await;
    front.until_consumed(acknowledged.len() as u64).await;
    frozen.thaw();
    let load = Load::start(&front, "zombie-again");
    load.until_acknowledged(2_000).await;
    frozen.until_ready().await;
    acknowledged.append(&mut load.stop().await);
    assert_nothing_lost_or_doubled(&settings, &front, acknowledged).await;
    for process in [frozen, other] {
        process.terminate();
        assert_eq!(process.ended(SHUTDOWN).await, 0, "{}", process.output());
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_its_twin_puts_out_ends_and_says_why() {
    let settings = on_kafka("twin").await.with("log.kafka.instance_id", "twin");
    let one = Binary::start("run", &settings).await;
    one.until_ready().await;
    let load = Load::start(&one, "twin");
    load.until_acknowledged(1_000).await;
    let acknowledged = load.stop().await;

    let other = Binary::start("run", &settings).await;
    assert_eq!(one.ended(4 * SHUTDOWN).await, 1, "{}", one.output());
    assert!(one.output().contains("a member of the consumer group cannot go on"), "{}", one.output());
    assert!(one.output().contains("log.kafka.instance_id"), "{}", one.output());
    other.until_ready().await;
    assert_nothing_lost_or_doubled(&settings, &other, acknowledged).await;
    other.terminate();
    assert_eq!(other.ended(SHUTDOWN).await, 0, "{}", other.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_and_doubles_nothing_in_one_file_either() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).counting(COUNTERS);
    let binary = Binary::start("run", &settings).await;
    let load = Load::start(&binary, "file");
    for _ in 0..3 {
        load.until_acknowledged(2_000).await;
        binary.kill();
        load.until_refused().await;
        binary.restart().await;
    }
    load.until_acknowledged(500).await;
    let acknowledged = load.stop().await;
    let records = records_of(settings.text_of("embedded.path").as_ref());
    assert_stored_once(&acknowledged, records.iter().map(|record| record.value.as_deref().unwrap()));
    let recount = Recount::of_records(&settings, &records);
    binary.until_consumed(recount.records()).await;
    recount.assert_in_api(&binary).await;
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());
    let verified = finish(&["verify"], &settings).await;
    assert_eq!(verified.code, 0, "{}", verified.output);
}
