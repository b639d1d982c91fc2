//! Where listeners are told what publishers hand on, from whatever process. While nobody listens it does nothing.

use super::entry::WINDOW_S;
use super::notice::Notice;
use super::{Count, Entry, counts};
use crate::shutdown::Shutdown;
use crate::store::{Notices, StoreError};
use crate::telemetry::Metrics;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::Instant;

/// Between two looks at what was published.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long what was heard is kept when nobody listens, for one who comes back.
const LINGER: Duration = Duration::from_secs(10);
/// A publisher that was not heard for so long is gone, and its counts with it.
const SILENT: Duration = Duration::from_secs(30);
/// A store that takes longer to answer is away.
const PATIENCE: Duration = Duration::from_secs(10);
/// What waits for a listener; one that is further behind misses some.
const QUEUE: usize = 512;
/// Entries that a new listener is told first.
const REMEMBERED: usize = 500;

/// What a listener is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// Something came in.
    Entry(Arc<Heard>),
    /// How often something was refused, whenever that has changed.
    Summary(Arc<Summary>),
    /// Nothing can be heard at the moment, and why. The next summary ends it.
    Trouble(Arc<str>),
}

/// An entry, and which one it is.
#[derive(Debug)]
pub struct Heard {
    /// Names it, for listeners that come back.
    pub id: String,
    /// What it says.
    pub entry: Entry,
}

/// How often something was refused, all publishers together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Seconds that are counted.
    pub window_s: i64,
    /// Processes that were heard.
    pub sources: usize,
    /// Most first.
    pub counts: Vec<Count>,
}

/// A listener missed so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed(pub u64);

/// Gathers for all listeners of a process.
pub struct Hub {
    notices: Arc<dyn Notices>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    told: Sender<Told>,
    /// The first listener came.
    wanted: Notify,
    interval: Duration,
}

#[derive(Default)]
struct State {
    sources: HashMap<String, Source>,
    recent: VecDeque<Arc<Heard>>,
    summary: Option<Arc<Summary>>,
    trouble: Option<Arc<str>>,
}

struct Source {
    /// The highest number that was heard of it.
    number: u64,
    counts: Vec<Count>,
    heard: Instant,
}

/// How far the hub has got with the notices.
#[derive(Default)]
struct Place {
    calls: bool,
    position: Option<String>,
}

impl Hub {
    /// With nobody listening yet.
    pub fn new(notices: Arc<dyn Notices>, metrics: Arc<Metrics>) -> Hub {
        let (state, told, wanted) = (Mutex::default(), Sender::new(QUEUE), Notify::new());
        Hub { notices, metrics, state, told, wanted, interval: INTERVAL }
    }

    /// Begins to listen: first to what was heard lately.
    pub fn listen(&self) -> Listener {
        let state = self.state();
        let mut first: VecDeque<Told> = state.recent.iter().cloned().map(Told::Entry).collect();
        first.extend(state.summary.clone().map(Told::Summary));
        first.extend(state.trouble.clone().map(Told::Trouble));
        // Under the same lock as the telling, so that nothing is missed and nothing comes twice.
        let told = self.told.subscribe();
        drop(state);
        self.wanted.notify_one();
        self.metrics.tail_listeners.inc();
        Listener { first, told, metrics: Arc::clone(&self.metrics) }
    }

    /// Reads what is published as long as somebody listens, until the shutdown begins.
    pub async fn run(&self, shutdown: &Shutdown) {
        tokio::select! {
            () = shutdown.begun() => {}
            () = self.serve() => {}
        }
    }

    async fn serve(&self) {
        loop {
            self.wanted.notified().await;
            let (mut place, mut alone_since) = (Place::default(), None);
            loop {
                let now = Instant::now();
                if self.told.receiver_count() > 0 {
                    alone_since = None;
                } else if now.duration_since(*alone_since.get_or_insert(now)) >= LINGER {
                    break;
                }
                self.turn(&mut place).await;
                tokio::time::sleep(self.interval).await;
            }
            let mut state = self.state();
            // One who came this moment is served from the beginning, for the hub was told.
            *state = State::default();
        }
    }

    /// Calls for notices, and tells what has come.
    async fn turn(&self, place: &mut Place) {
        let read = tokio::time::timeout(PATIENCE, self.read(place)).await;
        match read {
            Ok(Ok(texts)) => self.tell(&texts),
            Ok(Err(error)) => self.trouble(place, &error.to_string()),
            Err(_) => self.trouble(place, "the store does not answer"),
        }
    }

