use super::QueryError;
use super::budget::Priced;
use super::counters::since;
use super::params::Params;
use super::partitions::{Coverage, Partitions};
use super::starts::{AHEAD_MS, Starts};
use super::time::{Range, seconds};
use super::value::{self, Value, Whole};
use crate::counter::{Counter, Counters, Kind};
use crate::store::{CounterStore, Keys, Read, StoreError, StoredBucket};
use crate::window::Window;
use serde::Serialize;

/// Buckets × keys that one question may read.
pub(super) const MOST_CELLS: u64 = 1_000_000;
/// Keys of a bucket in the answer, unless the question says how many.
const DEFAULT_TOP: usize = 20;
const MOST_TOP: usize = 10_000;

/// What may be asked about a counter.
pub(super) const PARAMETERS: &[&str] = &["window", "from", "to", "top", "key"];

/// A question for the buckets of one counter, checked.
#[derive(Debug)]
pub(super) struct Question<'a> {
    counter: &'a Counter,
    window: &'a Window,
    range: Range,
    top: usize,
    key: Option<&'a str>,
    now_ms: i64,
}

/// The answer of `/api/v1/counters/{name}`.
#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    counter: &'a str,
    window: &'a str,
    data_as_of: Option<f64>,
    complete_until: Option<f64>,
    /// What all buckets amount to together.
    #[serde(flatten)]
    value: Option<Whole>,
    buckets: Vec<Bucket>,
    /// Whether only a late event can still change it: all is final, and no retention cuts the range.
    #[serde(skip)]
    settled: bool,
}

/// One window of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Bucket {
    pub(super) start: i64,
    end: i64,
    #[serde(rename = "final")]
    pub(super) is_final: bool,
    pub(super) partial: bool,
    pub(super) total: u64,
    other: u64,
    #[serde(flatten)]
    pub(super) value: Option<Whole>,
    keys: Vec<Key>,
}

/// One key of a window.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Key {
    pub(super) key: String,
    pub(super) count: u64,
    #[serde(flatten)]
    pub(super) value: Option<Value>,
}

