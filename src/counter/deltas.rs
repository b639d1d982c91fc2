use super::extras::{Extras, Measure, Spot};
use super::measure::Measured;
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
pub struct KeyId(pub(super) u32);

/// Place of a bucket among those of its [`Deltas`].
pub(super) type Place = u32;

/// How many buckets of a key lie beside each other: those of three windows, one of which has just moved on.
const NEAR: usize = 4;
/// No bucket has this place.
const FREE: Place = Place::MAX;

/// A key and its first buckets, which is all that most events touch of it: 56 bytes, so in one line of the processor's cache
/// or two neighbours.
#[derive(Debug, Clone)]
struct Row {
    /// Where its text lies.
    text: (u32, u32),
    places: [Place; NEAR],
    events: [u64; NEAR],
}

/// The keys of one counter, each once: an event has one key, and adds to many buckets under it.
#[derive(Debug, Clone, Default)]
struct Keys {
    /// By id.
    rows: Vec<Row>,
    /// The texts of all keys, one behind the other.
    texts: String,
    /// Under a hasher of this process: keys come from outside.
    hasher: ahash::RandomState,
    ids: HashTable<KeyId>,
    /// What has no room in the rows. Ids are given out here, so nobody can choose them for their hashes.
    far: HashMap<(KeyId, Place), u64>,
}

impl Keys {
    fn id(&mut self, key: &str) -> KeyId {
        let Keys { rows, texts, hasher, ids, .. } = self;
        let hash = hasher.hash_one(key);
        if let Some(id) = ids.find(hash, |id| text(rows, texts, *id) == key) {
            return *id;
        }
        // A segment is bounded by far fewer cells, and a key by 256 bytes.
        let id = KeyId(rows.len() as u32);
        rows.push(Row { text: (texts.len() as u32, key.len() as u32), places: [FREE; NEAR], events: [0; NEAR] });
        texts.push_str(key);
        ids.insert_unique(hash, id, |id| hasher.hash_one(text(rows, texts, *id)));
        id
    }

    /// Whether the key had nothing in that bucket before.
    fn add(&mut self, id: KeyId, to: Place, n: u64) -> bool {
        let row = &mut self.rows[id.0 as usize];
        for (place, events) in row.places.iter_mut().zip(&mut row.events) {
            if *place == to || *place == FREE {
                *events += n;
                return std::mem::replace(place, to) == FREE;
            }
        }
        let before = self.far.len();
        *self.far.entry((id, to)).or_default() += n;
        self.far.len() > before
    }

    /// Each bucket of each key.
    fn cells(&self) -> impl Iterator<Item = (KeyId, Place, u64)> {
        let near = self.rows.iter().zip(0..).flat_map(|(row, id)| {
            let cells = row.places.iter().zip(&row.events).take_while(|(place, _)| **place != FREE);
            cells.map(move |(place, n)| (KeyId(id), *place, *n))
        });
        near.chain(self.far.iter().map(|((id, place), n)| (*id, *place, *n)))
    }

    fn text(&self, id: KeyId) -> &str {
        text(&self.rows, &self.texts, id)
    }
}

/// What stands there, made if the list does not reach so far.
fn at<T: Default>(list: &mut Vec<T>, index: usize) -> &mut T {
    if list.len() <= index {
        list.resize_with(index + 1, T::default);
    }
    &mut list[index]
}

fn text<'a>(rows: &[Row], texts: &'a str, id: KeyId) -> &'a str {
    let (start, length) = rows[id.0 as usize].text;
    &texts[start as usize..(start + length) as usize]
}

/// What is to be added to one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket<'a> {
    /// Which one.
    pub slot: Slot,
    /// Events, over all keys.
    pub total: u64,
    /// What they amount to.
    pub measure: Measure<'a>,
    /// Its keys, in no order; none for a counter without dimensions.
    pub keys: Vec<Keyed<'a>>,
}

/// What is to be added to one key of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed<'a> {
    /// The key.
    pub key: &'a str,
    /// Events.
    pub count: u64,
    /// What they amount to.
    pub measure: Measure<'a>,
}

