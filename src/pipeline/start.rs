//! Where a partition starts: one rule for an assignment, a conflict and an error of the consumer.

use super::OnGap;
use crate::counter::{Fingerprint, Gap, Segment};
use crate::log::Extent;
use crate::store::StoredPartition;

/// What the store and the log know of a partition.
#[derive(Debug, Clone)]
pub struct Located {
    /// What the store holds of it.
    pub stored: Option<StoredPartition>,
    /// What the log holds of it.
    pub extent: Extent,
    /// The record that was counted last is still what it was, or no longer in the log.
    pub same_record: bool,
    /// And so is the one that was the last at an earlier look.
    pub same_log: bool,
    /// The first record that is younger than the one counted last. Looked up when the offsets do not go on.
    pub younger: Option<i64>,
    /// Time of the first record behind a gap, in ms; of the look-up when there is none.
    pub resumes_ms: i64,
}

/// What a running partition knows of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Under which generation.
    pub generation: u64,
    /// End of everything merged.
    pub position: i64,
    /// A record that was counted before the log was last compared.
    pub anchor: Option<Fingerprint>,
    /// The last record that was counted: the next anchor. Until it has been compared it may be of another log.
    pub newest: Option<Fingerprint>,
}

impl Known {
    /// Whether the log ended before what was read of it. The extent was asked for later.
    pub fn is_cut(&self, extent: &Extent) -> bool {
        extent.end < self.position
    }
}

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At this offset.
    At(i64),
    /// Records are gone that were never counted.
    Behind(Missing),
}

/// Records that were never counted and are gone, and how to go on without them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What happened.
    what: String,
    /// The offsets: "100-249", or "100-" when nobody knows how many there were.
    pub offsets: String,
    /// Where the log goes on.
    pub resume: i64,
    /// How many are known to be lost.
    pub lost: u64,
    /// The log behind them is another one than the one that was counted.
    pub in_another_log: bool,
    /// Nothing that was counted stands behind `resume`. Else only a person can know.
    certain: bool,
}

impl Missing {
    /// Whether to go on without asking.
    pub fn is_passed(&self, accepted: bool, on_gap: OnGap) -> bool {
        accepted || on_gap == OnGap::Continue && self.certain
    }

    /// What happened, and what to do.
    pub fn reason(&self) -> String {
        let Missing { what, resume, lost, .. } = self;
        let lost = if *lost > 0 { format!(" and note {lost} records as lost") } else { String::new() };
        format!("{what}: bring them back, or run `streamgauge accept-gap` to go on at offset {resume}{lost}")
    }
}

impl Located {
    /// By a look-up at `now_ms` that found nothing against the records.
    pub fn at(now_ms: i64, stored: Option<StoredPartition>, extent: Extent) -> Located {
        Located { stored, extent, same_record: true, same_log: true, younger: None, resumes_ms: now_ms }
    }

    /// The rule. `expected` says whether the store once held an offset.
    pub fn start(&self, expected: bool) -> Start {
        let Extent { start, end, committed, .. } = self.extent;
        // That it lost it is noted in the store itself, as long as nobody accepted that.
        let expected = expected || self.stored.as_ref().is_some_and(|stored| stored.condition.missing.is_some());
        match self.next() {
            Some(next) if !self.same_record || !self.same_log || next > end => Start::Behind(self.another_log(next)),
            Some(next) if next < start => Start::Behind(self.trimmed(next)),
            Some(next) => Start::At(next),
            None if !expected && committed.is_none() => Start::At(start),
            // The store lost this partition's counts together with its offset. What the log still has is counted
            // again; that is exact only if it has everything.
            None if start == 0 => Start::At(0),
            None => Start::Behind(self.forgotten()),
        }
    }

    fn next(&self) -> Option<i64> {
        self.stored.as_ref().and_then(|stored| stored.next_offset)
    }

