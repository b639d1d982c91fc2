//! Random histories of two writers, lost and repeated replies and rollbacks, on a store and on a model of it in
//! memory: after each step counts, offsets and ledgers are equal.

use super::conformance::{NOW_S, TOPIC, measuring, running, specs};
use super::testing::{Bench, EmbeddedBench, RedisBench, Snapshot};
use super::{CounterStore, Flush, Flushed, Keys, PartitionFlush, Read, StoredBucket, StoredValue};
use crate::counter::{Amounts, Counters, Fingerprint, Kind, Ledger, Measure, Measured, Raise, Segment, Slot, Spec};
use crate::window::Watermark;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

const HISTORIES: u32 = 2_000;
const PARTITIONS: i32 = 3;
const KEYS: [&str; 6] = ["", "\0", "a'b", "line\nbreak", "é", "{0}"];
/// Starts of buckets, relative to the beginning; some are past their retention before a history ends.
const STARTS: [i64; 3] = [-60, 0, 60];

#[derive(Debug, Clone)]
enum Step {
    /// A writer counts some more and flushes. Its reply may get lost: then it believes what it believed before.
    Flush { writer: usize, parts: Vec<Counted>, reply_lost: bool },
    /// A writer sends its last flush again.
    Repeat { writer: usize },
    /// The store is saved to disk.
    Save,
    /// The store restarts from what was saved.
    RollBack,
    /// Time passes, in seconds.
    Pass(i64),
}

/// What a writer counted of one partition.
#[derive(Debug, Clone)]
struct Counted {
    partition: i32,
    outcome: u8,
    skipped: i64,
    watermark: Option<i64>,
    /// Counter and window, start, key, count.
    events: Vec<(u8, usize, usize, u64)>,
}

fn step() -> impl Strategy<Value = Step> {
    let event = (0_u8..5, 0..STARTS.len(), 0..KEYS.len(), prop_oneof![1_u64..9, Just((1 << 53) + 1)]);
    let counted = (0..PARTITIONS, 0_u8..5, 0_i64..3, prop::option::of(-9_i64..9), prop::collection::vec(event, 0..6));
    let counted = counted.prop_map(|(partition, outcome, skipped, watermark, events)| Counted {
        partition,
        outcome,
        skipped,
        watermark,
        events,
    });
    let flush = (0..2_usize, prop::collection::vec(counted, 1..3), prop::bool::weighted(0.25));
    prop_oneof![
        8 => flush.prop_map(|(writer, parts, reply_lost)| Step::Flush { writer, parts, reply_lost }),
        2 => (0..2_usize).prop_map(|writer| Step::Repeat { writer }),
        1 => Just(Step::Save),
        1 => Just(Step::RollBack),
        1 => (1_i64..40).prop_map(Step::Pass),
    ]
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    total: u64,
    other: u64,
    keys: BTreeMap<String, u64>,
    /// Of all, and of each key.
    values: BTreeMap<Option<String>, Known>,
}

/// What was measured: few enough members that each is told apart.
#[derive(Debug, Clone, Default)]
struct Known {
    amounts: Option<Amounts>,
    members: BTreeSet<String>,
}

impl Known {
    fn add(&mut self, other: Known) {
        self.members.extend(other.members);
        match (&mut self.amounts, other.amounts) {
            (Some(ours), Some(others)) => ours.add(&others),
            (ours, others) => *ours = ours.or(others),
        }
    }

    fn of(measure: Measure<'_>) -> Option<Known> {
        match measure {
            Measure::Count => None,
            Measure::Amounts(amounts) => Some(Known { amounts: Some(*amounts), ..Known::default() }),
            Measure::Members(members) => {
                let members = members.iter().map(|(_, name)| name.to_owned()).collect();
                Some(Known { members, ..Known::default() })
            }
        }
    }

    fn value(&self) -> StoredValue {
        match self.amounts {
            Some(amounts) => StoredValue::Amounts(amounts),
            None => StoredValue::Distinct(self.members.len() as u64),
        }
    }
}

/// All kinds of counters.
fn all_specs() -> Vec<Spec> {
    [specs(), measuring()].concat()
}

/// Start, next, watermark, fingerprint and ledger.
type Partition = (i64, i64, Option<i64>, Option<Fingerprint>, Ledger);

/// What a store is, said as simply as possible.
#[derive(Debug, Clone, Default)]
struct Model {
    partitions: BTreeMap<i32, Partition>,
    buckets: BTreeMap<Slot, Bucket>,
}

impl Model {
    fn next(&self, partition: i32) -> Option<i64> {
        self.partitions.get(&partition).map(|stored| stored.1)
    }

