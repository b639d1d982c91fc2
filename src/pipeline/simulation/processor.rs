//! One simulated processor: the real registry with its partitions, and around it in small what `worker`, `locate`,
//! `letters`, `flusher` and `observer` do, in their order but one step at a time, so that anything can come between.

use super::group::Consumer;
use super::log::What;
use super::look_up::{LookUp, gap_of};
use super::planted::Planted;
use super::store::{Look, Piece, Request};
use super::world::{Outside, Reply};
use crate::counter::Counting;
use crate::log::{LogRecord, Notice};
use crate::pipeline::flusher::{answers, differs};
use crate::pipeline::letters::LetterBatch;
use crate::pipeline::partition::{Answer, Merged, Next, Partition};
use crate::pipeline::reading::{Batch, Place, Reading, Tail};
use crate::pipeline::registry::Registry;
use crate::pipeline::start::Located;
use crate::store::{Flush, Flushed, PartitionFlush};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where in its loop a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Obey,
    Read,
    Merge,
    Heed,
    Release,
}

enum Order {
    Start(Vec<Place>),
    /// As `worker::Order::Skip`, and the log in which there was no record.
    Skip(i32, Tail, usize),
}

struct Leaving {
    partitions: Vec<i32>,
    patience: usize,
}

pub(super) struct Worker {
    at: At,
    pub(super) consumer: Consumer,
    orders: VecDeque<Order>,
    assigned: BTreeSet<i32>,
    /// What is read, and the log that the open batch is of.
    reading: BTreeMap<i32, (Reading, usize)>,
    notices: Vec<Notice>,
    leaving: Vec<Leaving>,
}

/// A flush that waits for its answer.
struct Sent {
    request: Request,
    answer: Option<Flushed>,
}

pub(super) struct Processor {
    pub(super) id: usize,
    pub(super) registry: Registry,
    pub(super) workers: Vec<Worker>,
    pub(super) look_ups: Vec<LookUp>,
    letters: VecDeque<(LetterBatch, usize)>,
    /// By shard.
    sent: Vec<Option<Sent>>,
    /// What is merged and not dropped, as it was read: for the recount.
    pieces: BTreeMap<i32, Vec<Piece>>,
    looks: BTreeMap<i32, Look>,
    counting: Counting,
}

impl Processor {
    pub(super) fn new(id: usize, workers: usize, outside: &Outside) -> Processor {
        let worker = |_| Worker {
            at: At::Obey,
            consumer: Consumer::default(),
            orders: VecDeque::new(),
            assigned: BTreeSet::new(),
            reading: BTreeMap::new(),
            notices: Vec::new(),
            leaving: Vec::new(),
        };
        let registry = Registry::default();
        registry.set_topic_partitions(outside.topic.partitions.len() as i32);
        Processor {
            id,
            registry,
            workers: (0..workers).map(worker).collect(),
            look_ups: Vec::new(),
            letters: VecDeque::new(),
            sent: (0..outside.settings.shards).map(|_| None).collect(),
            pieces: BTreeMap::new(),
            looks: BTreeMap::new(),
            counting: Counting::new(outside.settings.counters.clone(), super::world::TIMING),
        }
    }

    // ------------------------------------------------------------------------------------------------ the worker

    /// The next step of a worker's loop.
    pub(super) fn work(&mut self, worker: usize, outside: &mut Outside) {
        let at = self.workers[worker].at;
        self.workers[worker].at = match at {
            At::Obey => {
                self.obey(worker, outside);
                At::Read
            }
            At::Read => {
                self.read(worker, outside);
                At::Merge
            }
            At::Merge => {
                let ids: Vec<i32> = self.workers[worker].reading.keys().copied().collect();
                ids.into_iter().for_each(|id| self.merge(worker, id, outside));
                At::Heed
            }
            At::Heed => {
                let notices = std::mem::take(&mut self.workers[worker].notices);
                notices.into_iter().for_each(|notice| self.heed(worker, notice, outside));
                At::Release
            }
            At::Release => {
                self.release(worker, outside);
                self.reclaim(worker);
                At::Obey
            }
        };
    }

    /// A whole turn of its loop, from wherever it is.
    pub(super) fn turn(&mut self, worker: usize, outside: &mut Outside) {
        (0..5).for_each(|_| self.work(worker, outside));
    }

