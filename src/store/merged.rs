//! One flush as what has to be written: checked, and the deltas of all its parts merged. Pure.

use super::{Flush, PartitionFlush, StoreError};
use crate::counter::{Bucket, Counters, Deltas, Keyed, Measure};
use std::borrow::Cow;
use std::collections::HashSet;

/// Numbers that are written or added to have at most 18 digits, so that no sum of two overflows 64 bits.
pub(super) const LARGEST: u64 = 999_999_999_999_999_999;
/// How much longer than its retention a bucket stays readable, in seconds: for readers whose clock is behind.
pub(super) const GRACE_S: i64 = 600;

/// What is to be added to one bucket, by names instead of places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addition<'a> {
    pub(super) counter: &'a str,
    pub(super) window: &'a str,
    pub(super) start: i64,
    /// Length of the window and its retention and the grace, in seconds: how long after `start` it expires.
    pub(super) lasts_s: i64,
    pub(super) max_keys: u64,
    pub(super) total: u64,
    pub(super) measure: Measure<'a>,
    /// In order, so that the split between keys and `other` within one flush does not depend on a hash function.
    pub(super) keys: Vec<Keyed<'a>>,
}

impl Addition<'_> {
    /// When it expires, in unix seconds.
    pub(super) fn expires_at(&self) -> i64 {
        self.start.saturating_add(self.lasts_s)
    }
}

/// Numbers that these additions add to.
pub(super) fn cells(additions: &[Addition<'_>]) -> usize {
    let of = |measure: Measure<'_>| match measure {
        Measure::Count => 1,
        Measure::Amounts(_) => 2,
        Measure::Members(members) => 1 + members.len(),
    };
    let of_keys = |addition: &Addition<'_>| addition.keys.iter().map(|keyed| of(keyed.measure)).sum::<usize>();
    additions.iter().map(|addition| of(addition.measure) + of_keys(addition)).sum()
}

/// The deltas of all parts together.
pub(super) fn merged(flush: &Flush, shards: u32) -> Result<Cow<'_, Deltas>, StoreError> {
    check(flush, shards)?;
    let mut segments = flush.parts.iter().filter_map(|part| part.segment.as_deref());
    let Some(first) = segments.next() else { return Ok(Cow::default()) };
    let mut deltas = Cow::Borrowed(&first.deltas);
    segments.for_each(|segment| deltas.to_mut().add_all(&segment.deltas));
    Ok(deltas)
}

/// What these deltas add, in order of counter, window and start. Buckets whose retention has passed by the flush's clock
/// are left out.
pub(super) fn additions<'a>(
    deltas: &'a Deltas,
    now_ms: i64,
    counters: &'a Counters,
) -> Result<Vec<Addition<'a>>, StoreError> {
    let mut buckets = deltas.buckets();
    buckets.sort_unstable_by_key(|bucket| bucket.slot);
    let additions = buckets.into_iter().map(|bucket| addition(bucket, now_ms, counters));
    additions.filter_map(Result::transpose).collect()
}

fn addition<'a>(
    Bucket { slot, total, measure, mut keys }: Bucket<'a>,
    now_ms: i64,
    counters: &'a Counters,
) -> Result<Option<Addition<'a>>, StoreError> {
    let counter = counters.get(slot.counter);
    let window = counter.and_then(|c| c.windows().get(usize::from(slot.window)));
    let (Some(counter), Some(window)) = (counter, window) else {
        return contradiction(format!("no such counter or window: {slot:?}"));
    };
    if !window.is_kept(slot.start, now_ms) {
        return Ok(None);
    }
    let in_keys = keys.iter().try_fold(0_u64, |sum, keyed| sum.checked_add(keyed.count));
    if total > LARGEST || in_keys.is_none_or(|sum| sum > total) {
        return contradiction(format!("counter `{}`: a total of {total} is impossible", counter.name()));
    }
    keys.sort_unstable_by_key(|keyed| keyed.key);
    Ok(Some(Addition {
        counter: counter.name(),
        window: window.label(),
        start: slot.start,
        lasts_s: window.size_s() + window.keep_s() + GRACE_S,
        max_keys: counter.spec().max_keys,
        total,
        measure,
        keys,
    }))
}

fn check(flush: &Flush, shards: u32) -> Result<(), StoreError> {
    let mut seen = HashSet::new();
    for part in &flush.parts {
        let partition = part.partition;
        let shard = u32::try_from(partition).map(|p| p % shards);
        if shard != Ok(flush.shard) {
            return contradiction(format!("partition {partition} is not of shard {}", flush.shard));
        }
        if !seen.insert(partition) {
            return contradiction(format!("partition {partition} stands there twice"));
        }
        check_part(part)?;
    }
    Ok(())
}

fn check_part(part: &PartitionFlush) -> Result<(), StoreError> {
    let Some(segment) = &part.segment else { return Ok(()) };
    let (partition, from, to) = (part.partition, segment.from, segment.to);
    let backwards = from > to && segment.gap.is_none();
    if from < 0 || to < 0 || backwards || part.expected.is_some_and(|expected| expected != from) {
        let expected = part.expected;
        return contradiction(format!("partition {partition}: [{from}, {to}) does not follow {expected:?}"));
    }
    if segment.gap.is_some() && !segment.deltas.is_empty() {
        return contradiction(format!("partition {partition}: a gap that counts"));
    }
    if segment.ledger.fields().iter().any(|(_, n)| *n > LARGEST) {
        return contradiction(format!("partition {partition}: a ledger of {:?} is impossible", segment.ledger));
    }
    Ok(())
}

fn contradiction<T>(what: String) -> Result<T, StoreError> {
    Err(StoreError::Contradiction(what))
}