    /// Whether the store holds what was counted of this record. When it went back to before, the record says nothing
    /// of the log that it was counted from.
    pub fn counts(&self, record: &Fingerprint) -> bool {
        self.next().is_some_and(|next| record.offset < next)
    }

    /// The time of the record that was counted last, if it has one.
    pub fn last_time_ms(&self) -> Option<i64> {
        let last = self.stored.as_ref()?.fingerprint?;
        (last.time_ms >= 0).then_some(last.time_ms)
    }

    fn trimmed(&self, next: i64) -> Missing {
        let Extent { partition, start, .. } = self.extent;
        let offsets = format!("{next}-{}", start - 1);
        let what =
            format!("offsets {offsets} of partition {partition} are no longer in the topic and were never counted");
        Missing { what, offsets, resume: start, lost: start.abs_diff(next), in_another_log: false, certain: true }
    }

    fn forgotten(&self) -> Missing {
        let Extent { partition, start, .. } = self.extent;
        let offsets = format!("0-{}", start - 1);
        let what = format!(
            "the store lost the counts of partition {partition}, and offsets {offsets} are no longer in the topic to \
             count them again"
        );
        Missing { what, offsets, resume: start, lost: start.unsigned_abs(), in_another_log: false, certain: true }
    }

    /// The topic was made anew, or it was cut off below what was counted and written on.
    fn another_log(&self, next: i64) -> Missing {
        let Extent { partition, end, .. } = self.extent;
        // The record that was counted last is of the log that is there, so the end that was noted is, too.
        let unseen = self.same_record && next <= end;
        let old_end = self.stored.as_ref().and_then(|stored| stored.condition.high_watermark).filter(|_| !unseen);
        let lost = old_end.map_or(0, |old_end| (old_end - next).max(0).unsigned_abs());
        let offsets = if lost == 0 { format!("{next}-") } else { format!("{next}-{}", old_end.unwrap_or(next) - 1) };
        // What is younger than the last record counted was not counted, whatever its offset.
        let (resume, certain) = match self.younger {
            _ if unseen => (next, false),
            Some(younger) => (younger.min(end), true),
            None => (end, false),
        };
        let what = if next > end {
            format!(
                "partition {partition} ends at offset {end}, but was counted up to {next}: the topic was made anew or cut, and offsets {offsets} of the old one are gone"
            )
        } else {
            format!(
                "offset {} of partition {partition} holds another record than the one that was counted: the topic was made anew or cut, and offsets {offsets} of the old one are gone",
                next - 1
            )
        };
        Missing { what, offsets, resume, lost, in_another_log: true, certain }
    }

