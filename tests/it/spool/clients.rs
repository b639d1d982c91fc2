//! Clients that send the next event of a key once the one before is answered, and the same one again until it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::doors::{Doors, SOON};
use crate::support::eventually;
use crate::support::topic::Record;

/// Keys of a client; a request holds the next event of each.
const KEYS: u64 = 10;
/// How often a client sends at most: a load that goes on for minutes is bounded.
const PACE: Duration = Duration::from_millis(50);

/// What the clients were told.
#[derive(Default)]
pub(super) struct Told {
    stop: AtomicBool,
    kafka: AtomicU64,
    disk: AtomicU64,
    /// Requests that were refused, or got no answer.
    refused: AtomicU64,
    /// How many events of each key were answered.
    answered: Mutex<BTreeMap<String, u64>>,
}

/// So many clients at work.
pub(super) struct Clients {
    tasks: JoinSet<()>,
    told: Arc<Told>,
}

/// The events of a request.
fn events(name: &str, number: u64) -> Value {
    let event = |key| {
        let session = format!("{name}-{key}");
        json!({"type": "step", "id": format!("{session}-{number}"), "session_id": session, "payload": {"n": number}})
    };
    (0..KEYS).map(event).collect()
}

async fn work(http: reqwest::Client, url: String, name: String, told: Arc<Told>) {
    let (mut number, mut pace) = (0, tokio::time::interval(PACE));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !told.stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let Ok(answer) = http.post(&url).json(&events(&name, number)).send().await else {
            told.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await);
        let (202, Ok(body)) = (status, body) else {
            told.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        assert_eq!(body["accepted"], KEYS, "{body}");
        let on = if body["stored"] == "disk" { &told.disk } else { &told.kafka };
        on.fetch_add(KEYS, Ordering::Relaxed);
        number += 1;
        let mut answered = told.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.extend((0..KEYS).map(|key| (format!("{name}-{key}"), number)));
    }
}

impl Clients {
    pub(super) fn start(doors: &Doors, name: &str, clients: usize) -> Clients {
        let (mut tasks, told) = (JoinSet::new(), Arc::<Told>::default());
        for client in 0..clients {
            let name = format!("{name}-{client}");
            tasks.spawn(work(doors.http().clone(), doors.ingest_url("/events"), name, told.clone()));
        }
        Clients { tasks, told }
    }

    /// Events that were answered with `"stored":"kafka"`, and with `"stored":"disk"`; requests that were not taken.
    pub(super) fn numbers(&self) -> (u64, u64, u64) {
        let number = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (number(&self.told.kafka), number(&self.told.disk), number(&self.told.refused))
    }

    /// Waits until so many more events are on disk.
    pub(super) async fn until_on_disk(&self, more: u64) {
        self.until_more("disk", more, |(_, disk, _)| disk).await;
    }

    /// Waits until so many more events are in Kafka at once.
    pub(super) async fn until_in_kafka(&self, more: u64) {
        self.until_more("kafka", more, |(kafka, _, _)| kafka).await;
    }

    async fn until_more(&self, what: &str, more: u64, of: impl Fn((u64, u64, u64)) -> u64) {
        let before = of(self.numbers());
        eventually(SOON, &format!("{more} more events are answered with {what}"), async || {
            let done = of(self.numbers()) - before;
            if done >= more { Ok(()) } else { Err(format!("{done} are: {:?}", self.numbers())) }
        })
        .await;
    }

    /// Ends them once each has its answer, and returns how many events of each key were answered.
    pub(super) async fn stop(mut self) -> BTreeMap<String, u64> {
        self.told.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
        std::mem::take(&mut self.told.answered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Waits until the spool is empty and new events go to Kafka.
pub(super) async fn until_drained(doors: &Doors, within: Duration) {
    eventually(within, "the spool is empty", async || {
        let reply = doors.try_send(doors.http().get(doors.admin_url("/metrics"))).await.map_err(|e| e.to_string())?;
        let text = reply.text();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("streamgauge_spool_")).collect();
        let is = |line: &str| lines.contains(&line);
        let drained = is("streamgauge_spool_waiting_events 0") && is("streamgauge_spool_active 0");
        if drained { Ok(()) } else { Err(lines.join("\n")) }
    })
    .await;
}

/// Fails unless every answered event is in the topic, and the events of each key stand there in their order, apart from
/// repetitions. Returns how many different events there are.
pub(super) fn assert_complete_and_in_order(answered: &BTreeMap<String, u64>, records: &[Record]) -> usize {
    let mut next: HashMap<String, u64> = HashMap::new();
    let mut seen: HashSet<String> = HashSet::new();
    for record in records {
        assert_eq!(record.header("event_type"), "step");
        assert_eq!(record.header("content-type"), "application/json");
        let event: Value = serde_json::from_slice(record.value.as_deref().expect("a value")).expect("an event");
        let (key, number) = (event["session_id"].as_str().expect("a key"), event["payload"]["n"].as_u64().expect("n"));
        assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
        let expected = next.entry(key.to_owned()).or_default();
        assert!(number <= *expected, "{key}: {number} stands before {expected} (offset {})", record.offset);
        *expected = (*expected).max(number + 1);
        seen.insert(event["event_id"].as_str().expect("an id").to_owned());
    }
    for (key, answered) in answered {
        let stored = next.get(key).copied().unwrap_or_default();
        assert!(stored >= *answered, "{key}: {answered} events were answered, {stored} are in the topic");
    }
    seen.len()
}

/// A topic of one key with events of these numbers.
fn topic_of(numbers: &[u64]) -> Vec<Record> {
    let record = |(offset, number): (usize, &u64)| Record {
        partition: 0,
        offset: offset as i64,
        timestamp: None,
        key: Some(b"k".to_vec()),
        value: Some(
            json!({"event_id": number.to_string(), "session_id": "k", "payload": {"n": number}}).to_string().into(),
        ),
        headers: [("event_type", "step"), ("content-type", "application/json")]
            .map(|(name, value)| (name.to_owned(), value.into()))
            .to_vec(),
    };
    numbers.iter().enumerate().map(record).collect()
}

#[test]
fn a_repetition_is_no_fault() {
    let answered = BTreeMap::from([("k".to_owned(), 3)]);
    assert_eq!(assert_complete_and_in_order(&answered, &topic_of(&[0, 1, 0, 1, 2, 2])), 3);
}

#[test]
#[should_panic(expected = "2 stands before 1")]
fn what_was_overtaken_is_found() {
    assert_complete_and_in_order(&BTreeMap::new(), &topic_of(&[0, 2, 1]));
}

#[test]
#[should_panic(expected = "3 events were answered, 2 are in the topic")]
fn what_is_lost_is_found() {
    assert_complete_and_in_order(&BTreeMap::from([("k".to_owned(), 3)]), &topic_of(&[0, 1]));
}
