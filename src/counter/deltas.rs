use hashbrown::HashMap;

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// One bucket of one counter: which counter and window (by their place in the configuration) and its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// Place of the counter in [`super::Counters`].
    pub counter: u16,
    /// Place of the window in the counter's list.
    pub window: u16,
    /// Start of the bucket, in unix seconds.
    pub start: i64,
}

/// What is to be added to one bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Events, over all keys.
    pub total: u64,
    /// Events per key; empty for a counter without dimensions.
    pub keys: Map<Box<str>, u64>,
}

impl Bucket {
    fn add(&mut self, key: Option<&str>, n: u64) -> usize {
        self.total += n;
        let Some(key) = key else { return 0 };
        let before = self.keys.len();
        *self.keys.entry_ref(key).or_default() += n;
        self.keys.len() - before
    }
}

/// What a range of offsets adds to the counts.
///
/// Merging is associative and commutative, so neither the split into batches nor the order of merges can change
/// a count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deltas {
    buckets: Map<Slot, Bucket>,
    cells: usize,
}

impl Deltas {
    /// Adds `n` events to a bucket, under `key` where the counter has dimensions.
    pub fn add(&mut self, slot: Slot, key: Option<&str>, n: u64) {
        let buckets = self.buckets.len();
        let added = self.buckets.entry(slot).or_default().add(key, n);
        self.cells += added + (self.buckets.len() - buckets);
    }

    /// Adds all of `other` to this.
    pub fn merge(&mut self, other: Deltas) {
        if self.buckets.is_empty() {
            *self = other;
            return;
        }
        for (slot, theirs) in other.buckets {
            let buckets = self.buckets.len();
            let mine = self.buckets.entry(slot).or_default();
            let keys = mine.keys.len();
            mine.total += theirs.total;
            for (key, n) in theirs.keys {
                *mine.keys.entry(key).or_default() += n;
            }
            self.cells += mine.keys.len() - keys;
            self.cells += self.buckets.len() - buckets;
        }
    }

    /// Distinct numbers that a flush of this writes: one per bucket, and one per key in it.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// Whether there is nothing to add.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// All buckets, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Bucket)> {
        self.buckets.iter().map(|(slot, bucket)| (*slot, bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Added = (u16, i64, Option<u8>, u64);

    fn gathered(adds: &[Added]) -> Deltas {
        let mut deltas = Deltas::default();
        for (counter, start, key, n) in adds {
            let key = key.map(|k| k.to_string());
            deltas.add(Slot { counter: *counter, window: 0, start: *start }, key.as_deref(), *n);
        }
        deltas
    }

    fn adds() -> impl Strategy<Value = Vec<Added>> {
        prop::collection::vec((0_u16..3, 0_i64..4, prop::option::of(0_u8..6), 1_u64..1_000), 0..60)
    }

    proptest! {
        #[test]
        fn a_merge_is_as_if_all_had_been_added_to_one(a in adds(), b in adds(), c in adds()) {
            let whole = gathered(&[a.clone(), b.clone(), c.clone()].concat());
            let mut left = gathered(&a);
            left.merge(gathered(&b));
            left.merge(gathered(&c));
            let mut right = gathered(&c);
            right.merge(gathered(&b));
            right.merge(gathered(&a));
            prop_assert_eq!(&left, &whole);
            prop_assert_eq!(&right, &whole);
        }

        #[test]
        fn cells_counts_buckets_and_keys(a in adds(), b in adds()) {
            let mut deltas = gathered(&a);
            deltas.merge(gathered(&b));
            let counted: usize = deltas.iter().map(|(_, bucket)| 1 + bucket.keys.len()).sum();
            prop_assert_eq!(deltas.cells(), counted);
        }
    }
}