    /// The segment that leads across what is missing.
    pub fn across(&self, missing: &Missing) -> Segment {
        let stored = self.stored.as_ref();
        let (from, resume) = (self.next().unwrap_or(0), missing.resume);
        let ledger = stored.map(|stored| stored.ledger).unwrap_or_default();
        let explained = [ledger.consumed, ledger.skipped, ledger.lost, missing.lost].iter().sum::<u64>();
        let until_ms = self.resumes_ms;
        let since_ms = stored.and_then(|stored| stored.watermark_ms).unwrap_or(0);
        let gap = Gap {
            start_offset: resume - i64::try_from(explained).unwrap_or(i64::MAX),
            missing_ms: (since_ms.min(until_ms), until_ms),
        };
        Segment::across(gap, from, resume, missing.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::Ledger;
    use crate::store::{Condition, PartitionState};

    fn located(next: Option<i64>, start: i64, end: i64, committed: Option<i64>) -> Located {
        let condition = Condition {
            state: PartitionState::Running,
            reason: None,
            missing: None,
            high_watermark: Some(12),
            partitions: 1,
        };
        let stored = StoredPartition {
            start_offset: next.map(|_| 0),
            next_offset: next,
            watermark_ms: Some(7_000),
            fingerprint: None,
            ledger: Ledger { consumed: next.unwrap_or(0).unsigned_abs(), ..Ledger::default() },
            lost_ms: None,
            gap_accepted: false,
            condition,
            updated_at_ms: 0,
        };
        Located::at(9_000, Some(stored), Extent { partition: 3, start, end, committed })
    }

    fn missing(located: &Located, expected: bool) -> Missing {
        match located.start(expected) {
            Start::Behind(missing) => missing,
            Start::At(offset) => panic!("starts at {offset}"),
        }
    }

    /// Behind the gap the ledger explains every offset.
    fn crossed(located: &Located, missing: &Missing) -> Segment {
        let segment = located.across(missing);
        let mut ledger = located.stored.as_ref().unwrap().ledger;
        ledger.add(&segment.ledger);
        let gap = segment.gap.unwrap();
        let offsets = ledger.consumed + ledger.skipped + ledger.lost;
        assert_eq!(segment.to - gap.start_offset, offsets as i64);
        segment
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
    fn what_retention_took_is_named_and_lost_when_accepted() {
        let gap = located(Some(4), 6, 10, None);
        let missing = missing(&gap, false);
        assert!(missing.reason().contains("offsets 4-5 of partition 3"), "{}", missing.reason());
        assert!(!missing.is_passed(false, OnGap::Stop) && missing.is_passed(false, OnGap::Continue));
        let segment = crossed(&gap, &missing);
        assert_eq!((segment.from, segment.to, segment.ledger.lost), (4, 6, 2));
        assert_eq!(segment.gap.unwrap(), Gap { start_offset: 0, missing_ms: (7_000, 9_000) });
    }

    #[test]
    fn a_topic_made_anew_is_counted_from_its_first_younger_record() {
        for (next, end) in [(11, 10), (8, 10)] {
            let anew = Located { same_record: next > end, younger: Some(0), ..located(Some(next), 0, end, None) };
            let missing = missing(&anew, false);
            assert!(missing.reason().contains("made anew"));
            assert!(missing.is_passed(false, OnGap::Continue));
            assert_eq!((missing.resume, missing.lost), (0, (12 - next) as u64));
            crossed(&anew, &missing);
        }
    }

    #[test]
    fn a_log_that_ends_too_early_for_no_known_reason_needs_a_person() {
        let short = located(Some(11), 0, 10, None);
        let missing = missing(&short, true);
        assert!(!missing.is_passed(false, OnGap::Continue) && missing.is_passed(true, OnGap::Stop));
        assert_eq!(crossed(&short, &missing).to, 10);
    }

    #[test]
    fn a_log_that_was_exchanged_unseen_goes_on_where_it_is_when_accepted() {
        let exchanged = Located { same_log: false, younger: Some(9), ..located(Some(8), 0, 10, None) };
        let missing = missing(&exchanged, true);
        assert!(!missing.is_passed(false, OnGap::Continue));
        let segment = crossed(&exchanged, &missing);
        // It leads nowhere, so a repeated flush of it cannot be told: it must add nothing.
        assert_eq!((segment.from, segment.to, segment.ledger.lost), (8, 8, 0));
    }

    #[test]
    fn a_store_that_lost_its_counts_is_filled_again_only_from_a_whole_log() {
        assert_eq!(located(None, 0, 10, Some(6)).start(false), Start::At(0));
        assert_eq!(located(None, 0, 10, None).start(true), Start::At(0));
        assert!(missing(&located(None, 5, 10, Some(6)), false).reason().contains("offsets 0-4"));
        let gap = located(None, 5, 10, None);
        let missing = missing(&gap, true);
        assert!(missing.reason().contains("lost the counts"));
        let segment = crossed(&gap, &missing);
        assert_eq!((segment.from, segment.to, segment.gap.unwrap().start_offset), (0, 5, 0));
        // Whoever comes next finds that nobody has accepted it.
        let mut noted = gap;
        noted.stored.as_mut().unwrap().condition.missing = Some(missing.offsets);
        assert!(matches!(noted.start(false), Start::Behind(_)));
    }
}