    fn flush(&mut self, flush: &Flush, counters: &Counters) -> Option<Vec<(i32, Option<i64>)>> {
        let stored: Vec<_> = flush.parts.iter().map(|part| (part.partition, self.next(part.partition))).collect();
        if flush.parts.iter().zip(&stored).any(|(part, (_, next))| part.expected != *next) {
            return Some(stored);
        }
        let mut added: BTreeMap<Slot, Bucket> = BTreeMap::new();
        for part in &flush.parts {
            let segment = part.segment.as_deref().unwrap();
            let new = (segment.from, segment.from, None, None, Ledger::default());
            let stored = self.partitions.entry(part.partition).or_insert(new);
            stored.1 = segment.to;
            stored.2 = stored.2.max(segment.watermark.ms());
            stored.3 = segment.fingerprint.or(stored.3);
            stored.4.add(&segment.ledger);
            for bucket in segment.deltas.buckets() {
                let sum = added.entry(bucket.slot).or_default();
                sum.total += bucket.total;
                let mut note = |key: Option<&str>, measure| {
                    let known = sum.values.entry(key.map(str::to_owned)).or_default();
                    Known::of(measure).into_iter().for_each(|more| known.add(more));
                };
                note(None, bucket.measure);
                for keyed in bucket.keys {
                    note(Some(keyed.key), keyed.measure);
                    *sum.keys.entry(keyed.key.to_owned()).or_default() += keyed.count;
                }
            }
        }
        added.retain(|slot, _| is_kept(counters, *slot, flush.now_ms));
        added.into_iter().for_each(|(slot, bucket)| self.add(slot, bucket, counters));
        None
    }

    fn add(&mut self, slot: Slot, added: Bucket, counters: &Counters) {
        let most = counters.get(slot.counter).unwrap().spec().max_keys as usize;
        let (bucket, mut values) = (self.buckets.entry(slot).or_default(), added.values);
        bucket.total += added.total;
        let mut measured = |bucket: &mut Bucket, key: Option<String>| {
            let more = values.remove(&key).unwrap_or_default();
            bucket.values.entry(key).or_default().add(more);
        };
        measured(bucket, None);
        for (key, n) in added.keys {
            if bucket.keys.contains_key(&key) || bucket.keys.len() < most {
                measured(bucket, Some(key.clone()));
                *bucket.keys.entry(key).or_default() += n;
            } else {
                bucket.other += n;
            }
        }
    }
}

fn is_kept(counters: &Counters, slot: Slot, now_ms: i64) -> bool {
    counters.get(slot.counter).unwrap().windows()[usize::from(slot.window)].is_kept(slot.start, now_ms)
}

/// Where a writer believes each partition to stand, and what it sent last.
#[derive(Debug, Default)]
struct Writer {
    next: BTreeMap<i32, i64>,
    last: Option<Flush>,
}

struct World<'a> {
    bench: &'a dyn Bench,
    store: &'a dyn CounterStore,
    counters: &'a Counters,
    model: Model,
    saved: (Snapshot, Model),
    writers: [Writer; 2],
    now_s: i64,
}

impl World<'_> {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Flush { writer, parts, reply_lost } => {
                let flush = self.flush_of(writer, parts);
                self.writers[writer].last = Some(flush.clone());
                let answer = self.send(&flush).await;
                if !reply_lost {
                    self.writers[writer].learn(&flush, answer);
                }
            }
            Step::Repeat { writer } => {
                if let Some(flush) = self.writers[writer].last.clone() {
                    let answer = self.send(&flush).await;
                    self.writers[writer].learn(&flush, answer);
                }
            }
            Step::Save => self.saved = (self.bench.snapshot().await, self.model.clone()),
            Step::RollBack => {
                self.bench.restore(&self.saved.0).await;
                self.model = self.saved.1.clone();
            }
            Step::Pass(seconds) => self.now_s += seconds,
        }
    }

    fn flush_of(&self, writer: usize, mut parts: Vec<Counted>) -> Flush {
        parts.sort_by_key(|part| part.partition);
        parts.dedup_by_key(|part| part.partition);
        let parts = parts.into_iter().map(|counted| {
            let expected = self.writers[writer].next.get(&counted.partition).copied();
            let segment = Some(Arc::new(segment(expected.unwrap_or(0), &counted)));
            PartitionFlush { partition: counted.partition, expected, segment, condition: running() }
        });
        Flush { shard: 0, topic: TOPIC.into(), now_ms: self.now_s * 1_000, parts: parts.collect() }
    }

    async fn send(&mut self, flush: &Flush) -> Flushed {
        let flushed = self.store.flush(flush).await.unwrap();
        match (&flushed, self.model.flush(flush, self.counters)) {
            (Flushed::Applied { .. }, None) => {}
            (Flushed::Conflict(stored), Some(model)) => assert_eq!(stored, &model),
            (store, model) => panic!("the store says {store:?}, the model {model:?}"),
        }
        flushed
    }

    async fn compare(&self) {
        let partitions: Vec<_> = (0..PARTITIONS).collect();
        let stored = self.store.partitions(TOPIC, &partitions).await.unwrap();
        for (partition, stored) in partitions.into_iter().zip(stored) {
            let stored = stored.map(|p| {
                let (start, next) = (p.start_offset.unwrap(), p.next_offset.unwrap());
                assert_eq!(p.ledger.unaccounted(next - start), 0);
                (start, next, p.watermark_ms, p.fingerprint, p.ledger)
            });
            assert_eq!(stored.as_ref(), self.model.partitions.get(&partition));
        }
        for (counter, window) in [(0, 0), (0, 1), (1, 0), (2, 0), (3, 0)] {
            self.compare_buckets(counter, window).await;
        }
    }

    async fn compare_buckets(&self, counter: u16, window: u16) {
        let spec = self.counters.get(counter).unwrap();
        let slots = STARTS.map(|start| Slot { counter, window, start: NOW_S + start });
        // What is past its retention may be there or not.
        let slots: Vec<_> = slots.into_iter().filter(|s| is_kept(self.counters, *s, self.now_s * 1_000)).collect();
        let read = Read {
            counter: spec.name().into(),
            kind: spec.kind(),
            window: spec.windows()[usize::from(window)].label().into(),
            starts: slots.iter().map(|slot| slot.start).collect(),
            keys: Keys::All,
        };
        for (slot, mut bucket) in slots.iter().zip(self.store.read(&read).await.unwrap()) {
            bucket.keys.sort();
            let Bucket { total, other, keys, values } = self.model.buckets.get(slot).cloned().unwrap_or_default();
            let (mut value, mut of_keys) = (None, HashMap::new());
            for (key, known) in values.iter().filter(|_| spec.kind() != Kind::Count) {
                match key {
                    None => value = Some(known.value()),
                    Some(key) => drop(of_keys.insert(key.clone(), known.value())),
                }
            }
            let keys = keys.into_iter().collect();
            assert_eq!(bucket, StoredBucket { total, other, keys, value, values: of_keys }, "{slot:?}");
        }
    }
}