/// What a range of offsets adds to the counts.
///
/// Merging is associative and commutative, so neither the split into batches nor the order of merges can change
/// a count.
#[derive(Debug, Clone, Default)]
pub struct Deltas {
    /// By the counter's place; shorter where the last ones have no keys.
    keys: Vec<Keys>,
    places: HashMap<Slot, Place>,
    /// Of each counter and window the bucket that was last added to: most often it is the next one, too.
    recent: Vec<Vec<Place>>,
    /// Each bucket and its events over all keys, by place.
    totals: Vec<(Slot, u64)>,
    /// What the events of sums and of distinct counts amount to.
    extras: Extras,
    cells: usize,
}

impl Deltas {
    /// Empty ones with room for as much as is in these.
    pub fn with_room_like(&self) -> Deltas {
        let room = |keys: &Keys| Keys {
            rows: Vec::with_capacity(keys.rows.len()),
            texts: String::with_capacity(keys.texts.len()),
            ids: HashTable::with_capacity(keys.ids.len()),
            ..Keys::default()
        };
        Deltas { keys: self.keys.iter().map(room).collect(), ..Deltas::default() }
    }

    /// The id of a counter's key, for [`Deltas::add_by_id`].
    pub fn id(&mut self, counter: u16, key: &str) -> KeyId {
        self.keys_of(counter).id(key)
    }

    fn keys_of(&mut self, counter: u16) -> &mut Keys {
        at(&mut self.keys, usize::from(counter))
    }

    /// Adds `n` events to a bucket, under `key` where the counter has dimensions.
    pub fn add(&mut self, slot: Slot, key: Option<&str>, n: u64) {
        let id = key.map(|key| self.id(slot.counter, key));
        self.add_by_id(slot, id, n);
    }

    /// The same under an id that these deltas have given out for the slot's counter.
    pub fn add_by_id(&mut self, slot: Slot, key: Option<KeyId>, n: u64) -> Place {
        let place = self.add_total(slot, n);
        if let Some(id) = key {
            self.cells += usize::from(self.keys_of(slot.counter).add(id, place, n));
        }
        place
    }

    /// Adds one event to a bucket, and what it measures.
    pub fn add_event(&mut self, slot: Slot, key: Option<KeyId>, measured: Measured<'_>) {
        let place = self.add_by_id(slot, key, 1);
        if measured != Measured::Nothing {
            self.cells += [Some(None), key.map(Some)]
                .into_iter()
                .flatten()
                .map(|key| self.extras.add((place, key), measured))
                .sum::<usize>();
        }
    }

    fn add_total(&mut self, slot: Slot, n: u64) -> Place {
        let (counter, window) = (usize::from(slot.counter), usize::from(slot.window));
        let recent = self.recent.get(counter).and_then(|windows| windows.get(window));
        if let Some(place) = recent
            && let Some((_, total)) = self.totals.get_mut(*place as usize).filter(|(other, _)| *other == slot)
        {
            *total += n;
            return *place;
        }
        let place = self.place(slot);
        self.totals[place as usize].1 += n;
        let windows = at(&mut self.recent, counter);
        *at(windows, window) = place;
        place
    }

    fn place(&mut self, slot: Slot) -> Place {
        let Deltas { places, totals, cells, .. } = self;
        *places.entry(slot).or_insert_with(|| {
            *cells += 1;
            totals.push((slot, 0));
            // A segment is bounded by far fewer cells.
            (totals.len() - 1) as Place
        })
    }

    /// Adds all of `other` to this.
    pub fn merge(&mut self, other: Deltas) {
        if self.is_empty() {
            *self = other;
        } else {
            self.add_all(&other);
        }
    }

