//! What is left to forward of a batch, and how much of it to hand over at once.

use crate::log::Queued;
use std::collections::VecDeque;

/// A batch on its way. The log may take a part of it; what it gives back is sent again, in order, before the rest. Where a
/// record is too large for the log, the part is halved until that one is alone.
#[derive(Debug)]
pub(super) struct Parcel {
    left: VecDeque<Queued>,
    at_once: usize,
}

impl Parcel {
    pub(super) fn new(batch: Vec<Queued>) -> Parcel {
        Parcel { at_once: batch.len(), left: batch.into() }
    }

    /// What to hand over now; nothing when all of it is through.
    pub(super) fn next(&mut self) -> Vec<Queued> {
        let most = self.at_once.min(self.left.len());
        self.left.drain(..most).collect()
    }

    /// All of it was stored.
    pub(super) fn stored(&mut self) {
        self.at_once = self.at_once.saturating_mul(2);
    }

    /// These were not stored.
    pub(super) fn failed(&mut self, records: Vec<Queued>) {
        records.into_iter().rev().for_each(|record| self.left.push_front(record));
    }

    /// Of so many that were handed over these were not stored, because one of them is too large. It is returned once it
    /// was alone.
    pub(super) fn too_large(&mut self, handed_over: usize, mut records: Vec<Queued>) -> Option<Queued> {
        if handed_over == 1 {
            return records.pop();
        }
        self.at_once = (records.len() / 2).max(1);
        self.failed(records);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::NewRecord;
    use proptest::prelude::*;

    fn queued(number: usize, large: bool) -> Queued {
        let record = NewRecord { key: None, value: Some(vec![u8::from(large)]), headers: Vec::new() };
        Queued { offset: number as i64, time_ms: None, record }
    }

    fn is_large(queued: &Queued) -> bool {
        queued.record.value == Some(vec![1])
    }

    proptest! {
        /// A log that refuses what comes from the first large record on, and now and then fails anywhere.
        #[test]
        fn all_arrive_in_order_but_the_large_ones(
            large in prop::collection::vec(prop::bool::weighted(0.05), 0..200),
            failures in prop::collection::vec(prop::option::weighted(0.2, 0..200_usize), 50),
        ) {
            let records: Vec<_> = large.iter().enumerate().map(|(n, large)| queued(n, *large)).collect();
            let mut parcel = Parcel::new(records.clone());
            let (mut stored, mut buried, mut rounds) = (Vec::new(), Vec::new(), 0);
            loop {
                let mut part = parcel.next();
                if part.is_empty() {
                    break;
                }
                let handed_over = part.len();
                let fails = failures.get(rounds).copied().flatten().filter(|at| *at < handed_over);
                rounds += 1;
                prop_assert!(rounds < 50 + 20 * (1 + large.iter().filter(|large| **large).count()));
                let refused = part.iter().position(is_large);
                let fails = fails.filter(|at| refused.is_none_or(|refused| *at <= refused));
                let end = fails.or(refused).unwrap_or(handed_over);
                let back = part.split_off(end);
                stored.extend(part);
                match (fails, refused) {
                    (Some(_), _) => parcel.failed(back),
                    (None, Some(_)) => buried.extend(parcel.too_large(handed_over, back)),
                    (None, None) => parcel.stored(),
                }
            }
            let expected: Vec<_> = records.iter().filter(|record| !is_large(record)).cloned().collect();
            prop_assert_eq!(stored, expected);
            prop_assert!(buried.iter().all(is_large));
            prop_assert_eq!(buried.len(), records.iter().filter(|record| is_large(record)).count());
        }
    }
}