impl Writer {
    /// As the pipeline does: a stored offset is where it goes on, whoever brought it there.
    fn learn(&mut self, flush: &Flush, answer: Flushed) {
        let stored = match answer {
            Flushed::Applied { .. } => {
                flush.parts.iter().map(|p| (p.partition, p.segment.as_ref().map(|s| s.to))).collect()
            }
            Flushed::Conflict(stored) => stored,
        };
        for (partition, offset) in stored {
            match offset {
                Some(offset) => self.next.insert(partition, offset),
                None => self.next.remove(&partition),
            };
        }
    }
}

fn segment(from: i64, counted: &Counted) -> Segment {
    let mut segment = Segment::starting_at(from);
    for n in 0..counted.events.len() {
        segment.consume(segment.to + if n == 0 { counted.skipped } else { 0 });
        segment.ledger.note(crate::counter::Outcome::ALL[usize::from(counted.outcome)]);
    }
    if segment.to > from {
        segment.fingerprint = Some(Fingerprint::of(segment.to - 1, NOW_S, None, Some(&[counted.outcome])));
    }
    segment.watermark = counted.watermark.map_or(Watermark::NONE, Watermark::at);
    for (place, start, key, n) in &counted.events {
        let (counter, window, keyed) =
            [(0, 0, true), (0, 1, true), (1, 0, false), (2, 0, true), (3, 0, true)][usize::from(*place)];
        let slot = Slot { counter, window, start: NOW_S + STARTS[*start] };
        let member = format!("member {n}");
        let measured = match counter {
            2 => Measured::Amount(*n as i64 - 4),
            3 => Measured::Member(Raise::of(member.as_bytes()), &member),
            _ => {
                segment.deltas.add(slot, keyed.then_some(KEYS[*key]), *n);
                continue;
            }
        };
        let id = segment.deltas.id(counter, KEYS[*key]);
        segment.deltas.add_event(slot, Some(id), measured);
    }
    segment
}

async fn play(bench: &dyn Bench, store: &dyn CounterStore, counters: &Counters, history: Vec<Step>) {
    bench.restore(&Snapshot::new()).await;
    let (model, writers) = (Model::default(), <[Writer; 2]>::default());
    let saved = (Snapshot::new(), Model::default());
    let mut world = World { bench, store, counters, model, saved, writers, now_s: NOW_S };
    for step in history {
        world.step(step).await;
        world.compare().await;
    }
}

fn histories(bench: impl Future<Output = Box<dyn Bench>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = runtime.block_on(bench);
    let counters = Counters::new(all_specs()).unwrap();
    let store = runtime.block_on(bench.store(all_specs()));
    let mut runner = TestRunner::new(Config { cases: HISTORIES, failure_persistence: None, ..Config::default() });
    let result = runner.run(&prop::collection::vec(step(), 1..14), |history| {
        runtime.block_on(play(&*bench, &*store, &counters, history));
        Ok(())
    });
    result.unwrap();
}

#[test]
fn redis_is_as_the_model() {
    histories(async { Box::new(RedisBench::new(1).await) as Box<dyn Bench> });
}

#[test]
fn the_embedded_file_is_as_the_model() {
    histories(async { Box::new(EmbeddedBench::new()) as Box<dyn Bench> });
}
