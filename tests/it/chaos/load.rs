//! Events through the front door, sent again when they are not answered, and bad records past it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::choices::Choices;
use crate::support::doors::{Doors, SOON};
use crate::support::topic::{Raw, Record};
use crate::support::traffic::Visitors;
use crate::support::{Kafka, eventually};

/// Clients that post at the same time.
const CLIENTS: usize = 3;
/// How long a client waits for an answer, and how long between two requests.
const PATIENCE: Duration = Duration::from_secs(3);
const PACE: Duration = Duration::from_millis(25);
/// Between two handfuls of bad records.
const BAD_PACE: Duration = Duration::from_millis(250);

/// What the clients know in the end.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Ids of events that were answered 2xx.
    pub(super) acknowledged: BTreeSet<String>,
    /// Ids of events that were sent more than once.
    pub(super) repeated: BTreeSet<String>,
    /// How often each status was answered.
    pub(super) statuses: BTreeMap<u16, u64>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    sent: Mutex<Sent>,
}

/// Clients at work.
pub(super) struct Load {
    tasks: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Load {
    /// Begins to post to these doors.
    pub(super) fn start(doors: &Doors, name: &str) -> Load {
        let shared = Arc::<Shared>::default();
        let client = |number: usize| {
            let (http, url) = (doors.http().clone(), doors.ingest_url("/events"));
            let (visitors, shared) = (Visitors::new(&format!("{name}-{number}")), shared.clone());
            tokio::spawn(async move { visit(visitors, &shared, || http.post(&url).timeout(PATIENCE)).await })
        };
        Load { tasks: (0..CLIENTS).map(client).collect(), shared }
    }

    /// Waits until at least so many more events are acknowledged than now.
    pub(super) async fn until_acknowledged(&self, more: u64) {
        let before = self.shared.acknowledged.load(Ordering::Relaxed);
        eventually(SOON, &format!("{more} more events are acknowledged"), async || {
            let done = self.shared.acknowledged.load(Ordering::Relaxed) - before;
            if done >= more { Ok(()) } else { Err(format!("{done} are")) }
        })
        .await;
    }

    /// How many requests were answered with this status.
    pub(super) fn answered(&self, status: u16) -> u64 {
        let sent = self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.statuses.get(&status).copied().unwrap_or(0)
    }

    /// Ends it.
    pub(super) async fn stop(self) -> Sent {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no panic");
        }
        std::mem::take(&mut self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn visit(mut visitors: Visitors, shared: &Shared, request: impl Fn() -> reqwest::RequestBuilder) {
    let stopped = || shared.stop.load(Ordering::Relaxed);
    while !stopped() {
        let n = 1 + visitors.below(40) as usize;
        let events = visitors.events(n);
        let ids: Vec<String> = events.iter().map(|event| id(event).to_owned()).collect();
        // Now and then an answer is lost on the last yards to the client.
        let mut unheard = u64::from(visitors.below(10) == 0);
        loop {
            let answer = request().json(&events).send().await;
            let status = answer.map(|answer| answer.status().as_u16()).ok();
            {
                let mut sent = shared.sent.lock().unwrap_or_else(PoisonError::into_inner);
                status.into_iter().for_each(|status| *sent.statuses.entry(status).or_default() += 1);
                if status == Some(202) {
                    shared.acknowledged.fetch_add(events.len() as u64, Ordering::Relaxed);
                    sent.acknowledged.extend(ids.iter().cloned());
                    if unheard == 0 {
                        break;
                    }
                    unheard -= 1;
                }
                if stopped() {
                    break;
                }
                sent.repeated.extend(ids.iter().cloned());
            }
            tokio::time::sleep(PACE).await;
        }
        tokio::time::sleep(PACE).await;
    }
}

fn id(event: &Value) -> &str {
    event["event_id"].as_str().or(event["id"].as_str()).expect("an id")
}

/// What is wrong between what the clients know and what stands in the log. Returns how many events are missing too.
pub(super) fn lost_or_doubled<'a>(sent: &Sent, values: impl Iterator<Item = &'a [u8]>) -> (u64, Vec<String>) {
    let mut missing: BTreeSet<&str> = sent.acknowledged.iter().map(String::as_str).collect();
    let mut stored = BTreeSet::new();
    let mut failures = Vec::new();
    for value in values {
        // Bad records have no id.
        let Ok(event) = serde_json::from_slice::<Value>(value) else { continue };
        let Some(id) = event["event_id"].as_str() else { continue };
        missing.remove(id);
        if !stored.insert(id.to_owned()) && !sent.repeated.contains(id) {
            failures.push(format!("{id} stands in the log twice, and was sent once"));
        }
    }
    if !missing.is_empty() {
        failures.push(format!("{} acknowledged events are not in the log: {missing:?}", missing.len()));
    }
    (missing.len() as u64, failures)
}

/// Records that are no events, written to the topic by somebody who does not know better.
pub(super) struct BadRecords {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl BadRecords {
    /// Begins to write them. The broker may go away meanwhile, but has to come back.
    pub(super) fn start(client: ClientConfig, topic: &str, mut choices: Choices) -> BadRecords {
        let stop = Arc::<AtomicBool>::default();
        let (topic, stopped) = (topic.to_owned(), stop.clone());
        let task = tokio::spawn(async move {
            let mut written = 0;
            while !stopped.load(Ordering::Relaxed) {
                let some: Vec<Raw> = (0..choices.between(1, 4)).map(|_| bad(&mut choices)).collect();
                written += some.len() as u64;
                Kafka::produce_with(client.clone(), &topic, some).await;
                tokio::time::sleep(BAD_PACE).await;
            }
            written
        });
        BadRecords { stop, task }
    }

    /// Ends it and says how many there are.
    pub(super) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic")
    }
}

fn bad(choices: &mut Choices) -> Raw {
    let values: [Option<&[u8]>; 8] = [
        None,
        Some(b""),
        Some(b"{"),
        Some(b"[1, 2, 3]"),
        Some(b"\"text\""),
        Some(b"{\"type\":\"\"}"),
        Some(b"{\"type\":\"click\",\"type\":\"click\"}"),
        Some(b"\xff\xfe{\"type\":\"click\"}"),
    ];
    let keys: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"session-1"), Some(b"\x00\xff")];
    Raw {
        key: choices.one_of(&keys).map(<[u8]>::to_vec),
        value: choices.one_of(&values).map(<[u8]>::to_vec),
        partition: Some(choices.below(u64::from(super::round::PARTITIONS)) as i32),
        ..Raw::default()
    }
}

/// Answers that no fault excuses: events are taken, or they are to come again.
pub(super) fn wrong_answers(sent: &Sent) -> Vec<String> {
    let wrong = sent.statuses.iter().filter(|(status, _)| ![202, 503].contains(*status));
    wrong.map(|(status, times)| format!("{times} requests were answered {status}")).collect()
}

/// Bad records whose original bytes are not among the dead letters.
pub(super) fn not_kept(bad: &[Record], letters: &[Record]) -> Vec<String> {
    let place = |letter: &Record| {
        let number = |name: &str| letter.header(name).parse::<i64>().expect("a number");
        (number("original-partition"), number("original-offset"))
    };
    let kept: BTreeMap<(i64, i64), &Record> = letters.iter().map(|l| (place(l), l)).collect();
    let missing = bad.iter().filter(|record| {
        let letter = kept.get(&(i64::from(record.partition), record.offset));
        !letter.is_some_and(|letter| letter.key == record.key && letter.value == record.value)
    });
    missing.map(|record| format!("no dead letter of {record:?}")).collect()
}