    fn obey(&mut self, worker: usize, outside: &Outside) {
        let worker = &mut self.workers[worker];
        while let Some(order) = worker.orders.pop_front() {
            let places = match order {
                Order::Start(places) => places,
                Order::Skip(id, tail, seen) => {
                    if let Some((open, log)) = worker.reading.get_mut(&id)
                        && open.skip(&tail)
                    {
                        *log = seen;
                    }
                    continue;
                }
            };
            for mut place in places.into_iter().filter(|place| self.registry.is_current(place)) {
                if outside.planted == Some(Planted::HorizonNotReadAgain) {
                    place.read_from = place.offset;
                }
                worker.consumer.start(place.partition, place.read_from);
                let reading = Reading::at(place, outside.settings.horizon);
                worker.reading.insert(place.partition, (reading, 0));
            }
        }
    }

    fn read(&mut self, worker: usize, outside: &mut Outside) {
        let many = outside.random.below(7);
        let notices = self.workers[worker].consumer.notices(outside);
        self.workers[worker].notices = notices;
        let fetched: Vec<i32> = self.workers[worker].consumer.fetch.keys().copied().collect();
        for id in fetched {
            let newest = outside.topic.newest(id);
            for _ in 0..many {
                let Some(offset) = self.workers[worker].consumer.poll(id, &outside.topic) else { break };
                let Some((open, log)) = self.workers[worker].reading.get_mut(&id) else { continue };
                *log = newest;
                // The consumer only polls what is there.
                let Some(entry) = outside.topic.log(id).entry(offset).filter(|e| e.what != What::Hole) else { break };
                let value = entry.value.as_deref();
                let record =
                    LogRecord { partition: id, offset, time_ms: entry.time_ms, key: None, value, headers: None };
                open.take(&mut self.counting, &record, || 0);
                if open.cells() >= outside.settings.cap {
                    self.merge(worker, id, outside);
                }
            }
        }
    }

    fn merge(&mut self, worker: usize, id: i32, outside: &mut Outside) {
        let slot = self.workers[worker].reading.get_mut(&id);
        let Some((open, log)) = slot else { return };
        let Some(Batch { segment, letters }) = open.batch() else { return };
        let (place, log, from, to) = (*open.place(), *log, segment.from, segment.to);
        let offsets: Vec<i64> = letters.iter().map(|letter| letter.offset).collect();
        let (merged, _) = self.registry.merge(&place, segment, &offsets, outside.settings.cap);
        outside.tell(|| format!("  processor {} merges {id} [{from}, {to}) of log {log}: {merged:?}", self.id));
        match merged {
            Merged::Accepted => {
                if let Some(look) = self.looks.get(&id) {
                    let piece = Piece { log, from, to, look: *look, gap: None };
                    self.pieces.entry(id).or_default().push(piece);
                }
                if !letters.is_empty() {
                    self.letters.push_back((LetterBatch { generation: place.generation, letters }, log));
                }
            }
            Merged::Stale => _ = self.workers[worker].reading.remove(&id),
        }
    }

    fn heed(&mut self, worker: usize, notice: Notice, outside: &mut Outside) {
        outside.tell(|| format!("  processor {} worker {worker} heeds {notice:?}", self.id));
        match notice {
            Notice::Assigned(partitions) => {
                self.workers[worker].assigned.extend(&partitions);
                self.take(worker, partitions);
            }
            Notice::Revoked(partitions) => {
                for id in &partitions {
                    self.workers[worker].assigned.remove(id);
                    self.workers[worker].reading.remove(id);
                    self.registry.revoke(worker, *id);
                }
                let patience = outside.random.below(6);
                self.workers[worker].leaving.push(Leaving { partitions, patience });
            }
            Notice::Lost(partitions) => {
                for id in partitions {
                    self.workers[worker].assigned.remove(&id);
                    self.workers[worker].reading.remove(&id);
                    self.give_up(worker, id, outside);
                }
            }
            Notice::OutOfRange(partition) => {
                let ours = self.registry.ids_of(worker);
                for id in ours.into_iter().filter(|id| partition.is_none_or(|p| p == *id)) {
                    self.workers[worker].reading.remove(&id);
                    if self.registry.update_of(worker, id, Partition::displaced) == Some(Next::Locate) {
                        self.look_up(worker, vec![id]);
                    }
                }
            }
            Notice::Failed(_) | Notice::Fatal(_) => {}
        }
    }

    fn take(&mut self, worker: usize, partitions: Vec<i32>) {
        for id in &partitions {
            self.registry.assign(worker, *id);
            self.pieces.remove(id);
        }
        self.look_up(worker, partitions);
    }

    fn reclaim(&mut self, worker: usize) {
        let is_free = |id: &&i32| self.registry.worker_of(**id).is_none();
        let free: Vec<i32> = self.workers[worker].assigned.iter().filter(is_free).copied().collect();
        if !free.is_empty() {
            self.take(worker, free);
        }
    }

