//! Takes partitions of two processors, one of them often a zombie, through random orders of batches, flushes, lost
//! replies, conflicts, rollbacks, revocations and crashes over a simulated log and store. In the end the store must
//! hold exactly what the log below its offset adds up to.

use super::{Answer, Located, Merged, Next, OnGap, Partition, Start};
use crate::counter::{Ledger, Outcome, Segment, Slot};
use crate::log::Extent;
use crate::store::{PartitionFlush, StoredPartition};
use crate::window::Watermark;
use proptest::prelude::*;

const CAP: usize = 4;

/// The simulated store: one partition, one count per key.
#[derive(Debug, Clone, Default)]
struct Store {
    partition: Option<StoredPartition>,
    counts: std::collections::BTreeMap<String, u64>,
}

impl Store {
    fn next(&self) -> Option<i64> {
        self.partition.as_ref().and_then(|p| p.next_offset)
    }

    fn flush(&mut self, part: &PartitionFlush) -> Answer {
        if self.next() != part.expected {
            return Answer::Stored(self.next());
        }
        let Some(segment) = &part.segment else { return Answer::Applied };
        for (_, bucket) in segment.deltas.iter() {
            for (key, n) in &bucket.keys {
                *self.counts.entry(key.to_string()).or_default() += n;
            }
        }
        let before = self.partition.as_ref();
        let mut ledger = before.map_or_else(Ledger::default, |p| p.ledger);
        ledger.add(&segment.ledger);
        self.partition = Some(StoredPartition {
            start_offset: before.and_then(|p| p.start_offset).or(Some(segment.from)),
            next_offset: Some(segment.to),
            watermark_ms: segment.watermark.ms(),
            fingerprint: None,
            ledger,
            lost_ms: None,
            gap_accepted: false,
            condition: part.condition.clone(),
            updated_at_ms: 0,
        });
        Answer::Applied
    }
}

/// The simulated log: record `n` is a dead letter when it says so, and offsets may hold no record.
#[derive(Debug, Clone, Copy)]
enum Entry {
    Event(u8),
    Bad,
    Control,
}

fn add(segment: &mut Segment, offset: i64, entry: Entry) -> Option<i64> {
    match entry {
        Entry::Control => None,
        Entry::Event(key) => {
            segment.consume(offset);
            segment.ledger.note(Outcome::Counted);
            segment.deltas.add(Slot { counter: 0, window: 0, start: 0 }, Some(&key.to_string()), 1);
            segment.watermark.raise(Watermark::at(offset));
            None
        }
        Entry::Bad => {
            segment.consume(offset);
            segment.ledger.note(Outcome::DeadLettered);
            Some(offset)
        }
    }
}

/// One processor: a partition and its reader.
struct Processor {
    partition: Partition,
    reading: Option<(u64, i64)>,
    letters: Vec<(u64, i64)>,
}

impl Processor {
    fn new(generation: u64) -> Processor {
        Processor { partition: Partition::assigned(0, generation << 32), reading: None, letters: Vec::new() }
    }

    fn locate(&mut self, store: &Store, end: i64) {
        if !self.partition.is_locating() {
            return;
        }
        let extent = Extent { partition: 0, start: 0, end, committed: None };
        if let Next::Start(offset) =
            self.partition.located(&Located::at(0, store.partition.clone(), extent), OnGap::Stop)
        {
            self.reading = Some((self.partition.generation(), offset));
        }
    }

    fn read(&mut self, log: &[Entry], many: usize) {
        let Some((generation, from)) = self.reading else { return };
        let mut batch = Segment::starting_at(from);
        let mut letters = Vec::new();
        for (offset, entry) in (from..).zip(log.iter().skip(from as usize)).take(many) {
            letters.extend(add(&mut batch, offset, *entry));
        }
        if batch.is_empty() {
            return;
        }
        let to = batch.to;
        match self.partition.merge(generation, batch, &letters, CAP) {
            Merged::Accepted => {
                self.reading = Some((generation, to));
                self.letters.extend(letters.into_iter().map(|offset| (generation, offset)));
            }
            Merged::Stale => self.reading = None,
        }
    }

    fn store_letters(&mut self) {
        for (generation, offset) in self.letters.drain(..) {
            self.partition.letters_stored(generation, &[offset]);
        }
    }

