//! Where a partition starts: one rule for an assignment, a conflict and an error of the consumer.

use crate::log::Extent;
use crate::store::StoredPartition;

/// What the store and the log know of a partition.
#[derive(Debug, Clone)]
pub struct Located {
    /// What the store holds of it.
    pub stored: Option<StoredPartition>,
    /// What the log holds of it.
    pub extent: Extent,
}

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At this offset.
    At(i64),
    /// Nowhere: records are gone that were never counted. The reason names them and what to do.
    Stop(String),
}

impl Located {
    /// The rule. `expected` says whether a segment of ours was based on a stored offset.
    pub fn start(&self, expected: bool) -> Start {
        let Extent { partition, start, end, committed } = self.extent;
        match self.stored.as_ref().and_then(|s| s.next_offset) {
            Some(next) if next < start => Start::Stop(format!(
                "offsets {next} to {} of partition {partition} are no longer in the topic and were never counted: \
                 to count on without them, count under a new store prefix and consumer group",
                start - 1
            )),
            Some(next) if next > end => Start::Stop(format!(
                "partition {partition} ends at offset {end}, but offsets up to {} were counted: the topic was made \
                 anew or cut; count it under a new store prefix and consumer group",
                next - 1
            )),
            Some(next) => Start::At(next),
            None if !expected && committed.is_none() => Start::At(start),
            // The store lost this partition's counts together with its offset. What the log still has is counted
            // again; that is exact only if it has everything.
            None if start == 0 => Start::At(0),
            None => Start::Stop(format!(
                "the store lost the counts of partition {partition}, and offsets 0 to {} are no longer in the topic \
                 to count them again: restore the store, or count under a new store prefix and consumer group",
                start - 1
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::Ledger;
    use crate::store::{Condition, PartitionState};

    fn located(next: Option<i64>, start: i64, end: i64, committed: Option<i64>) -> Located {
        let condition = Condition { state: PartitionState::Running, reason: None, high_watermark: None, partitions: 1 };
        let stored = StoredPartition {
            start_offset: next.map(|_| 0),
            next_offset: next,
            watermark_ms: None,
            fingerprint: None,
            ledger: Ledger::default(),
            condition,
            updated_at_ms: 0,
        };
        Located { stored: Some(stored), extent: Extent { partition: 3, start, end, committed } }
    }

    fn stop(located: &Located, expected: bool) -> String {
        match located.start(expected) {
            Start::Stop(reason) => reason,
            Start::At(offset) => panic!("starts at {offset}"),
        }
    }

    #[test]
    fn a_stored_offset_that_the_log_holds_is_where_it_goes_on() {
        for next in [5, 7, 10] {
            assert_eq!(located(Some(next), 5, 10, Some(6)).start(true), Start::At(next));
        }
    }

    #[test]
    fn a_new_partition_starts_at_the_beginning_of_the_log() {
        assert_eq!(located(None, 5, 10, None).start(false), Start::At(5));
        let unknown = Located { stored: None, ..located(None, 5, 10, None) };
        assert_eq!(unknown.start(false), Start::At(5));
    }

    #[test]
    fn a_gap_stops_it_and_names_the_missing_offsets() {
        assert!(stop(&located(Some(4), 5, 10, None), false).contains("offsets 4 to 4 of partition 3"));
        assert!(stop(&located(Some(11), 5, 10, None), false).contains("ends at offset 10"));
    }

    #[test]
    fn a_store_that_lost_its_counts_is_filled_again_only_from_a_whole_log() {
        assert_eq!(located(None, 0, 10, Some(6)).start(false), Start::At(0));
        assert_eq!(located(None, 0, 10, None).start(true), Start::At(0));
        assert!(stop(&located(None, 5, 10, Some(6)), false).contains("offsets 0 to 4"));
        assert!(stop(&located(None, 5, 10, None), true).contains("lost the counts"));
    }
}
