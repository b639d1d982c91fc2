use hashbrown::{HashMap, HashTable};
use std::collections::BTreeMap;

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

/// Stands for a key of one counter, in the [`Deltas`] that gave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(u32);

/// The keys of one counter, each once: an event has one key, and adds to many buckets under it.
#[derive(Debug, Clone, Default)]
struct Names {
    /// By id.
    keys: Vec<Box<str>>,
    /// Under a hasher of this process: keys come from outside.
    hasher: ahash::RandomState,
    ids: HashTable<KeyId>,
}

impl Names {
    fn id(&mut self, key: &str) -> KeyId {
        let Names { keys, hasher, ids } = self;
        let hash = hasher.hash_one(key);
        if let Some(id) = ids.find(hash, |id| *keys[id.0 as usize] == *key) {
            return *id;
        }
        // A segment is bounded by far fewer cells.
        let id = KeyId(keys.len() as u32);
        keys.push(key.into());
        ids.insert_unique(hash, id, |id| hasher.hash_one(&*keys[id.0 as usize]));
        id
    }
}

#[derive(Debug, Clone, Default)]
struct Cells {
    total: u64,
    /// Ids are given out here, one after the other, so nobody can choose them for their hashes.
    keys: HashMap<KeyId, u64>,
}

impl Cells {
    fn add(&mut self, key: Option<KeyId>, n: u64) -> usize {
        self.total += n;
        let Some(key) = key else { return 0 };
        let before = self.keys.len();
        *self.keys.entry(key).or_default() += n;
        self.keys.len() - before
    }
}

/// What is to be added to one bucket.
#[derive(Debug, Clone, Copy)]
pub struct Bucket<'a> {
    cells: &'a Cells,
    names: &'a [Box<str>],
}

impl<'a> Bucket<'a> {
    /// Events, over all keys.
    pub fn total(&self) -> u64 {
        self.cells.total
    }

    /// Keys and their events, in no order; none for a counter without dimensions.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = (&'a str, u64)> + use<'a> {
        let names = self.names;
        self.cells.keys.iter().map(move |(id, n)| (&*names[id.0 as usize], *n))
    }
}

/// What a range of offsets adds to the counts.
///
/// Merging is associative and commutative, so neither the split into batches nor the order of merges can change
/// a count.
#[derive(Debug, Clone, Default)]
pub struct Deltas {
    /// By the counter's place; shorter where the last ones have no keys.
    names: Vec<Names>,
    buckets: HashMap<Slot, Cells>,
    cells: usize,
}

impl Deltas {
    /// The id of a counter's key, for [`Deltas::add_by_id`].
    pub fn id(&mut self, counter: u16, key: &str) -> KeyId {
        self.names_of(counter).id(key)
    }

    fn names_of(&mut self, counter: u16) -> &mut Names {
        let at = usize::from(counter);
        if self.names.len() <= at {
            self.names.resize_with(at + 1, Names::default);
        }
        &mut self.names[at]
    }

    /// Adds `n` events to a bucket, under `key` where the counter has dimensions.
    pub fn add(&mut self, slot: Slot, key: Option<&str>, n: u64) {
        let id = key.map(|key| self.id(slot.counter, key));
        self.add_by_id(slot, id, n);
    }

    /// The same under an id that these deltas have given out for the slot's counter.
    pub fn add_by_id(&mut self, slot: Slot, key: Option<KeyId>, n: u64) {
        let buckets = self.buckets.len();
        let added = self.buckets.entry(slot).or_default().add(key, n);
        self.cells += added + (self.buckets.len() - buckets);
    }

    /// Adds all of `other` to this.
    pub fn merge(&mut self, other: Deltas) {
        if self.buckets.is_empty() {
            *self = other;
        } else {
            self.add_all(&other);
        }
    }

    /// Adds all of `other` to this.
    pub fn add_all(&mut self, other: &Deltas) {
        let renamed = |(counter, theirs): (usize, &Names)| {
            // There are at most 1,000 counters.
            let ours = self.names_of(counter as u16);
            theirs.keys.iter().map(|key| ours.id(key)).collect::<Vec<KeyId>>()
        };
        let ids: Vec<Vec<KeyId>> = other.names.iter().enumerate().map(renamed).collect();
        for (slot, theirs) in &other.buckets {
            let buckets = self.buckets.len();
            let mine = self.buckets.entry(*slot).or_default();
            let keys = mine.keys.len();
            mine.total += theirs.total;
            for (id, n) in &theirs.keys {
                *mine.keys.entry(ids[usize::from(slot.counter)][id.0 as usize]).or_default() += n;
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
    pub fn iter(&self) -> impl Iterator<Item = (Slot, Bucket<'_>)> {
        self.buckets.iter().map(|(slot, cells)| {
            let names = self.names.get(usize::from(slot.counter)).map_or(&[][..], |names| &names.keys);
            (*slot, Bucket { cells, names })
        })
    }
}

impl PartialEq for Deltas {
    /// Whether both add the same: ids are nobody else's business.
    fn eq(&self, other: &Deltas) -> bool {
        fn sorted(deltas: &Deltas) -> BTreeMap<Slot, (u64, BTreeMap<&str, u64>)> {
            deltas.iter().map(|(slot, bucket)| (slot, (bucket.total(), bucket.keys().collect()))).collect()
        }
        sorted(self) == sorted(other)
    }
}

impl Eq for Deltas {}

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
            let counted: usize = deltas.iter().map(|(_, bucket)| 1 + bucket.keys().len()).sum();
            prop_assert_eq!(deltas.cells(), counted);
        }
    }
}
