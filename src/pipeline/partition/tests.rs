//! What a partition answers to single inputs. The simulator takes it through whole histories.

use super::*;
use crate::counter::{Outcome, Slot};
use crate::log::Extent;
use crate::store::StoredPartition;

const CAP: usize = 4;

fn located(next: Option<i64>) -> Located {
    let extent = Extent { partition: 0, start: 0, end: 100, committed: None };
    let stored = next.map(|next| StoredPartition {
        start_offset: Some(0),
        next_offset: Some(next),
        watermark_ms: None,
        fingerprint: None,
        ledger: Ledger { consumed: next.unsigned_abs(), counted: next.unsigned_abs(), ..Ledger::default() },
        lost_ms: None,
        gap_accepted: false,
        condition: Partition::assigned(0, 0).condition(1),
        updated_at_ms: 0,
    });
    Located::at(0, stored, extent)
}

fn running(next: Option<i64>) -> Partition {
    let mut partition = Partition::assigned(0, 1);
    assert_eq!(partition.located(&located(next), OnGap::Stop), Next::Start(next.unwrap_or(0)));
    partition
}

fn batch(from: i64, to: i64) -> Segment {
    let mut batch = Segment::starting_at(from);
    for offset in from..to {
        batch.consume(offset);
        batch.ledger.note(Outcome::Counted);
        batch.deltas.add(Slot { counter: 0, window: 0, start: 0 }, Some(&offset.to_string()), 1);
    }
    batch
}

#[test]
fn a_conflict_elsewhere_sends_the_same_part_again() {
    let mut partition = running(Some(10));
    assert_eq!(partition.merge(1, batch(10, 12), &[], CAP), Merged::Accepted);
    partition.tick();
    let first = partition.due(1).unwrap();
    assert_eq!(partition.answered(Answer::Stored(Some(10))), Next::Nothing);
    let again = partition.due(1).unwrap();
    assert_eq!(first.segment, again.segment);
    assert_eq!(partition.answered(Answer::Stored(Some(12))), Next::Nothing, "applied before: a reply was lost");
    assert_eq!(partition.stored(), Some(12));
}

#[test]
fn another_offset_drops_everything_and_looks_the_place_up_again() {
    let mut partition = running(Some(10));
    assert_eq!(partition.merge(1, batch(10, 12), &[], CAP), Merged::Accepted);
    partition.tick();
    partition.due(1).unwrap();
    assert_eq!(partition.answered(Answer::Stored(Some(11))), Next::Locate);
    assert_eq!(partition.pending_cells(), 0);
    assert_eq!(partition.merge(1, batch(12, 13), &[], CAP), Merged::Stale);
    assert_eq!(partition.located(&located(Some(11)), OnGap::Stop), Next::Start(11));
    assert_eq!(partition.merge(partition.generation(), batch(11, 13), &[], CAP), Merged::Accepted);
}

#[test]
fn a_segment_waits_for_its_dead_letters() {
    let mut partition = running(None);
    let mut bad = Segment::starting_at(0);
    bad.consume(0);
    bad.ledger.note(Outcome::DeadLettered);
    assert_eq!(partition.merge(1, bad, &[0], CAP), Merged::Accepted);
    partition.tick();
    assert_eq!(partition.due(1), None);
    partition.letters_stored(1, &[0]);
    assert_eq!(partition.due(1).unwrap().segment.unwrap().to, 1);
}

#[test]
fn a_partition_that_is_drained_still_waits_for_its_dead_letters() {
    for drain in [Partition::revoked, Partition::displaced] {
        let mut partition = running(Some(10));
        assert_eq!(partition.merge(1, batch(10, 12), &[11], CAP), Merged::Accepted);
        assert_eq!(drain(&mut partition), Next::Nothing);
        assert_eq!(partition.due(1), None);
        partition.letters_stored(1, &[11]);
        assert_eq!(partition.due(1).unwrap().segment.unwrap().to, 12);
    }
}

