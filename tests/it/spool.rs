//! Kafka away, and the spool in its place: nothing that was answered is lost, out of order, or counted twice.

mod clients;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::app::{Binary, finish};
use crate::support::doors::{Doors, SOON};
use crate::support::oracle::Recount;
use crate::support::topic::Record;
use crate::support::{self, Kafka, Redis, Settings, eventually, unique};
use clients::{Clients, assert_complete_and_in_order, until_drained};

/// One counter of all events, so that each event is counted or a duplicate.
const COUNTERS: &str = r#"
[[counters]]
name = "steps"
windows = [{ size = "1m", keep = "1d" }]
"#;
/// Far less than a delivery report takes that fails, and enough for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);
/// The default `shutdown_timeout`, and the 2 s that a TERM may take on top of it.
const SHUTDOWN: Duration = Duration::from_secs(12);
const CLIENTS: usize = 8;

/// A program with a spool, and all that it needs.
struct Stage {
    kafka: Kafka,
    redis: &'static Redis,
    settings: Settings,
    /// Where the spool is.
    _folder: TempDir,
}

impl Stage {
    async fn new(name: &str) -> Stage {
        let (kafka, redis) = (Kafka::start().await, support::redis().await);
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let path = folder.path().join("new/spool.db");
        let settings = Settings::kafka(&kafka, redis, &unique(name), &unique(name))
            .counting(COUNTERS)
            .with("ingest.spool.path", path.to_str().expect("a path that is text"));
        Stage { kafka, redis, settings, _folder: folder }
    }

    fn with(self, key: &str, value: impl Into<toml::Value>) -> Stage {
        Stage { settings: self.settings.with(key, value), ..self }
    }

    async fn records(&self) -> Vec<Record> {
        self.kafka.read(self.settings.text_of("log.kafka.topic")).await
    }

    /// Compares what was answered with the topic, and the topic with the counts; returns records, and different events.
    async fn assert_exact(&self, doors: &Doors, answered: &BTreeMap<String, u64>) -> (usize, usize) {
        let records = self.records().await;
        let events = assert_complete_and_in_order(answered, &records);
        let recount = Recount::of_topic(&self.kafka, &self.settings).await;
        doors.until_consumed_within(SOON * 3, recount.records()).await;
        recount.assert_in_redis(self.redis, &self.settings).await;
        assert_eq!(recount.outcome("counted"), events as u64, "each event counts once");
        (records.len(), events)
    }
}

async fn end(binary: &Binary) {
    binary.terminate();
    assert_eq!(binary.ended(SHUTDOWN).await, 0, "{}", binary.output());
}

/// Posts an event of this id, and returns where it is stored.
async fn post(doors: &Doors, id: &str) -> String {
    let answer = doors.post(&json!({"type": "step", "id": id, "session_id": "s", "payload": {"n": 0}})).await;
    answer["stored"].as_str().expect("text").to_owned()
}

