/// What became of one record. Each consumed record has exactly one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It added to at least one window.
    Counted,
    /// The same event id stood in the same partition within the dedupe horizon.
    Duplicate,
    /// No counter wants it.
    Filtered,
    /// Every window that wanted it is past its retention.
    Expired,
    /// It cannot be read as an event.
    DeadLettered,
}

impl Outcome {
    /// All of them, in the order in which they are decided.
    pub const ALL: [Outcome; 5] =
        [Outcome::DeadLettered, Outcome::Duplicate, Outcome::Filtered, Outcome::Expired, Outcome::Counted];

    /// The name in the store, in the API and as a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Counted => "counted",
            Outcome::Duplicate => "duplicate",
            Outcome::Filtered => "filtered",
            Outcome::Expired => "expired",
            Outcome::DeadLettered => "dead_lettered",
        }
    }
}

/// Where every offset of a partition went.
///
/// Two identities hold at every flush: `consumed` is the sum of the five outcomes, and
/// `next_offset - start_offset` is `consumed + skipped + lost`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ledger {
    /// Records read, counted where they are polled and not as the sum of the outcomes.
    pub consumed: u64,
    /// See [`Outcome::Counted`].
    pub counted: u64,
    /// See [`Outcome::Duplicate`].
    pub duplicate: u64,
    /// See [`Outcome::Filtered`].
    pub filtered: u64,
    /// See [`Outcome::Expired`].
    pub expired: u64,
    /// See [`Outcome::DeadLettered`].
    pub dead_lettered: u64,
    /// Offsets without a record: control records and compaction.
    pub skipped: u64,
    /// Offsets whose records were gone before they could be counted, in gaps that somebody accepted.
    pub lost: u64,
}

impl Ledger {
    /// Notes the outcome of one record. `consumed` is not touched: it is counted where records are polled.
    pub fn note(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Counted => &mut self.counted,
            Outcome::Duplicate => &mut self.duplicate,
            Outcome::Filtered => &mut self.filtered,
            Outcome::Expired => &mut self.expired,
            Outcome::DeadLettered => &mut self.dead_lettered,
        } += 1;
    }

    /// Adds another ledger to this one.
    pub fn add(&mut self, other: &Ledger) {
        for ((_, mine), (_, theirs)) in self.fields_mut().into_iter().zip(other.fields()) {
            *mine += theirs;
        }
    }

    /// The count of one outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Counted => self.counted,
            Outcome::Duplicate => self.duplicate,
            Outcome::Filtered => self.filtered,
            Outcome::Expired => self.expired,
            Outcome::DeadLettered => self.dead_lettered,
        }
    }

    /// Records and offsets that the ledger does not explain, both identities together. 0, or something is wrong.
    ///
    /// `offsets` is `next_offset - start_offset`.
    pub fn unaccounted(&self, offsets: i64) -> u64 {
        let outcomes: u64 = Outcome::ALL.iter().map(|o| self.of(*o)).sum();
        let explained = i128::from(self.consumed) + i128::from(self.skipped) + i128::from(self.lost);
        let gap = (i128::from(offsets) - explained).unsigned_abs();
        self.consumed.abs_diff(outcomes).saturating_add(u64::try_from(gap).unwrap_or(u64::MAX))
    }

    /// Names and values, in the order in which they are stored.
    pub fn fields(&self) -> [(&'static str, u64); 8] {
        [
            ("consumed", self.consumed),
            ("counted", self.counted),
            ("duplicate", self.duplicate),
            ("filtered", self.filtered),
            ("expired", self.expired),
            ("dead_lettered", self.dead_lettered),
            ("skipped", self.skipped),
            ("lost", self.lost),
        ]
    }

    /// Names and places of the values, in the order of [`Ledger::fields`].
    pub fn fields_mut(&mut self) -> [(&'static str, &mut u64); 8] {
        [
            ("consumed", &mut self.consumed),
            ("counted", &mut self.counted),
            ("duplicate", &mut self.duplicate),
            ("filtered", &mut self.filtered),
            ("expired", &mut self.expired),
            ("dead_lettered", &mut self.dead_lettered),
            ("skipped", &mut self.skipped),
            ("lost", &mut self.lost),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_adds_up_leaves_nothing_unaccounted() {
        let mut ledger = Ledger { consumed: 5, skipped: 2, lost: 3, ..Ledger::default() };
        Outcome::ALL.into_iter().for_each(|o| ledger.note(o));
        assert_eq!(ledger.unaccounted(10), 0);
        assert_eq!(ledger.unaccounted(12), 2);
        ledger.note(Outcome::Counted);
        assert_eq!(ledger.unaccounted(10), 1);
    }
}
