//! What the events of a bucket amount to, beside how many they are: for sums and for distinct counts.

use super::deltas::{KeyId, Place};
use super::measure::Measured;
use super::registers::Raise;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// Where something is measured: a bucket, or a key of it.
pub(super) type Spot = (Place, Option<KeyId>);

/// Numbers of events, added up. Scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amounts {
    /// All of them together.
    pub sum: i128,
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

impl Amounts {
    /// One alone.
    pub fn of(amount: i64) -> Amounts {
        Amounts { sum: amount.into(), min: amount, max: amount }
    }

    /// Adds the others.
    pub fn add(&mut self, others: &Amounts) {
        // A number has 18 digits, so it takes 10^20 of them to overflow.
        self.sum = self.sum.saturating_add(others.sum);
        self.min = self.min.min(others.min);
        self.max = self.max.max(others.max);
    }
}

/// Members of a set: of those that raise the same register only one of the highest, for the others change nothing.
#[derive(Debug, Clone, Default)]
pub struct Members(HashMap<u16, (u8, Box<str>)>);

impl Members {
    /// Whether the register stood at nothing before.
    fn add(&mut self, Raise { index, rank }: Raise, name: &str) -> bool {
        match self.0.entry(index) {
            Entry::Vacant(free) => {
                free.insert((rank, name.into()));
                return true;
            }
            Entry::Occupied(mut taken) if taken.get().0 < rank => *taken.get_mut() = (rank, name.into()),
            Entry::Occupied(_) => {}
        }
        false
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, and what it raises.
    pub fn iter(&self) -> impl Iterator<Item = (Raise, &str)> {
        self.0.iter().map(|(index, (rank, name))| (Raise { index: *index, rank: *rank }, &**name))
    }
}

impl PartialEq for Members {
    /// Whether both raise the same: which member does it is nobody's business.
    fn eq(&self, other: &Members) -> bool {
        self.len() == other.len()
            && self.0.iter().all(|(index, (rank, _))| other.0.get(index).is_some_and(|(theirs, _)| theirs == rank))
    }
}

impl Eq for Members {}

/// What events amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure<'a> {
    /// Nothing beside how many they are.
    Count,
    /// Numbers of theirs.
    Amounts(&'a Amounts),
    /// Members of a set.
    Members(&'a Members),
}

/// The same, kept.
#[derive(Debug, Clone)]
pub(super) enum Extra {
    Amounts(Amounts),
    Members(Members),
}

/// What is measured in each spot. Empty where all counters only count.
#[derive(Debug, Clone, Default)]
pub(super) struct Extras(HashMap<Spot, Extra>);

impl Extras {
    /// Adds what one event measures; answers how many numbers more a flush writes.
    pub(super) fn add(&mut self, spot: Spot, measured: Measured<'_>) -> usize {
        match measured {
            Measured::Nothing => 0,
            Measured::Amount(amount) => self.merge(spot, &Extra::Amounts(Amounts::of(amount))),
            Measured::Member(raise, name) => {
                match self.0.entry(spot).or_insert_with(|| Extra::Members(Members::default())) {
                    Extra::Members(members) => usize::from(members.add(raise, name)),
                    Extra::Amounts(_) => 0,
                }
            }
        }
    }

    /// Adds what other events amount to; answers as `add`.
    pub(super) fn merge(&mut self, spot: Spot, extra: &Extra) -> usize {
        let ours = match self.0.entry(spot) {
            Entry::Vacant(free) => {
                free.insert(extra.clone());
                return match extra {
                    Extra::Amounts(_) => 1,
                    Extra::Members(members) => members.len(),
                };
            }
            Entry::Occupied(taken) => taken.into_mut(),
        };
        match (ours, extra) {
            (Extra::Amounts(ours), Extra::Amounts(others)) => ours.add(others),
            (Extra::Members(ours), Extra::Members(others)) => {
                return others.iter().filter(|(raise, name)| ours.add(*raise, name)).count();
            }
            // A spot is of one counter, which measures in one way.
            _ => {}
        }
        0
    }

    pub(super) fn of(&self, spot: Spot) -> Measure<'_> {
        match self.0.get(&spot) {
            None => Measure::Count,
            Some(Extra::Amounts(amounts)) => Measure::Amounts(amounts),
            Some(Extra::Members(members)) => Measure::Members(members),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Spot, &Extra)> {
        self.0.iter()
    }
}