/// `MINUTES` makes it a long one: `make outage`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_kafka_under_load_loses_nothing_and_keeps_the_order() {
    let minutes: Option<u64> = std::env::var("MINUTES").ok().map(|text| text.parse().expect("MINUTES is a number"));
    let stage = Stage::new("outage").await;
    let binary = Binary::start("run", &stage.settings).await;
    binary.until_ready().await;
    let clients = Clients::start(&binary, "outage", CLIENTS);
    clients.until_in_kafka(1_000).await;
    stage.kafka.kill();
    let (away, before) = (Instant::now(), clients.numbers());
    clients.until_on_disk(3_000).await;
    let long = Duration::from_secs(60 * minutes.unwrap_or_default());
    eventually(long + SOON, "the outage is over", async || {
        binary.assert_alive();
        if away.elapsed() >= long { Ok(()) } else { Err("not yet") }
    })
    .await;
    // It can store events, so it is ready, and says how much waits.
    binary.until_admin("/readyz/ingest", 200).await;
    let (waiting, bytes) =
        (binary.metric("streamgauge_spool_waiting_events").await, binary.metric("streamgauge_spool_bytes").await);
    assert!(waiting >= 3_000.0 && bytes > 0.0, "{waiting} {bytes}");
    let during = clients.numbers();
    stage.kafka.restart().await;
    let (back, outage) = (Instant::now(), away.elapsed());
    until_drained(&binary, SOON * 5).await;
    let drained = back.elapsed();
    clients.until_in_kafka(1_000).await;
    let after = clients.numbers();
    let answered = clients.stop().await;
    let (records, events) = stage.assert_exact(&binary, &answered).await;
    println!(
        "outage of {outage:.1?} under load: {} events on disk meanwhile, {} requests refused; {waiting} events in {:.0} MiB \
         waited at its end, the spool was empty {drained:.1?} after Kafka answered; {} requests refused after that; {} \
         events answered, {events} in the topic, {} of them twice; counted once each, in order",
        during.1 - before.1,
        during.2 - before.2,
        bytes / 1_048_576.0,
        after.2 - during.2,
        answered.values().sum::<u64>(),
        records - events,
    );
    assert_eq!(during.2, before.2, "no request was refused");
    end(&binary).await;
    let verified = finish(&["verify"], &stage.settings).await;
    assert_eq!(verified.code, 0, "{}", verified.output);
}