#[test]
fn a_letter_of_what_was_dropped_is_none_of_what_is_read_again() {
    let mut partition = running(Some(10));
    assert_eq!(partition.merge(1, batch(10, 12), &[11], CAP), Merged::Accepted);
    assert_eq!(partition.displaced(), Next::Nothing);
    assert_eq!(partition.answered(Answer::Stored(Some(11))), Next::Locate);
    assert_eq!(partition.located(&located(Some(11)), OnGap::Stop), Next::Start(11));
    assert_eq!(partition.merge(partition.generation(), batch(11, 12), &[11], CAP), Merged::Accepted);
    partition.letters_stored(1, &[11]);
    partition.tick();
    assert_eq!(partition.due(1), None);
}

#[test]
fn a_partition_read_to_its_end_is_complete_up_to_the_question() {
    let mut partition = running(Some(100));
    partition.ends_at(101, 9_000, 5_000);
    assert_eq!(partition.watermark().ms(), None, "a record is still to come");
    partition.ends_at(100, 9_000, 5_000);
    assert_eq!(partition.watermark().ms(), Some(4_000));
    partition.tick();
    let part = partition.due(1).unwrap();
    assert_eq!(part.segment.unwrap().watermark.ms(), Some(4_000));
}

#[test]
fn a_stopped_partition_says_why_and_takes_nothing() {
    let mut partition = Partition::assigned(0, 1);
    let gap = Located { extent: Extent { partition: 0, start: 50, end: 100, committed: None }, ..located(Some(10)) };
    assert!(matches!(gap.start(false), Start::Behind(_)));
    assert_eq!(partition.located(&gap, OnGap::Stop), Next::Nothing);
    assert_eq!(partition.merge(1, batch(50, 51), &[], CAP), Merged::Stale);
    partition.tick();
    let part = partition.due(1).unwrap();
    assert_eq!((part.expected, part.segment), (Some(10), None));
    assert!(part.condition.reason.unwrap().contains("offsets 10-49"));
    assert_eq!(partition.revoked(), Next::Release);
}

#[test]
fn a_displaced_partition_flushes_what_it_read_before_it_looks_again() {
    let mut partition = running(Some(10));
    assert_eq!(partition.merge(1, batch(10, 12), &[], CAP), Merged::Accepted);
    assert_eq!(partition.displaced(), Next::Nothing);
    assert_eq!(partition.merge(1, batch(12, 13), &[], CAP), Merged::Stale);
    assert_eq!(partition.due(1).unwrap().segment.unwrap().to, 12);
    assert_eq!(partition.answered(Answer::Applied), Next::Locate);
}

#[test]
fn a_partition_that_is_held_up_knows_what_is_stored_of_it() {
    let mut partition = Partition::assigned(0, 1);
    partition.held_up(&located(Some(10)), "no room".to_owned());
    let part = partition.due(1).unwrap();
    assert_eq!((part.expected, part.condition.reason.as_deref()), (Some(10), Some("no room")));
    assert_eq!(partition.answered(Answer::Applied), Next::Nothing);
    assert_eq!(partition.located(&located(Some(10)), OnGap::Stop), Next::Start(10));
}

#[test]
fn a_store_that_lost_its_counts_is_not_taken_for_a_new_one_at_the_second_look() {
    let mut partition = running(Some(10));
    partition.tick();
    partition.due(1).unwrap();
    assert_eq!(partition.answered(Answer::Stored(None)), Next::Locate);
    let emptied = Located { extent: Extent { partition: 0, start: 5, end: 100, committed: None }, ..located(None) };
    for _ in 0..2 {
        assert_eq!(partition.located(&emptied, OnGap::Stop), Next::Nothing);
        assert!(partition.stopped().unwrap().contains("offsets 0-4"));
    }
}

#[test]
fn a_pause_does_not_outlast_the_place() {
    let mut partition = running(Some(10));
    partition.pause(Some("too much"));
    assert_eq!(partition.displaced(), Next::Locate);
    assert_eq!(partition.located(&located(Some(10)), OnGap::Stop), Next::Start(10));
    assert!(!partition.is_paused());
}
