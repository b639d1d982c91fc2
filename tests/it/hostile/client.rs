//! A client that means well: it posts at a steady pace, notes each answer, and how long it took.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::support::doors::Doors;
use crate::support::traffic::Visitors;

/// Between two requests.
const PACE: Duration = Duration::from_millis(10);
const EVENTS: usize = 5;

pub(super) struct Client {
    task: JoinHandle<Posted>,
    stop: Arc<AtomicBool>,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Posted {
    /// Ids of the events that were acknowledged.
    pub(super) ids: BTreeSet<String>,
    /// What was not answered with 202, and how else.
    pub(super) refused: Vec<String>,
    took: Vec<Duration>,
}

impl Client {
    /// Begins to post, so many requests at most.
    pub(super) fn start(doors: &Doors, name: &str, most: usize) -> Client {
        let stop = Arc::new(AtomicBool::new(false));
        let (http, url, told) = (doors.http().clone(), doors.ingest_url("/events"), stop.clone());
        let mut visitors = Visitors::new(name);
        let task = tokio::spawn(async move {
            let mut posted = Posted::default();
            let mut pace = interval(PACE);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for _ in 0..most {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                pace.tick().await;
                let events = visitors.events(EVENTS);
                let begun = Instant::now();
                match http.post(&url).json(&events).send().await {
                    Ok(answer) if answer.status() == 202 => {
                        posted.took.push(begun.elapsed());
                        posted.ids.extend(events.iter().map(id));
                    }
                    other => posted.refused.push(format!("{other:?}")),
                }
            }
            posted
        });
        Client { task, stop }
    }

    /// Ends it after the request that is under way.
    pub(super) async fn stop(self) -> Posted {
        self.stop.store(true, Ordering::Relaxed);
        self.done().await
    }

    /// Waits until it has posted all that it was to post.
    pub(super) async fn done(self) -> Posted {
        self.task.await.expect("no panic")
    }
}

fn id(event: &Value) -> String {
    event["event_id"].as_str().or(event["id"].as_str()).expect("an id").to_owned()
}

impl Posted {
    /// How long its requests took.
    pub(super) fn latency(&self) -> String {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1)));
        format!("{} requests, p50 {:?}, p99 {:?}, most {:?}", took.len(), at(50), at(99), took.last())
    }
}