    fn release(&mut self, worker: usize, outside: &mut Outside) {
        let mut leaving = std::mem::take(&mut self.workers[worker].leaving);
        leaving.retain_mut(|group| {
            if group.patience > 0 && !group.partitions.iter().all(|id| self.registry.is_settled_of(worker, *id)) {
                group.patience -= 1;
                return true;
            }
            group.partitions.iter().for_each(|id| self.give_up(worker, *id, outside));
            false
        });
        self.workers[worker].leaving = leaving;
    }

    fn give_up(&mut self, worker: usize, id: i32, outside: &mut Outside) {
        self.registry.remove(worker, id);
        self.workers[worker].consumer.release(id);
        outside.group.released(id, (self.id, worker));
    }

    // ------------------------------------------------------------------------------------------------- look-ups

    fn look_up(&mut self, worker: usize, partitions: Vec<i32>) {
        self.look_ups.push(LookUp::of(worker, partitions));
    }

    /// The next step of a look-up.
    pub(super) fn locate(&mut self, index: usize, outside: &mut Outside) {
        if let Some(found) = self.look_ups[index].get_on(&self.registry, outside) {
            let LookUp { worker, .. } = self.look_ups.swap_remove(index);
            self.settle(worker, &found, outside);
        }
    }

    fn settle(&mut self, worker: usize, found: &[(Located, Look)], outside: &mut Outside) {
        let mut places = Vec::new();
        for (one, look) in found {
            let id = one.extent.partition;
            let on_gap = outside.settings.on_gap;
            let change = |p: &mut Partition| (p.was_stored(), p.located(one, on_gap), p.generation());
            let Some((expected, next, generation)) = self.registry.update_of(worker, id, change) else {
                continue;
            };
            outside.tell(|| format!("  processor {} settles {id}: {next:?} by {look:?} {:?}", self.id, one.extent));
            if let Next::Start(offset) = next {
                self.looks.insert(id, *look);
                self.pieces.insert(id, gap_of(one, look, expected).into_iter().collect());
                places.push(Place::of(one, generation, offset, outside.settings.horizon));
            }
        }
        self.workers[worker].orders.push_back(Order::Start(places));
    }

    /// What stopped a partition may have passed.
    pub(super) fn try_stopped(&mut self, worker: usize) {
        let mut ids = self.registry.ids_of(worker);
        ids.retain(|id| self.registry.look(*id, |p| p.stopped().is_some()).unwrap_or(false));
        if !ids.is_empty() {
            self.look_up(worker, ids);
        }
    }

    /// Whether the log is still the one that was counted.
    pub(super) fn check_log(&mut self, worker: usize, outside: &mut Outside) {
        for id in self.registry.ids_of(worker) {
            let Some(known) = self.registry.look(id, Partition::known).flatten() else { continue };
            let is_cut = known.is_cut(&outside.topic.extent(id));
            let is_another = is_cut || known.anchor.is_some_and(|anchor| outside.shows_another(id, &anchor));
            if self.registry.update(id, |p| p.compared(&known, is_another)) == Some(Next::Locate) {
                outside.tell(|| format!("  processor {} sees another log of {id}", self.id));
                self.look_up(worker, vec![id]);
            }
        }
    }

    /// Where the log ends.
    pub(super) fn look_at_ends(&self, outside: &Outside) {
        for id in self.registry.ids() {
            let (end, asked_ms) = (outside.topic.log(id).end(), outside.topic.clock_ms);
            self.registry.update(id, |p| p.ends_at(end, asked_ms, super::recount::LATENESS_MS));
        }
    }

    /// Whether what is left to read holds no record.
    pub(super) fn look_at_tails(&mut self, worker: usize, outside: &Outside) {
        for id in self.registry.ids_of(worker) {
            let Some(tail) = self.registry.look(id, Partition::tail).flatten() else { continue };
            let first = outside.topic.record(id, tail.from).map(|record| record.offset);
            if tail.is_empty(first, &outside.topic.extent(id)) {
                let log = outside.topic.newest(id);
                self.workers[worker].orders.push_back(Order::Skip(id, tail, log));
            }
        }
    }

    // ------------------------------------------------------------------------------------- letters and flushes