    fn flush(&mut self, store: &mut Store, reply: Reply) -> bool {
        let Some(part) = self.partition.due(1) else { return false };
        if let Some(segment) = &part.segment {
            assert!(self.letters.iter().all(|(_, letter)| !(segment.from..segment.to).contains(letter)));
        }
        if reply == Reply::NeverArrives {
            return false;
        }
        let answer = store.flush(&part);
        if reply == Reply::Lost {
            return false;
        }
        if self.partition.answered(answer) == Next::Locate {
            self.reading = None;
        }
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Fine,
    Lost,
    NeverArrives,
}

#[derive(Debug, Clone)]
enum Step {
    Locate(bool),
    Read(bool, usize),
    Letters(bool),
    Tick(bool),
    Flush(bool, Reply),
    Displaced(bool),
    Crash(bool),
    Revoke(bool),
    Snapshot,
    Rollback,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = any::<bool>;
    let reply = prop_oneof![4 => Just(Reply::Fine), 1 => Just(Reply::Lost), 1 => Just(Reply::NeverArrives)];
    let step = prop_oneof![
        3 => who().prop_map(Step::Locate),
        6 => (who(), 1_usize..6).prop_map(|(who, many)| Step::Read(who, many)),
        3 => who().prop_map(Step::Letters),
        4 => who().prop_map(Step::Tick),
        6 => (who(), reply).prop_map(|(who, reply)| Step::Flush(who, reply)),
        1 => who().prop_map(Step::Displaced),
        1 => who().prop_map(Step::Crash),
        1 => who().prop_map(Step::Revoke),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Rollback),
    ];
    prop::collection::vec(step, 1..120)
}

fn log() -> impl Strategy<Value = Vec<Entry>> {
    let entry = prop_oneof![8 => (0_u8..9).prop_map(Entry::Event), 1 => Just(Entry::Bad), 1 => Just(Entry::Control)];
    prop::collection::vec(entry, 1..60)
}

fn expected(log: &[Entry], below: i64) -> (std::collections::BTreeMap<String, u64>, Ledger) {
    let mut whole = Segment::starting_at(0);
    for (offset, entry) in (0..below).zip(log) {
        add(&mut whole, offset, *entry);
    }
    let keys = whole.deltas.iter().flat_map(|(_, bucket)| &bucket.keys);
    (keys.map(|(key, n)| (key.to_string(), *n)).collect(), whole.ledger)
}

fn check(store: &Store, log: &[Entry]) {
    let next = store.next().unwrap_or(0);
    let (counts, ledger) = expected(log, next);
    assert_eq!(store.counts, counts, "counts below offset {next}");
    if let Some(partition) = &store.partition {
        assert_eq!(partition.ledger, ledger);
        assert_eq!(ledger.unaccounted(next), 0);
    }
}

fn play(log: &[Entry], steps: &[Step]) -> Store {
    let (mut store, mut saved) = (Store::default(), Store::default());
    let mut processors = [Processor::new(1), Processor::new(2)];
    let end = log.len() as i64;
    for (n, step) in (3_u64..).zip(steps) {
        let on = |who: &bool| usize::from(*who);
        match step {
            Step::Locate(who) => processors[on(who)].locate(&store, end),
            Step::Read(who, many) => processors[on(who)].read(log, *many),
            Step::Letters(who) => processors[on(who)].store_letters(),
            Step::Tick(who) => processors[on(who)].partition.tick(),
            Step::Flush(who, reply) => {
                processors[on(who)].flush(&mut store, *reply);
            }
            Step::Displaced(who) => {
                let _ = processors[on(who)].partition.displaced();
            }
            Step::Crash(who) => processors[on(who)] = Processor::new(n),
            Step::Revoke(who) => {
                if processors[on(who)].partition.revoked() == Next::Release {
                    processors[on(who)] = Processor::new(n);
                }
            }
            Step::Snapshot => saved = store.clone(),
            Step::Rollback => store = saved.clone(),
        }
        check(&store, log);
    }
    finish(&mut store, log);
    store
}

/// A fresh processor gets everything done.
fn finish(store: &mut Store, log: &[Entry]) {
    let mut last = Processor::new(1 << 20);
    for _ in 0..1_000 {
        last.locate(store, log.len() as i64);
        last.read(log, 7);
        last.store_letters();
        last.partition.tick();
        while last.flush(store, Reply::Fine) {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn each_record_counts_exactly_once(log in log(), steps in steps()) {
        let store = play(&log, &steps);
        check(&store, &log);
        let records = log.iter().rposition(|e| !matches!(e, Entry::Control)).map_or(0, |last| last as i64 + 1);
        prop_assert_eq!(store.next().unwrap_or(0), records);
    }
}

fn located(next: Option<i64>) -> Located {
    let extent = Extent { partition: 0, start: 0, end: 100, committed: None };
    let stored = next.map(|next| {
        let mut store = Store::default();
        let segment = Segment { to: next, ..Segment::starting_at(0) };
        let part = PartitionFlush { segment: Some(segment.into()), ..Partition::assigned(0, 0).part_for_test() };
        assert_eq!(store.flush(&part), Answer::Applied);
        store.partition.unwrap()
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
        add(&mut batch, offset, Entry::Event(offset as u8));
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
    let letters: Vec<i64> = add(&mut bad, 0, Entry::Bad).into_iter().collect();
    assert_eq!(partition.merge(1, bad, &letters, CAP), Merged::Accepted);
    partition.tick();
    assert_eq!(partition.due(1), None);
    partition.letters_stored(1, &[0]);
    assert_eq!(partition.due(1).unwrap().segment.unwrap().to, 1);
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
