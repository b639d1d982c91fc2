use crate::counter::Counter;
use crate::query::buckets::{Bucket, highest};
use crate::store::{CounterStore, Keys, Read, StoreError};
use crate::window::Window;
use serde::Serialize;
use std::collections::HashMap;

/// Keys that the stream names.
const TOP: usize = 50;
/// Keys of both windows together; with more it would be too much to read each second.
const MOST_KEYS: u64 = 200_000;

/// The keys with the highest counts of one window.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct TopKeys {
    start: i64,
    total: u64,
    other: u64,
    /// How many keys the window has.
    distinct: usize,
    /// Whether the window before was counted from its begin, so that the two can be compared.
    comparable: bool,
    keys: Vec<TopKey>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct TopKey {
    key: String,
    count: u64,
    /// Its count in the window before.
    previous: u64,
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
    if most > MOST_KEYS && store.key_count(counter.name(), window.label(), &starts).await? > MOST_KEYS {
        return Ok(None);
    }
    let (name, label) = (counter.name().to_owned(), window.label().to_owned());
    let mut read = store.read(&Read { counter: name, window: label, starts, keys: Keys::All }).await?;
    let Some(now) = read.pop() else { return Ok(None) };
    let previous: HashMap<String, u64> = read.pop().map(|bucket| bucket.keys.into_iter().collect()).unwrap_or_default();
    let (distinct, keys) = (now.keys.len(), highest(now.keys, TOP));
    let of_before = |key: &String| previous.get(key).copied().unwrap_or(0);
    Ok(Some(TopKeys {
        start: buckets[at].start,
        total: now.total,
        other: now.other,
        distinct,
        comparable: before.is_some_and(|before| !buckets[before].partial),
        keys: keys.into_iter().map(|(key, count)| TopKey { previous: of_before(&key), key, count }).collect(),
    }))
}