/// Where a process dies that is told to, how often the step is passed before, and whether Kafka is there.
const STEPS: [(&str, u32, bool); 5] = [
    ("spool-append", 20, false),
    ("spool-appended", 20, false),
    ("spool-forward", 3, true),
    ("spool-forwarded", 3, true),
    ("spool-released", 3, true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_in_an_outage_or_after_it_loses_nothing() {
    // Batches of 20 events.
    let stage = Stage::new("dies").await.with("pipeline.dedupe_horizon", 80);
    let binary = Binary::start("run", &stage.settings).await;
    binary.until_ready().await;
    let clients = Clients::start(&binary, "dies", 2);
    clients.until_in_kafka(200).await;
    stage.kafka.kill();
    clients.until_on_disk(200).await;
    binary.kill();
    binary.restart().await;
    clients.until_on_disk(200).await;
    for (step, passes, with_kafka) in STEPS {
        if !cfg!(feature = "failpoints") {
            break;
        }
        if with_kafka && !stage.kafka.is_running() {
            stage.kafka.spawn();
        }
        let points = format!("{step}={passes}*off->return");
        binary.spawn_with(&[("FAILPOINTS", points.as_str())]);
        assert_eq!(binary.died(SOON).await, nix::sys::signal::Signal::SIGABRT as i32, "{step}: {}", binary.output());
    }
    binary.restart().await;
    if !stage.kafka.is_running() {
        stage.kafka.spawn();
    }
    until_drained(&binary, SOON).await;
    clients.until_in_kafka(100).await;
    let answered = clients.stop().await;
    stage.assert_exact(&binary, &answered).await;
    end(&binary).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_kafka_takes_events_at_once_and_what_is_too_large_blocks_nothing() {
    let stage = Stage::new("start").await;
    let topic = stage.settings.text_of("log.kafka.topic").to_owned();
    stage.kafka.create(&topic, 2, &[("max.message.bytes", "20000"), ("message.timestamp.type", "LogAppendTime")]).await;
    stage.kafka.kill();
    let binary = Binary::start("run", &stage.settings).await;
    binary.until_admin("/readyz/ingest", 200).await;
    let all_at_once = async {
        for n in 0..20 {
            assert_eq!(post(&binary, &format!("before-{n}")).await, "disk");
        }
    };
    tokio::time::timeout(AT_ONCE, all_at_once).await.expect("nobody waits for a Kafka that is known to be away");
    let large = json!({"type": "step", "id": "large", "session_id": "s", "payload": {"n": 0, "x": noise(40_000)}});
    assert_eq!(binary.post(&large).await["stored"], "disk");
    assert_eq!(post(&binary, "after").await, "disk");
    // What waits survives an orderly end too.
    end(&binary).await;
    binary.restart().await;
    assert_eq!(post(&binary, "again").await, "disk");
    stage.kafka.restart().await;
    binary.until_ready().await;
    until_drained(&binary, SOON).await;
    assert_eq!(post(&binary, "direct").await, "kafka");

    let ids = |records: &[Record]| -> Vec<String> {
        let value = |record: &Record| serde_json::from_slice::<Value>(record.value.as_deref().expect("a value"));
        let id = |record: &Record| value(record).expect("JSON")["event_id"].as_str().expect("an id").to_owned();
        records.iter().map(id).collect()
    };
    let before = (0..20).map(|n| format!("before-{n}"));
    let expected: Vec<String> = before.chain(["after", "again", "direct"].map(str::to_owned)).collect();
    let mut found = ids(&stage.records().await);
    let repeated = found.len();
    let mut seen = std::collections::HashSet::new();
    found.retain(|id| seen.insert(id.clone()));
    assert_eq!(found, expected, "{repeated} records");
    let letters = stage.kafka.read(&format!("{topic}.dlq")).await;
    assert_eq!(ids(&letters), ["large"]);
    assert!(letters[0].header("error").contains("larger than the topic takes"), "{letters:?}");
    assert_eq!((letters[0].header("event_type"), letters[0].header("original-partition")), ("step", "-1"));
    assert_eq!(binary.metric("streamgauge_spool_dead_letters_total").await, 1.0);
    end(&binary).await;
}

/// Text that no compression makes much smaller.
fn noise(bytes: usize) -> String {
    let mut state = 7_u64;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + 3 + (state >> 33) as u8 % 80)
    };
    (0..bytes).map(letter).filter(|c| *c != '\\').collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_refuses_until_it_has_room_and_a_frozen_kafka_is_left_alone() {
    let stage = Stage::new("full").await.with("ingest.spool.max_bytes", "16MiB");
    let binary = Binary::start("run", &stage.settings).await;
    binary.until_ready().await;
    assert_eq!(post(&binary, "direct").await, "kafka");
    // Connections stay, answers do not come: only the time tells.
    stage.kafka.pause();
    let event = |id: &str| json!({"type": "step", "id": id}).to_string();
    let waits = binary.send(binary.events("application/json", event("unanswered")));
    let frozen = async {
        eventually(SOON, "new events go to the spool", async || {
            let stored = post(&binary, &unique("frozen")).await;
            if stored == "disk" { Ok(()) } else { Err(stored) }
        })
        .await;
    };
    let tried = async { tokio::join!(waits, frozen) };
    let (unanswered, ()) = tried.await;
    assert_eq!(unanswered.expect(202)["stored"], "disk", "it failed after the client's time-out");

    let text = noise(50_000);
    let many = |n: usize| -> Value {
        (0..20).map(|i| json!({"type": "step", "id": format!("big-{n}-{i}"), "payload": {"x": text}})).collect()
    };
    let mut stored = 0;
    let refused = loop {
        let reply = binary.send(binary.events("application/json", many(stored).to_string())).await;
        if reply.status != 202 {
            break reply;
        }
        stored += 1;
        assert!(stored < 100, "16 MiB do not hold 100 MB");
    };
    assert_eq!((refused.status, &refused.headers["retry-after"]), (503, &"5".parse().unwrap()), "{}", refused.text());
    assert!(stored >= 10, "{stored} MB fit");
    assert!(binary.metric("streamgauge_spool_refused_events_total").await >= 20.0);
    let said = binary.until_admin("/readyz/ingest", 503).await.text();
    assert!(said.contains("spool is full") && said.contains("ingest.spool.max_bytes"), "{said}");

    stage.kafka.resume();
    until_drained(&binary, SOON).await;
    binary.until_ready().await;
    assert_eq!(post(&binary, "direct-again").await, "kafka");
    let records = stage.records().await;
    let mut ids: Vec<String> = records
        .iter()
        .map(|record| {
            serde_json::from_slice::<Value>(record.value.as_deref().unwrap()).unwrap()["event_id"].to_string()
        })
        .filter(|id| id.starts_with("\"big-"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() >= stored * 20, "{} of {} answered events are in the topic", ids.len(), stored * 20);
    end(&binary).await;
}