    async fn read(&self, place: &mut Place) -> Result<Vec<String>, StoreError> {
        // A new call is answered with all that publishers keep; so is one after trouble.
        if !place.calls || !self.notices.call_again().await? {
            self.notices.call(&format!("{:016x}", rand::random::<u64>())).await?;
            place.calls = true;
        }
        self.notices.read(&mut place.position).await
    }

    fn tell(&self, texts: &[String]) {
        let mut state = self.state();
        state.trouble = None;
        // Who publishes in a way that is not understood here is of another version, and silent for us.
        for notice in texts.iter().filter_map(|text| serde_json::from_str::<Notice>(text).ok()) {
            for heard in state.hear(notice) {
                let _ = self.told.send(Told::Entry(heard));
            }
        }
        if let Some(summary) = state.sum_up() {
            // The only error is that nobody listens.
            let _ = self.told.send(Told::Summary(summary));
        }
    }

    fn trouble(&self, place: &mut Place, error: &str) {
        *place = Place::default();
        let mut state = self.state();
        if state.trouble.as_deref() != Some(error) {
            let error: Arc<str> = error.into();
            state.trouble = Some(Arc::clone(&error));
            // What is said after it is said as new, so that it ends the trouble.
            state.summary = None;
            let _ = self.told.send(Told::Trouble(error));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What of a notice is new.
    fn hear(&mut self, notice: Notice) -> Vec<Arc<Heard>> {
        let now = Instant::now();
        let source =
            self.sources.entry(notice.source.clone()).or_insert(Source { number: 0, counts: Vec::new(), heard: now });
        source.heard = now;
        if let Some(counts) = notice.counts {
            source.counts = counts;
        }
        let mut new = Vec::new();
        for (number, entry) in notice.entries {
            if number > source.number {
                source.number = number;
                new.push(Arc::new(Heard { id: format!("{}-{number}", notice.source), entry }));
            }
        }
        self.recent.extend(new.iter().cloned());
        let too_many = self.recent.len().saturating_sub(REMEMBERED);
        self.recent.drain(..too_many);
        new
    }

    /// The counts of all sources, if they have changed.
    fn sum_up(&mut self) -> Option<Arc<Summary>> {
        let now = Instant::now();
        self.sources.retain(|_, source| now.duration_since(source.heard) < SILENT);
        let mut sums: BTreeMap<(Option<&str>, &str), (u64, u64)> = BTreeMap::new();
        for count in self.sources.values().flat_map(|source| &source.counts) {
            let sum = sums.entry((count.site.as_deref(), &count.reason)).or_default();
            *sum = (sum.0.saturating_add(count.count), sum.1.saturating_add(count.last_minute));
        }
        let count = |((site, reason), (count, last_minute)): ((Option<&str>, &str), (u64, u64))| Count {
            site: site.map(str::to_owned),
            reason: reason.to_owned(),
            count,
            last_minute,
        };
        let mut counts: Vec<Count> = sums.into_iter().map(count).collect();
        counts::sort(&mut counts);
        let summary = Summary { window_s: WINDOW_S, sources: self.sources.len(), counts };
        if self.summary.as_deref() == Some(&summary) {
            return None;
        }
        let summary = Arc::new(summary);
        self.summary = Some(Arc::clone(&summary));
        Some(summary)
    }
}

/// A place in the tail.
pub struct Listener {
    first: VecDeque<Told>,
    told: Receiver<Told>,
    metrics: Arc<Metrics>,
}

impl Listener {
    /// The next thing to be told; `None` once there will be nothing more.
    ///
    /// # Errors
    /// When some were missed, because this was not called often enough. It goes on behind them.
    pub async fn next(&mut self) -> Option<Result<Told, Missed>> {
        if let Some(told) = self.first.pop_front() {
            return Some(Ok(told));
        }
        match self.told.recv().await {
            Ok(told) => Some(Ok(told)),
            Err(RecvError::Lagged(missed)) => {
                self.metrics.tail_dropped_entries_total.with_label_values(&["slow_reader"]).inc_by(missed);
                Some(Err(Missed(missed)))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.metrics.tail_listeners.dec();
    }
}

impl Summary {
    /// The same for one site (the empty name is for none), or for one reason.
    pub fn only(&self, site: Option<&str>, reason: Option<&str>) -> Summary {
        let wanted = |count: &&Count| {
            site.is_none_or(|site| count.site.as_deref().unwrap_or_default() == site)
                && reason.is_none_or(|reason| count.reason == reason)
        };
        let counts = self.counts.iter().filter(wanted).cloned().collect();
        Summary { window_s: self.window_s, sources: self.sources, counts }
    }
}

#[cfg(test)]
mod tests;
