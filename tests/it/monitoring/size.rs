//! `/metrics` of a program with many partitions.

use std::time::{Duration, Instant};

use crate::support::app::Running;
use crate::support::doors::SOON;
use crate::support::traffic::Visitors;
use crate::support::{self, Settings, eventually, unique};

const PARTITIONS: usize = 64;
const MOST_BYTES: usize = 500_000;
const ASKED: usize = 200;

/// What it takes is printed, not judged: `cargo test --test it sixty_four -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_partitions_fit_into_one_scrape() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic(&unique("many"), PARTITIONS as i32).await;
    let program = Running::start(&Settings::kafka(kafka, redis, &topic, &unique("many"))).await;
    // Enough sessions that each partition gets some.
    let events = Visitors::new("many").events(2_000);
    program.post(&serde_json::json!(events)).await;
    program.until_consumed(2_000).await;

    let text = eventually(SOON, "all partitions are measured", async || {
        let text = program.admin("/metrics").await.text();
        for metric in ["consumer_lag_records", "consumer_lag_seconds", "partition_stopped", "partition_stalled"] {
            let found = text.lines().filter(|line| line.starts_with(&format!("streamgauge_{metric}{{"))).count();
            if found < PARTITIONS {
                return Err(format!("{metric} of {found}"));
            }
        }
        Ok(text)
    })
    .await;
    assert!(text.len() < MOST_BYTES, "{} bytes", text.len());

    let mut took = Vec::new();
    for _ in 0..ASKED {
        let begun = Instant::now();
        program.admin("/metrics").await;
        took.push(begun.elapsed());
    }
    took.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let (median, worst) = (ms(took[ASKED / 2]), ms(took[ASKED - 1]));
    println!("{PARTITIONS} partitions: {} bytes; median {median:.2} ms, worst {worst:.2} ms of {ASKED}", text.len());
    program.stop().await;
}
