//! A redrive that is killed in the middle and run again: nothing is lost, and nothing is sent twice but the one record
//! that was under way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Dead, orders};
use crate::support::app::{begin, finish};
use crate::support::{self, Kafka, Settings, eventually};

const LETTERS: usize = 300;
const DEADLINE: Duration = Duration::from_secs(60);

async fn with_letters(kafka: &Kafka, name: &str) -> (String, Settings) {
    let (topic, dead, settings) = orders(kafka, name).await;
    let letters: Vec<_> = (0..LETTERS)
        .map(|n| {
            let letter = Dead { topic: &topic, group: "g", reason: "why", offset: n as i64, failed_at: 5 };
            letter.raw(n.to_string().as_bytes(), &[])
        })
        .collect();
    kafka.produce(&dead, letters).await;
    (topic, settings)
}

/// How often each letter's record is in the topic, by its number; and that those of a key are in order.
async fn sent(kafka: &Kafka, topic: &str) -> BTreeMap<usize, usize> {
    let mut times = BTreeMap::new();
    let mut last: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for record in kafka.read(topic).await {
        let n: usize = String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
        let before = last.insert(record.key.unwrap(), n);
        assert!(before.is_none_or(|before| before <= n), "{n} comes after {before:?}");
        *times.entry(n).or_default() += 1;
    }
    times
}

fn twice(times: &BTreeMap<usize, usize>) -> usize {
    assert_eq!(times.len(), LETTERS, "none is lost");
    assert!(times.values().all(|times| *times <= 2), "{times:?}");
    times.values().filter(|times| **times == 2).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_each_step_one_record_at_most_is_sent_twice() {
    let kafka = support::kafka().await;
    for (step, expected) in [("redrive-acknowledged", 1), ("redrive-marked", 0)] {
        let (topic, settings) = with_letters(kafka, step).await;
        let arguments = ["dlq", "redrive", "--topic", &topic, "--all", "--rate", "100000"];
        let points = format!("{step}=100*off->return");
        let killed = begin(&arguments, &settings.to_toml(), &[("FAILPOINTS", &points)]);
        assert_eq!(killed.died().await, nix::sys::signal::Signal::SIGABRT as i32);
        assert_eq!(kafka.read(&topic).await.len(), 101);
        let rest = finish(&arguments, &settings).await;
        assert_eq!(rest.code, 0, "{}", rest.output);
        assert_eq!(twice(&sent(kafka, &topic).await), expected, "{step}: {}", rest.output);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kills_at_any_time_each_is_sent_and_the_order_of_a_key_is_kept() {
    let kafka = support::kafka().await;
    let (topic, settings) = with_letters(kafka, "sigkill").await;
    let arguments = ["dlq", "redrive", "--topic", &topic, "--all", "--rate", "200"];
    let kills = [40, 111, 200];
    for records in kills {
        let redrive = begin(&arguments, &settings.to_toml(), &[]);
        eventually(DEADLINE, "some are redriven", async || {
            let sent = kafka.read(&topic).await.len();
            if sent >= records { Ok(()) } else { Err(format!("{sent} are")) }
        })
        .await;
        redrive.kill();
    }
    let rest = finish(&arguments, &settings).await;
    assert_eq!(rest.code, 0, "{}", rest.output);
    let times = sent(kafka, &topic).await;
    assert!(twice(&times) <= kills.len(), "{times:?}");
}
