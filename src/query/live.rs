//! The live page's stream: `/api/v1/live` tells a snapshot, then once per interval what has changed since.
//!
//! One loop reads for everybody. What it reads depends on which counters and windows are looked at, never on how many
//! look: a [`Feed`] is read once per interval and handed on as the same bytes to each of its readers. One that takes
//! longer than the interval to read is left out until it is read; the others go on.

mod active;
mod feed;
mod keys;
mod process;
mod stream;
mod view;

use super::partitions::Partitions;
use super::status::Status;
use crate::clock;
use crate::counter::Counters;
use crate::http::Body;
use crate::shutdown::Shutdown;
use crate::store::{CounterStore, StoreError, StoredCounter};
use crate::telemetry::{Metrics, Readiness};
use active::Active;
use feed::{Feed, Turn};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use process::Process;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use stream::Reader;
pub(super) use stream::{HEARTBEAT, RETRY};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use view::View;

/// Between two looks at the store.
const INTERVAL: Duration = Duration::from_secs(1);
/// A store that takes longer than this to answer is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// Feeds that are read at a time: the keys of all of them at once might be much to hold.
const AT_A_TIME: usize = 4;
/// How long a feed that nobody reads is kept, so that a page that comes back can resume.
const LINGER: Duration = Duration::from_secs(30);
/// A processor writes each of its partitions once per flush interval, with nothing to count too. After this many
/// intervals without it, and the time that partitions need to change hands, something is wrong.
const MISSED_FLUSHES: u32 = 5;
const HAND_OVER: Duration = Duration::from_secs(10);

/// Which feed: places of the counter and of its window in the configuration.
type Place = (usize, usize);

/// Reads the store for all live pages.
pub(super) struct Hub {
    store: Arc<dyn CounterStore>,
    counters: Arc<Counters>,
    topic: String,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    /// How old the counts may be before they are stale.
    stale_after: Duration,
    feeds: Mutex<HashMap<Place, Arc<Feed>>>,
    /// Somebody reads a feed that has nothing to show yet.
    wanted: Notify,
    shutdown: Shutdown,
    places: Semaphore,
    interval: Duration,
    patience: Duration,
}

/// The status as the live page gets it: that of the API, and what is not in the store.
#[derive(Serialize)]
struct LiveStatus<'a> {
    #[serde(flatten)]
    status: Status<'a>,
    /// Seconds after which `data_as_of` is too old.
    stale_after: f64,
    /// Who is there now; left out where nothing tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<Active<'a>>,
    process: Process,
}

/// What all feeds share of one look at the store.
struct Look {
    partitions: Partitions,
    status: String,
    stored: Vec<StoredCounter>,
    now_ms: i64,
}

impl Hub {
    /// With nobody reading yet. The processors flush every `flush_interval`, wherever they run.
    pub(super) fn new(
        store: Arc<dyn CounterStore>,
        counters: Arc<Counters>,
        topic: String,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
        flush_interval: Duration,
    ) -> Hub {
        let (feeds, wanted, shutdown) = (Mutex::default(), Notify::new(), Shutdown::new());
        let stale_after = HAND_OVER + flush_interval * MISSED_FLUSHES;
        let (places, interval, patience) = (Semaphore::new(AT_A_TIME), INTERVAL, PATIENCE);
        Hub {
            store,
            counters,
            topic,
            metrics,
            readiness,
            stale_after,
            feeds,
            wanted,
            shutdown,
            places,
            interval,
            patience,
        }
    }

    /// The stream of a counter and one of its windows, both by place, for a reader that saw everything up to
    /// `last_event_id`.
    pub(super) fn read(&self, place: Place, last_event_id: Option<&str>) -> Body {
        let mut feeds = self.feeds();
        let feed = Arc::clone(feeds.entry(place).or_default());
        // Joined before the feeds are let go: one that nobody reads may be thrown away, and would never say anything.
        let (start, updates) = feed.join(last_event_id);
        drop(feeds);
        if !feed.has_something() {
            self.wanted.notify_one();
        }
        Reader::new(feed, start, updates, self.shutdown.clone(), Arc::clone(&self.metrics)).into_body()
    }

    /// Reads the store as long as somebody looks, until the shutdown begins; then ends all streams.
    pub(super) async fn run(&self, shutdown: &Shutdown) {
        tokio::select! {
            () = shutdown.begun() => {}
            () = self.serve() => {}
        }
        self.shutdown.begin();
    }

    async fn serve(&self) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A round lasts as long as its slowest feed. The next ones have no turn for that feed.
        let mut rounds = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => rounds.push(self.round(false)),
                () = self.wanted.notified() => rounds.push(self.round(true)),
                Some(()) = rounds.next() => {}
            }
        }
    }

    /// One look at the store for all feeds that are read, or for those that have nothing to show yet.
    async fn round(&self, only_new: bool) {
        let turns = self.turns(only_new);
        if turns.is_empty() {
            return;
        }
        match self.before_it_is_late(self.look()).await {
            Ok(look) => {
                join_all(turns.into_iter().map(|(place, turn)| self.refresh(place, turn, &look))).await;
            }
            Err(reason) => turns.iter().for_each(|(_, turn)| turn.feed().trouble(&reason)),
        }
    }

    /// A turn for each feed that is to be read, and is not being read.
    fn turns(&self, only_new: bool) -> Vec<(Place, Turn)> {
        let (now, mut feeds) = (Instant::now(), self.feeds());
        feeds.retain(|_, feed| feed.is_kept(now, LINGER));
        let wanted = feeds.iter().filter(|(_, feed)| feed.is_read() && !(only_new && feed.has_something()));
        wanted.filter_map(|(place, feed)| Some((*place, Turn::of(feed)?))).collect()
    }

    async fn look(&self) -> Result<Look, StoreError> {
        let now_ms = clock::now_ms();
        // Watermarks before counts, so that no bucket is called final with a count from before that.
        let partitions = Partitions::read(&*self.store, &self.topic).await?;
        let stored = self.store.counters().await?;
        let status = view::text_of(&LiveStatus {
            status: Status::of(&self.topic, &partitions, now_ms),
            stale_after: self.stale_after.as_secs_f64(),
            active: Active::read(&*self.store, &self.counters, now_ms).await?,
            process: Process::of(&self.metrics, &self.readiness),
        });
        Ok(Look { partitions, status, stored, now_ms })
    }

    async fn refresh(&self, (counter, window): Place, turn: Turn, look: &Look) {
        let Some(counter) = self.counters.iter().nth(counter) else { return };
        let Some(window) = counter.windows().get(window) else { return };
        // It is never closed, so it never fails. Waiting for it is not the store's doing and not counted.
        let _place = self.places.acquire().await;
        match self.before_it_is_late(View::read(&*self.store, counter, window, look)).await {
            Ok(view) => turn.feed().publish(view, look.now_ms),
            Err(reason) => turn.feed().trouble(&reason),
        }
    }

    async fn before_it_is_late<T>(&self, reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, String> {
        match timeout(self.patience, reading).await {
            Ok(read) => read.map_err(|e| e.to_string()),
            Err(_) => Err(format!("the store did not answer within {}", humantime::format_duration(self.patience))),
        }
    }

    fn feeds(&self) -> MutexGuard<'_, HashMap<Place, Arc<Feed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