impl<'a> Question<'a> {
    /// Reads a question that is asked at `now_ms`.
    pub(super) fn parse(
        counters: &'a Counters,
        name: &str,
        params: &'a Params,
        now_ms: i64,
    ) -> Result<Question<'a>, QueryError> {
        let (_, counter) = counter_of(counters, name)?;
        let (_, window) = window_of(counter, params.get("window"))?;
        let range = Range::parse(params.get("from"), params.get("to"), now_ms)?;
        if range.from.saturating_mul(1_000) > now_ms.saturating_add(AHEAD_MS) {
            return Err(QueryError::Future);
        }
        let top = params.get("top").map_or(Ok(DEFAULT_TOP), top)?;
        let key = params.get("key");
        if key.is_some() && counter.by().is_empty() {
            return Err(QueryError::NoKeys(name.to_owned()));
        }
        Ok(Question { counter, window, range, top, key, now_ms })
    }

    /// The question for the totals of the last `span_s` seconds.
    pub(super) fn totals(counter: &'a Counter, window: &'a Window, span_s: i64, now_ms: i64) -> Question<'a> {
        let now_s = now_ms.div_euclid(1_000);
        let range = Range { from: now_s - span_s, to: now_s + 1 };
        Question { counter, window, range, top: 0, key: None, now_ms }
    }

    /// Reads the answer, once its price is known and lent.
    pub(super) async fn answer(&self, store: &dyn CounterStore, topic: &str) -> Result<Answer<'a>, QueryError> {
        // Watermarks before counts, so that no bucket is called final with a count from before that.
        let partitions = Partitions::read(store, topic).await?;
        let since = since(&store.counters().await?, self.counter.name());
        let buckets = self.buckets(store, &partitions.coverage(since)).await?;
        let value = self.value(store, &buckets).await?;
        Ok(Answer {
            counter: self.counter.name(),
            window: self.window.label(),
            data_as_of: partitions.data_as_of_ms().map(seconds),
            complete_until: partitions.complete_until_ms().map(seconds),
            value: value.map(Whole),
            settled: !buckets.is_empty() && buckets.iter().all(|b| b.is_final) && self.starts().is_whole(),
            buckets,
        })
    }

    /// Reads the buckets.
    pub(super) async fn buckets(
        &self,
        store: &dyn CounterStore,
        coverage: &Coverage,
    ) -> Result<Vec<Bucket>, StoreError> {
        let read = self.read();
        let stored = if read.starts.is_empty() { Vec::new() } else { store.read(&read).await? };
        let buckets = read.starts.iter().zip(stored).map(|(start, stored)| {
            let end = self.window.end_of(*start);
            Bucket {
                start: *start,
                end,
                is_final: coverage.is_final(end),
                partial: coverage.is_partial(*start, end),
                total: stored.total,
                other: stored.other,
                value: Value::of(self.counter, stored.value, stored.total).map(Whole),
                keys: self.ranked(stored),
            }
        });
        Ok(buckets.collect())
    }

    fn read(&self) -> Read {
        let (counter, window) = (self.counter.name().to_owned(), self.window.label().to_owned());
        Read { counter, kind: self.counter.kind(), window, starts: self.starts().list(), keys: self.keys() }
    }

    /// What the buckets amount to together, or the asked key in them. Who is in two of them is told once.
    pub(super) async fn value(
        &self,
        store: &dyn CounterStore,
        buckets: &[Bucket],
    ) -> Result<Option<Value>, StoreError> {
        if self.counter.kind() == Kind::Distinct {
            let keys = if self.key.is_some() { self.keys() } else { Keys::None };
            let distinct = store.united(&Read { keys, ..self.read() }).await?.estimate();
            return Ok(Some(Value::Distinct(distinct)));
        }
        let none = Value::of(self.counter, None, 0);
        let of_all = |bucket: &Bucket| bucket.value.map(|Whole(value)| value);
        let of_key = |bucket: &Bucket| bucket.keys.first().and_then(|key| key.value);
        let values =
            buckets.iter().filter_map(|bucket| if self.key.is_some() { of_key(bucket) } else { of_all(bucket) });
        Ok(none.map(|none| values.fold(none, Value::add)))
    }

    fn keys(&self) -> Keys {
        match self.key {
            Some(key) => Keys::One(key.to_owned()),
            None if self.counter.by().is_empty() || self.top == 0 => Keys::None,
            None => Keys::All,
        }
    }

    fn ranked(&self, stored: StoredBucket) -> Vec<Key> {
        match self.key {
            Some(key) if stored.keys.is_empty() => {
                vec![Key { key: key.to_owned(), count: 0, value: Value::of(self.counter, None, 0) }]
            }
            _ => highest(Key::all(self.counter, stored), self.top.max(usize::from(self.key.is_some()))),
        }
    }

    fn starts(&self) -> Starts {
        Starts::kept(self.window, self.range.from, self.range.to, self.now_ms)
    }

    /// What so many cells cost to read, in counts.
    fn cost(&self, cells: u64) -> u64 {
        value::cost(self.counter.kind(), cells)
    }

    fn too_much(&self, cells: u64) -> QueryError {
        let coarser = self.counter.windows().iter().filter(|w| w.size_s() > self.window.size_s());
        let fitting = coarser
            .filter(|w| self.cost(Starts::kept(w, self.range.from, self.range.to, self.now_ms).count()) <= MOST_CELLS)
            .min_by_key(|w| w.size_s());
        let hint = match fitting {
            Some(window) => format!("ask for window={}, or for a shorter range", window.label()),
            None => "ask for a shorter range".to_owned(),
        };
        QueryError::TooMuch { cells, limit: MOST_CELLS, hint }
    }
}

