//! `last_flush_timestamp_seconds`: what the alert about flushes looks at.

use streamgauge::telemetry::Role;

use crate::support::app::Running;
use crate::support::doors::SOON;
use crate::support::{self, Redis, Settings, eventually, unique};

/// When a program says that it flushed, and whether it says that it has partitions.
async fn flushed(program: &Running) -> (f64, bool) {
    let text = program.admin("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix("streamgauge_last_flush_timestamp_seconds "));
    (line.expect("the metric").parse().expect("a number"), text.contains("streamgauge_partition_stopped{"))
}

/// Waits until a program says that it flushed a partition, then or later.
async fn until_flushed(program: &Running, then: f64) {
    eventually(SOON, "it flushes", async || {
        let (at, has_partitions) = flushed(program).await;
        if at >= then && has_partitions { Ok(()) } else { Err(format!("{at}, has partitions: {has_partitions}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_processor_that_could_flush_nothing_does_not_say_that_it_did() {
    let (kafka, redis) = (support::kafka().await, Redis::start().await);
    let topic = kafka.topic(&unique("idle"), 1).await;
    let settings = Settings::kafka(kafka, &redis, &topic, &unique("idle")).with("shutdown_timeout", "2s");
    let busy = Running::start(&settings).await;
    until_flushed(&busy, 1.0).await;
    let idle = Running::start_roles(&settings, &[Role::Process]).await;
    idle.until_ready().await;
    // Ten intervals of both: the one with the partition flushes at rest, the other has nothing to flush.
    let (now, _) = flushed(&busy).await;
    until_flushed(&busy, now + 2.0).await;
    assert_eq!(flushed(&idle).await, (0.0, false));

    // It gets the partition, and cannot look up where it starts.
    redis.kill();
    busy.stop().await;
    eventually(SOON, "the idle one gets the partition", async || {
        if flushed(&idle).await.1 { Ok(()) } else { Err("it has none") }
    })
    .await;
    assert_eq!(flushed(&idle).await, (0.0, true), "the alert would stay silent");
    redis.restart().await;
    until_flushed(&idle, 1.0).await;
    idle.stop().await;
}
