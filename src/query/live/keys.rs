use crate::counter::{Counter, Kind};
use crate::query::buckets::{Bucket, Key, highest};
use crate::query::value::{Value, Whole};
use crate::store::{CounterStore, Keys, Read, StoreError};
use crate::window::Window;
use serde::Serialize;
use std::collections::HashMap;

/// Keys that the stream names.
const TOP: usize = 50;
/// Keys of both windows together; with more it would be too much to read each second.
const MOST_KEYS: u64 = 200_000;
const MOST_DISTINCT_KEYS: u64 = 4_000;

/// The keys with the highest counts of one window.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct TopKeys {
    start: i64,
    total: u64,
    other: u64,
    #[serde(flatten)]
    value: Option<Whole>,
    /// How many keys the window has.
    distinct: usize,
    /// Whether the window before was counted from its begin, so that the two can be compared.
    comparable: bool,
    keys: Vec<TopKey>,
}

#[derive(Debug, PartialEq, Serialize)]
struct TopKey {
    #[serde(flatten)]
    now: Key,
    /// Its count in the window before.
    previous: u64,
    /// Its value then.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_value: Option<f64>,
}

/// Reads the keys of `buckets[at]` and of the window before. `None` when there are too many.
pub(super) async fn read(
    store: &dyn CounterStore,
    counter: &Counter,
    window: &Window,
    buckets: &[Bucket],
    at: usize,
) -> Result<Option<TopKeys>, StoreError> {
    let before = at.checked_sub(1);
    let starts: Vec<i64> = before.into_iter().chain([at]).map(|at| buckets[at].start).collect();
    let most = 2 * counter.spec().max_keys.saturating_mul(u64::from(store.shards()));
    let limit = if counter.kind() == Kind::Distinct { MOST_DISTINCT_KEYS } else { MOST_KEYS };
    if most > limit && store.key_count(counter.name(), window.label(), &starts).await? > limit {
        return Ok(None);
    }
    let (name, label) = (counter.name().to_owned(), window.label().to_owned());
    let read = Read { counter: name, kind: counter.kind(), window: label, starts, keys: Keys::All };
    let mut read = store.read(&read).await?;
    let Some(now) = read.pop() else { return Ok(None) };
    let previous = read.pop().map(|bucket| Key::all(counter, bucket)).unwrap_or_default();
    let mut previous: HashMap<String, Key> = previous.into_iter().map(|key| (key.key.clone(), key)).collect();
    let (total, other, distinct) = (now.total, now.other, now.keys.len());
    let value = Value::of(counter, now.value, total).map(Whole);
    let top = highest(Key::all(counter, now), TOP).into_iter().map(|now| {
        let before = previous.remove(&now.key);
        let previous_value = now.value.map(|_| before.as_ref().and_then(|key| key.value).map_or(0.0, |v| v.as_f64()));
        TopKey { previous: before.map_or(0, |key| key.count), previous_value, now }
    });
    Ok(Some(TopKeys {
        start: buckets[at].start,
        total,
        other,
        value,
        distinct,
        comparable: before.is_some_and(|before| !buckets[before].partial),
        keys: top.collect(),
    }))
}