impl Priced for Question<'_> {
    fn least(&self) -> Result<u64, QueryError> {
        let buckets = self.cost(self.starts().count());
        if buckets > MOST_CELLS { Err(self.too_much(buckets)) } else { Ok(buckets) }
    }

    async fn price(&self, store: &dyn CounterStore) -> Result<u64, QueryError> {
        let buckets = self.cost(self.starts().count());
        if self.keys() != Keys::All || buckets == 0 {
            return Ok(buckets);
        }
        let cells = store.key_count(self.counter.name(), self.window.label(), &self.starts().list()).await?;
        let cells = self.cost(cells);
        if cells > MOST_CELLS { Err(self.too_much(cells)) } else { Ok(cells.max(buckets)) }
    }
}

impl Key {
    /// All keys of a bucket of this counter.
    pub(super) fn all(counter: &Counter, stored: StoredBucket) -> Vec<Key> {
        let StoredBucket { keys, values, .. } = stored;
        let value = |key: &str, count| Value::of(counter, values.get(key).copied(), count);
        keys.into_iter().map(|(key, count)| Key { value: value(&key, count), key, count }).collect()
    }

    /// What it is ranked by.
    fn rank(&self) -> i128 {
        self.value.as_ref().map_or(i128::from(self.count), Value::rank)
    }
}

/// The highest keys: by value where they have one, else by count, descending, then by key.
pub(super) fn highest(mut keys: Vec<Key>, most: usize) -> Vec<Key> {
    let order = |a: &Key, b: &Key| b.rank().cmp(&a.rank()).then_with(|| a.key.cmp(&b.key));
    if keys.len() > most {
        // Only the top is worth sorting.
        keys.select_nth_unstable_by(most, order);
        keys.truncate(most);
    }
    keys.sort_unstable_by(order);
    keys
}

/// What else may be asked for: the nearest name, or all of them.
fn nearest(counters: &Counters, name: &str) -> String {
    let names = || counters.iter().map(Counter::name);
    // A name of any length may be asked for, and comparing takes as long as both are.
    let near = names().filter(|known| known.len().abs_diff(name.len()) <= 2);
    let near = near.map(|known| (strsim::damerau_levenshtein(name, known), known)).min();
    match near {
        Some((distance, nearest)) if distance <= 2 => format!("did you mean `{nearest}`?"),
        _ => format!("the configured ones are {}", names_of(counters)),
    }
}

/// The counter of that name, and its place.
pub(super) fn counter_of<'a>(counters: &'a Counters, name: &str) -> Result<(usize, &'a Counter), QueryError> {
    counters
        .named(name)
        .ok_or_else(|| QueryError::UnknownCounter { name: name.to_owned(), hint: nearest(counters, name) })
}

/// The names of all counters, for an error.
pub(super) fn names_of(counters: &Counters) -> String {
    counters.iter().map(Counter::name).collect::<Vec<_>>().join(", ")
}

/// The window of that size, else the smallest, and its place.
pub(super) fn window_of<'a>(counter: &'a Counter, label: Option<&str>) -> Result<(usize, &'a Window), QueryError> {
    let window = match label {
        None => counter.windows().iter().enumerate().min_by_key(|(_, window)| window.size_s()),
        Some(label) => counter.window(label),
    };
    window.ok_or_else(|| QueryError::UnknownWindow {
        counter: counter.name().to_owned(),
        window: label.unwrap_or_default().to_owned(),
        known: counter.windows().iter().map(Window::label).collect::<Vec<_>>().join(", "),
    })
}

fn top(text: &str) -> Result<usize, QueryError> {
    let top = text.parse().ok().filter(|top| *top <= MOST_TOP && text.bytes().all(|b| b.is_ascii_digit()));
    top.ok_or_else(|| QueryError::Top(text.to_owned()))
}

mod csv;
mod represent;
#[cfg(test)]
mod tests;