    /// Adds all of `other` to this.
    pub fn add_all(&mut self, other: &Deltas) {
        let places: Vec<Place> = other.totals.iter().map(|(slot, n)| self.add_total(*slot, *n)).collect();
        for (counter, theirs) in other.keys.iter().enumerate() {
            // There are at most 1,000 counters.
            let ours = self.keys_of(counter as u16);
            let ids: Vec<KeyId> = (0..theirs.rows.len()).map(|id| ours.id(theirs.text(KeyId(id as u32)))).collect();
            let added =
                theirs.cells().filter(|(id, place, n)| ours.add(ids[id.0 as usize], places[*place as usize], *n));
            let added = added.count();
            self.cells += added;
        }
        for ((place, id), extra) in other.extras.iter() {
            let (counter, ours) = (other.totals[*place as usize].0.counter, places[*place as usize]);
            let id = id.map(|id| self.id(counter, other.keys[usize::from(counter)].text(id)));
            self.cells += self.extras.merge((ours, id), extra);
        }
    }

    /// Distinct numbers that a flush of this writes: one per bucket, and one per key in it.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// Whether there is nothing to add.
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// All buckets, gathered from the keys; in no order.
    pub fn buckets(&self) -> Vec<Bucket<'_>> {
        let empty = |((slot, total), place): (&(Slot, u64), Place)| Bucket {
            slot: *slot,
            total: *total,
            measure: self.extras.of((place, None)),
            keys: Vec::new(),
        };
        let mut buckets: Vec<_> = self.totals.iter().zip(0..).map(empty).collect();
        for keys in &self.keys {
            for (id, place, count) in keys.cells() {
                let spot: Spot = (place, Some(id));
                let keyed = Keyed { key: keys.text(id), count, measure: self.extras.of(spot) };
                buckets[place as usize].keys.push(keyed);
            }
        }
        buckets
    }
}

impl PartialEq for Deltas {
    /// Whether both add the same: ids are nobody else's business.
    fn eq(&self, other: &Deltas) -> bool {
        type Sorted<'a> = BTreeMap<Slot, (u64, Measure<'a>, BTreeMap<&'a str, (u64, Measure<'a>)>)>;
        fn sorted(deltas: &Deltas) -> Sorted<'_> {
            let mut sorted = Sorted::new();
            for Bucket { slot, total, measure, keys } in deltas.buckets() {
                let keys = keys.into_iter().map(|keyed| (keyed.key, (keyed.count, keyed.measure)));
                sorted.insert(slot, (total, measure, keys.collect()));
            }
            sorted
        }
        sorted(self) == sorted(other)
    }
}

impl Eq for Deltas {}

#[cfg(test)]
mod tests {
    use super::super::registers::Raise;
    use super::*;
    use proptest::prelude::*;

    type Added = (u16, i64, Option<u8>, u64);

    /// Counter 0 counts, 1 sums, 2 tells apart.
    fn gathered(adds: &[Added]) -> Deltas {
        let mut deltas = Deltas::default();
        for (counter, start, key, n) in adds {
            let key = key.map(|k| k.to_string());
            let slot = Slot { counter: *counter, window: 0, start: *start };
            let member = format!("m{}", n % 50);
            let measured = match counter {
                0 => {
                    deltas.add(slot, key.as_deref(), *n);
                    continue;
                }
                1 => Measured::Amount(*n as i64 - 500),
                _ => Measured::Member(Raise::of(member.as_bytes()), &member),
            };
            let id = key.map(|key| deltas.id(*counter, &key));
            deltas.add_event(slot, id, measured);
        }
        deltas
    }

    fn adds() -> impl Strategy<Value = Vec<Added>> {
        prop::collection::vec((0_u16..3, 0_i64..8, prop::option::of(0_u8..6), 1_u64..1_000), 0..60)
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
            let cells = |measure: Measure<'_>| match measure {
                Measure::Count => 1,
                Measure::Amounts(_) => 2,
                Measure::Members(members) => 1 + members.len(),
            };
            let of_keys = |bucket: &Bucket<'_>| bucket.keys.iter().map(|keyed| cells(keyed.measure)).sum::<usize>();
            let counted: usize = deltas.buckets().iter().map(|bucket| cells(bucket.measure) + of_keys(bucket)).sum();
            prop_assert_eq!(deltas.cells(), counted);
        }
    }
}
