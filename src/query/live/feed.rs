use super::view::{View, text_of};
use bytes::Bytes;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::Instant;

/// Updates that wait for a reader; one that is further behind gets a new snapshot instead.
const QUEUE: usize = 16;
/// Updates that a reader who comes back can catch up on.
const REMEMBERED: usize = 60;

/// What the readers of one counter and window are told. Events are rendered once, for all of them.
pub(super) struct Feed {
    /// Tells this feed's ids from those of another run of the program.
    epoch: String,
    updates: Sender<Bytes>,
    state: Mutex<State>,
    is_being_read: AtomicBool,
}

/// Leave to read the store for a feed, which nobody else has as long as it lives.
pub(super) struct Turn(Arc<Feed>);

impl Turn {
    /// `None` while somebody else has it.
    pub(super) fn of(feed: &Arc<Feed>) -> Option<Turn> {
        let was_read = feed.is_being_read.swap(true, Ordering::Relaxed);
        (!was_read).then(|| Turn(Arc::clone(feed)))
    }

    pub(super) fn feed(&self) -> &Feed {
        &self.0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_being_read.store(false, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct State {
    number: u64,
    shown: Option<Shown>,
    /// The latest updates, by the number that each leads to.
    deltas: VecDeque<(u64, Bytes)>,
    /// Why the store cannot be read, as long as that is so.
    trouble: Option<Bytes>,
    unread_since: Option<Instant>,
}

struct Shown {
    view: View,
    snapshot: Bytes,
}

impl Default for Feed {
    fn default() -> Feed {
        let epoch = format!("{:016x}", rand::random::<u64>());
        Feed { epoch, updates: Sender::new(QUEUE), state: Mutex::default(), is_being_read: AtomicBool::new(false) }
    }
}

impl Feed {
    /// What a new reader has to be told first, and what comes after exactly that.
    pub(super) fn join(&self, last_event_id: Option<&str>) -> (VecDeque<Bytes>, Receiver<Bytes>) {
        let state = self.state();
        let seen = last_event_id.and_then(|id| id.strip_prefix(self.epoch.as_str())?.strip_prefix('-')?.parse().ok());
        let mut first = seen.and_then(|seen| state.since(seen)).unwrap_or_else(|| state.snapshot());
        first.extend(state.trouble.clone());
        // Under the same lock as the publishing, so that nothing is missed and nothing comes twice.
        (first, self.updates.subscribe())
    }

    /// Whether a reader can be shown anything at once.
    pub(super) fn has_something(&self) -> bool {
        let state = self.state();
        state.shown.is_some() || state.trouble.is_some()
    }

    /// Whether anybody reads it.
    pub(super) fn is_read(&self) -> bool {
        self.updates.receiver_count() > 0
    }

    /// Whether it is read, or was until a short time ago.
    pub(super) fn is_kept(&self, now: Instant, linger: Duration) -> bool {
        let mut state = self.state();
        if self.is_read() {
            state.unread_since = None;
            return true;
        }
        now.duration_since(*state.unread_since.get_or_insert(now)) < linger
    }

    /// Tells all readers what has changed.
    pub(super) fn publish(&self, view: View, now_ms: i64) {
        let mut state = self.state();
        let number = state.number + 1;
        let snapshot = self.event("snapshot", number, &view.snapshot(now_ms));
        let update = match &state.shown {
            Some(shown) => self.event("delta", number, &view.delta(&shown.view, now_ms)),
            None => snapshot.clone(),
        };
        if state.shown.is_some() {
            if state.deltas.len() >= REMEMBERED {
                state.deltas.pop_front();
            }
            state.deltas.push_back((number, update.clone()));
        }
        (state.number, state.shown, state.trouble) = (number, Some(Shown { view, snapshot }), None);
        // The only error is that nobody listens.
        let _ = self.updates.send(update);
    }

    /// Tells all readers that the store cannot be read. What they have seen stays true, and grows old.
    pub(super) fn trouble(&self, reason: &str) {
        let mut state = self.state();
        let event = Bytes::from(format!("event: trouble\ndata: {}\n\n", text_of(&json!({ "error": reason }))));
        state.trouble = Some(event.clone());
        let _ = self.updates.send(event);
    }

    fn event(&self, kind: &str, number: u64, data: &str) -> Bytes {
        Bytes::from(format!("event: {kind}\nid: {}-{number}\ndata: {data}\n\n", self.epoch))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn snapshot(&self) -> VecDeque<Bytes> {
        self.shown.iter().map(|shown| shown.snapshot.clone()).collect()
    }

    /// What came after update `seen`, if all of it is still known.
    fn since(&self, seen: u64) -> Option<VecDeque<Bytes>> {
        let missed = self.number.checked_sub(seen)?;
        let missed = usize::try_from(missed).ok().filter(|missed| *missed <= self.deltas.len())?;
        Some(self.deltas.iter().skip(self.deltas.len() - missed).map(|(_, delta)| delta.clone()).collect())
    }
}
