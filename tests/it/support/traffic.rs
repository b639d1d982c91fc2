//! Events as visitors make them: many kinds, some late, some unwanted; the same seed gives the same events.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::doors::{Doors, SOON};
use super::{eventually, now_ms};

/// Counters that between them use every rule: one dimension, several, none, few keys, short retention.
pub(crate) const COUNTERS: &str = r#"
[[counters]]
name = "page_views"
event = "page_view"
by = ["payload.path"]
windows = [{ size = "10s", keep = "1h" }, { size = "1m", keep = "1d" }, { size = "1h", keep = "30d" }]

[[counters]]
name = "pairs"
event = ["click", "search"]
by = ["event_type", "payload.item.id", "user_id"]
windows = [{ size = "1m", keep = "1d" }]

[[counters]]
name = "few"
event = ["page_view", "click"]
by = ["payload.path"]
windows = [{ size = "10s", keep = "1d" }]
max_keys = 7

[[counters]]
name = "brief"
event = ["page_view", "brief"]
windows = [{ size = "5s", keep = "10m" }]
"#;

/// A stream of events around now.
pub(crate) struct Visitors {
    state: u64,
    made: u64,
    name: String,
}

impl Visitors {
    /// `name` keeps their event ids apart from those of others.
    pub(crate) fn new(name: &str) -> Visitors {
        let seed = name
            .bytes()
            .fold(0x9E37_79B9_7F4A_7C15, |hash: u64, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
        Visitors { state: seed, made: 0, name: name.to_owned() }
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    /// A page; few are visited often.
    fn page(&mut self) -> String {
        let most = 1 + self.below(60);
        format!("/page/{}", self.below(most))
    }

    /// When it happened: mostly now, sometimes a while ago, seldom long ago or in the future.
    fn time(&mut self) -> i64 {
        let ago = match self.below(20) {
            0..13 => self.below(2_000) as i64,
            13..16 => self.below(300_000) as i64,
            // Exactly where a window begins and another one ends.
            16..18 => return (now_ms() / 10_000 - self.below(10) as i64) * 10_000,
            18 => 3_600_000 + self.below(7_200_000) as i64,
            _ => -(self.below(120_000) as i64),
        };
        now_ms() - ago
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Value {
        self.made += 1;
        let id = format!("{}-{}", self.name, self.made);
        let session = format!("session-{}", self.below(500));
        let (time, page) = (self.time(), self.page());
        match self.below(10) {
            0..6 => json!({"event_type": "page_view", "event_id": id, "session_id": session, "timestamp": time,
                "payload": {"path": page}}),
            6 => json!({"type": "click", "id": id, "session_id": session, "user_id": format!("u{}", self.below(5)),
                "timestamp": time, "properties": {"item": {"id": self.below(9)}, "path": page}}),
            7 => json!({"type": "search", "id": id, "user_id": format!("u\"{}", self.below(5)), "timestamp": time,
                "payload": {"item": null}, "experiment": {"variant": "b"}}),
            8 => json!({"type": "brief", "id": id, "session_id": session, "timestamp": time}),
            _ => json!({"type": "nobody_counts_this", "id": id, "session_id": session}),
        }
    }

    /// So many of them.
    pub(crate) fn events(&mut self, n: usize) -> Vec<Value> {
        (0..n).map(|_| self.event()).collect()
    }
}

/// Events that are posted one batch after the other, without repetition, until told to stop.
pub(crate) struct Load {
    task: JoinHandle<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    ids: Mutex<BTreeSet<String>>,
}

impl Load {
    /// Begins to post to these doors.
    pub(crate) fn start(doors: &Doors, name: &str) -> Load {
        let (http, url) = (doors.http().clone(), doors.ingest_url("/events"));
        let shared = Arc::<Shared>::default();
        let (mut visitors, told) = (Visitors::new(name), shared.clone());
        let task = tokio::spawn(async move {
            while !told.stop.load(Ordering::Relaxed) {
                let events = visitors.events(20);
                let answer = http.post(&url).json(&events).send().await;
                if answer.is_ok_and(|answer| answer.status().as_u16() == 202) {
                    told.acknowledged.fetch_add(events.len() as u64, Ordering::Relaxed);
                    let id =
                        |event: &Value| event["event_id"].as_str().or(event["id"].as_str()).expect("an id").to_owned();
                    told.ids.lock().unwrap_or_else(PoisonError::into_inner).extend(events.iter().map(id));
                } else {
                    told.refused.fetch_add(1, Ordering::Relaxed);
                    // A door that is shut refuses at once: leave the processor to others.
                    tokio::time::sleep(super::POLL).await;
                }
            }
        });
        Load { task, shared }
    }

    /// Waits until at least so many more events are acknowledged than now.
    pub(crate) async fn until_acknowledged(&self, more: u64) {
        let before = self.shared.acknowledged.load(Ordering::Relaxed);
        eventually(SOON, &format!("{more} more events are acknowledged"), async || {
            let done = self.shared.acknowledged.load(Ordering::Relaxed) - before;
            if done >= more { Ok(()) } else { Err(format!("{done} are")) }
        })
        .await;
    }

    /// Waits until another request is refused, or gets no answer.
    pub(crate) async fn until_refused(&self) {
        let before = self.shared.refused.load(Ordering::Relaxed);
        eventually(SOON, "a request is refused", async || {
            if self.shared.refused.load(Ordering::Relaxed) > before { Ok(()) } else { Err("none was") }
        })
        .await;
    }

    /// Ends it, and returns the ids of the events that were acknowledged.
    pub(crate) async fn stop(self) -> BTreeSet<String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic");
        std::mem::take(&mut self.shared.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Fails unless every acknowledged event stands in the log, and once.
pub(crate) fn assert_stored_once<'a>(acknowledged: &BTreeSet<String>, values: impl Iterator<Item = &'a [u8]>) {
    let mut missing = acknowledged.clone();
    let mut stored = BTreeSet::new();
    for value in values {
        let event: Value = serde_json::from_slice(value).expect("a canonical event");
        let id = event["event_id"].as_str().expect("an id").to_owned();
        missing.remove(&id);
        assert!(stored.insert(id), "{event} stands in the log twice");
    }
    assert!(missing.is_empty(), "{} acknowledged events are not in the log: {missing:?}", missing.len());
}
