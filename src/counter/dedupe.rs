use ahash::RandomState;
use hashbrown::HashTable;
use std::collections::VecDeque;

/// Stands for a record without an id.
const NONE: u128 = 0;
/// Into how many parts the horizon is divided to know how far back in time it reaches.
const MARKS: i64 = 32;

/// The event ids of the last `horizon` offsets of one partition.
///
/// By offset and not by time, so that what it answers is a function of the log, and its memory is known: 16 bytes for
/// each offset and 6 to 14 for each id. Ids are kept as 128-bit hashes under a key of this process, so nobody outside
/// can make two of them meet.
#[derive(Debug, Clone)]
pub struct Dedupe {
    horizon: i64,
    keys: [RandomState; 2],
    /// Offset of the first entry of `ids`.
    base: i64,
    /// One entry for each offset from `base` on.
    ids: VecDeque<u128>,
    /// For each id the last offset that had it, of which the lower 32 bits tell all within a horizon apart. Those before
    /// `base` stand for nothing; they are swept out together when there is no room: to look for each would cost as much
    /// as to look for an id.
    last: HashTable<u32>,
    /// Offsets and their record times, a part of the horizon apart.
    marks: VecDeque<(i64, i64)>,
}

impl Dedupe {
    /// Most offsets that a horizon may have.
    pub const LARGEST: u64 = 1 << 30;

    /// Knows nothing yet. A horizon of 0 switches it off; one above [`Dedupe::LARGEST`] is taken as that.
    pub fn new(horizon: u64) -> Dedupe {
        Dedupe {
            // It fits after the bound.
            horizon: horizon.min(Self::LARGEST) as i64,
            keys: [RandomState::new(), RandomState::new()],
            base: 0,
            ids: VecDeque::new(),
            last: HashTable::new(),
            marks: VecDeque::new(),
        }
    }

    /// Notes the record at `offset`, which must lie behind all noted before, and answers whether its id stood at most
    /// a horizon before it. `id` is absent for what has none and for what cannot be read.
    pub fn repeats(&mut self, offset: i64, time_ms: Option<i64>, id: Option<&str>) -> bool {
        if self.horizon == 0 {
            return false;
        }
        self.move_to(offset);
        time_ms.into_iter().for_each(|time_ms| self.mark(offset, time_ms));
        let hash = id.map_or(NONE, |id| self.hash(id));
        self.ids.push_back(hash);
        hash != NONE && self.note(offset, hash)
    }

    /// How far back in time it reaches, in ms.
    pub fn reaches_back_ms(&self) -> i64 {
        let (first, last) = (self.marks.front(), self.marks.back());
        first.zip(last).map_or(0, |((_, from), (_, to))| (to - from).max(0))
    }

    /// Forgets what lies more than a horizon before `offset`, and fills up to it: offsets in between had no record.
    fn move_to(&mut self, offset: i64) {
        let end = self.base + self.ids.len() as i64;
        if self.ids.is_empty() || offset - end >= self.horizon {
            self.ids.clear();
            self.last.clear();
            self.base = offset;
            return;
        }
        self.ids.extend((end..offset).map(|_| NONE));
        let forgotten = (offset - self.horizon - self.base).max(0);
        // Fewer than a horizon, so that there are as many.
        drop(self.ids.drain(..forgotten as usize));
        self.base += forgotten;
    }

    fn note(&mut self, offset: i64, hash: u128) -> bool {
        if self.last.len() == self.last.capacity() {
            self.sweep();
        }
        let Dedupe { base, ids, last, .. } = self;
        let low = *base as u32;
        let id_at = |at: u32| ids.get(at.wrapping_sub(low) as usize).copied().unwrap_or(NONE);
        if let Some(at) = last.find_mut(hash as u64, |at| id_at(*at) == hash) {
            *at = offset as u32;
            return true;
        }
        last.insert_unique(hash as u64, offset as u32, |at| id_at(*at) as u64);
        false
    }

    /// Throws out of `last` what stands for nothing, and makes room for an eighth more than is left.
    fn sweep(&mut self) {
        let Dedupe { base, ids, last, .. } = self;
        let low = *base as u32;
        last.retain(|at| (at.wrapping_sub(low) as usize) < ids.len());
        last.reserve(last.len() / 8 + 1, |at| ids.get(at.wrapping_sub(low) as usize).map_or(0, |id| *id as u64));
    }

    fn mark(&mut self, offset: i64, time_ms: i64) {
        let apart = (self.horizon / MARKS).max(1);
        if self.marks.back().is_none_or(|(last, _)| offset - last >= apart) {
            self.marks.push_back((offset, time_ms));
        }
        while self.marks.front().is_some_and(|(first, _)| *first < self.base) {
            self.marks.pop_front();
        }
    }

    fn hash(&self, id: &str) -> u128 {
        let [high, low] = &self.keys;
        let hash = u128::from(high.hash_one(id)) << 64 | u128::from(low.hash_one(id));
        hash.max(NONE + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule as it is written down, the slow way.
    fn by_the_rule(records: &[(i64, Option<u8>)], horizon: i64) -> Vec<bool> {
        let repeats = |n: usize| {
            let (offset, id) = records[n];
            id.is_some() && records[..n].iter().any(|(o, before)| *before == id && offset - o <= horizon)
        };
        (0..records.len()).map(repeats).collect()
    }

    fn answers(records: &[(i64, Option<u8>)], horizon: u64) -> Vec<bool> {
        let mut dedupe = Dedupe::new(horizon);
        let one = |(offset, id): &(i64, Option<u8>)| {
            let id = id.map(|id| format!("id-{id}"));
            dedupe.repeats(*offset, None, id.as_deref())
        };
        records.iter().map(one).collect()
    }

    fn records() -> impl Strategy<Value = Vec<(i64, Option<u8>)>> {
        let step = prop_oneof![20 => Just(1_i64), 2 => 2_i64..6, 1 => 6_i64..60];
        let first = prop_oneof![Just(0_i64), (i64::from(u32::MAX) - 50)..(i64::from(u32::MAX) + 50)];
        (first, prop::collection::vec((step, prop::option::weighted(0.8, 0_u8..12)), 0..200)).prop_map(
            |(first, records)| {
                let mut next = first;
                let place = |(step, id)| {
                    next += step;
                    (next, id)
                };
                records.into_iter().map(place).collect()
            },
        )
    }

    proptest! {
        #[test]
        fn it_answers_by_the_rule(records in records(), horizon in 0_u64..40) {
            prop_assert_eq!(answers(&records, horizon), by_the_rule(&records, horizon as i64));
        }

        /// What was read again before a start answers as if it had been counted from the beginning.
        #[test]
        fn a_horizon_that_is_read_again_is_as_good_as_all(records in records(), horizon in 0_u64..40, at in 0_usize..200) {
            let at = at.min(records.len());
            let start = records.get(at).map_or(0, |(offset, _)| *offset);
            let again: Vec<_> = records.iter().copied().filter(|(o, _)| start - o <= horizon as i64).collect();
            let warm = again.len() - (records.len() - at);
            prop_assert_eq!(&answers(&again, horizon)[warm..], &answers(&records, horizon)[at..]);
        }
    }

    #[test]
    fn it_knows_how_far_back_it_reaches() {
        let mut dedupe = Dedupe::new(320);
        for offset in 0..1_000 {
            dedupe.repeats(offset, Some(offset * 100), None);
        }
        let reach = dedupe.reaches_back_ms();
        assert!((30_000..=32_000).contains(&reach), "{reach}");
    }
}