    /// Stores the next dead letters; the answer may get lost, then they are stored again.
    pub(super) fn store_letters(&mut self, answered: bool, outside: &mut Outside) {
        let Some((batch, log)) = self.letters.front() else { return };
        let Some(first) = batch.letters.first().map(|letter| letter.partition) else { return };
        let offsets: Vec<i64> = batch.letters.iter().map(|letter| letter.offset).collect();
        for offset in &offsets {
            outside.topic.dead.insert((first, outside.topic.first_with(first, *log, *offset), *offset));
        }
        if answered {
            self.registry.update(first, |p| p.letters_stored(batch.generation, &offsets));
            self.letters.pop_front();
        }
    }

    /// The flush interval has passed.
    pub(super) fn tick(&mut self, outside: &mut Outside) {
        self.registry.tick();
        (0..self.sent.len()).for_each(|shard| self.send(shard, outside));
        self.commit(outside);
    }

    /// Sends what is due to a shard, unless the last flush is still under way.
    pub(super) fn send(&mut self, shard: usize, outside: &mut Outside) {
        if self.sent[shard].is_some() {
            return;
        }
        let parts = self.registry.due(shard as u32, outside.settings.shards as u32, outside.settings.cap);
        if parts.is_empty() {
            return;
        }
        let pieces = parts.iter().map(|part| (part.partition, self.pieces_of(part))).collect();
        let now_ms = outside.topic.clock_ms;
        let flush = Flush { shard: shard as u32, topic: "simulated".into(), now_ms, parts };
        self.sent[shard] = Some(Sent { request: Request { flush, pieces }, answer: None });
    }

    fn pieces_of(&self, part: &PartitionFlush) -> Vec<Piece> {
        let Some(segment) = &part.segment else { return Vec::new() };
        let pieces = self.pieces.get(&part.partition).map_or(&[][..], Vec::as_slice);
        let within = |piece: &&Piece| match segment.gap {
            Some(_) => piece.gap.is_some(),
            None => piece.gap.is_none() && segment.from <= piece.from && piece.to <= segment.to,
        };
        let pieces: Vec<Piece> = pieces.iter().filter(within).copied().collect();
        match self.looks.get(&part.partition) {
            Some(look) if pieces.is_empty() => {
                vec![Piece { log: look.log, from: segment.from, to: segment.to, look: *look, gap: None }]
            }
            _ => pieces,
        }
    }

    /// What comes of a flush that is under way.
    pub(super) fn get_on(&mut self, shard: usize, reply: Reply, outside: &mut Outside) {
        let Some(mut sent) = self.sent[shard].take() else { return };
        match (reply, sent.answer.take()) {
            (Reply::Lost, answer) => {
                outside.tell(|| format!("  processor {}: no answer (arrived: {})", self.id, answer.is_some()));
                if answer.is_none() {
                    outside.late.push(sent.request.clone());
                }
                if outside.planted == Some(Planted::SentAgainWithOffsetReadAnew) {
                    outside.read_anew(&mut sent.request);
                    self.sent[shard] = Some(sent);
                }
            }
            (Reply::Arrives, None) => {
                sent.answer = outside.deliver(&sent.request);
                // No answer: the store crashed.
                self.sent[shard] = sent.answer.is_some().then_some(sent);
            }
            (Reply::Arrives, Some(answer)) => self.answered(shard, &sent.request.flush.parts, &answer, outside),
        }
    }

    fn answered(&mut self, shard: usize, parts: &[PartitionFlush], flushed: &Flushed, outside: &mut Outside) {
        match flushed {
            Flushed::Applied { .. } => parts.iter().for_each(|part| self.answer(part, Answer::Applied, outside)),
            Flushed::Conflict(stored) => {
                answers(parts, stored).for_each(|(part, answer)| self.answer(part, answer, outside));
                if !differs(parts, stored) {
                    return;
                }
            }
        }
        self.send(shard, outside);
    }

    fn answer(&mut self, part: &PartitionFlush, answer: Answer, outside: &mut Outside) {
        let id = part.partition;
        let Some(next) = self.registry.update(id, |p| p.answered(answer)) else { return };
        outside.tell(|| format!("  processor {} is answered {answer:?} for {id}: {next:?}", self.id));
        if next == Next::Locate
            && let Some(worker) = self.registry.worker_of(id)
        {
            self.look_up(worker, vec![id]);
        }
    }

    fn commit(&self, outside: &mut Outside) {
        for id in self.registry.ids() {
            if let Some(stored) = self.registry.look(id, Partition::stored).flatten() {
                outside.topic.committed[id as usize] = Some(stored);
            }
        }
    }

    /// Everything it still has on its way; it ends.
    pub(super) fn end(self, outside: &mut Outside) {
        let waiting = |sent: Sent| sent.answer.is_none().then_some(sent.request);
        outside.late.extend(self.sent.into_iter().flatten().filter_map(waiting));
    }
}
