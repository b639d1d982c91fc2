//! A worker: one thread, one member of the consumer group. It reads, counts into open batches, merges them into the
//! registry and does what partitions and look-ups tell it. It decides nothing about offsets.

use super::letters::{LetterBatch, Letters};
use super::partition::{Merged, Next, Partition};
use super::{Shared, locate, now_ms};
use crate::counter::{Counted, Counting, Dedupe, Fingerprint, Segment};
use crate::log::{Consumer, DeadLetter, LogRecord, Notice};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// Longest wait for records; it bounds how late an order is obeyed.
const POLL: Duration = Duration::from_millis(100);
/// The same while partitions are being given up: others wait for them.
const POLL_LEAVING: Duration = Duration::from_millis(10);
/// Records between two looks at everything else.
const BATCH: usize = 10_000;
/// How long a revoked partition may take to flush before it is given up as it is.
const REVOKE: Duration = Duration::from_secs(1);
/// How long to wait for the store without polling before reading pauses: short beside every time-out of the group.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(500);
/// How long to wait before a partition that the client refused to start is tried again.
const RESTART: Duration = Duration::from_secs(1);
/// Dead letters that may wait to be stored, in bytes, before reading pauses.
const LETTER_BYTES: usize = 16 << 20;

/// Where counting of a partition begins, and under which generation its batches are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) generation: u64,
    pub(super) offset: i64,
    /// Where reading begins: a dedupe horizon before `offset`, as far as the log has it.
    pub(super) read_from: i64,
}

/// Tells a worker to read these partitions from there; it answers an assignment even when it is empty.
pub(super) struct Start(pub(super) Vec<Place>);

/// What others need of a worker.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) index: usize,
    pub(super) consumer: Arc<dyn Consumer>,
    pub(super) starts: Sender<Start>,
}

/// What a worker has read of a partition since its last merge.
struct Reading {
    place: Place,
    /// The next offset that is wanted: what lies before it was asked for by nobody.
    next: i64,
    dedupe: Dedupe,
    batch: Segment,
    letters: Vec<DeadLetter>,
}

struct Leaving {
    partitions: Vec<i32>,
    deadline: Instant,
}

/// See the module's documentation.
pub(super) struct Worker {
    shared: Arc<Shared>,
    handle: Handle,
    starts: Receiver<Start>,
    counting: Counting,
    letters: Letters,
    /// By partition number.
    reading: Vec<Option<Reading>>,
    leaving: Vec<Leaving>,
    /// Why reading waits, if it does.
    paused: Option<&'static str>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, handle: Handle, starts: Receiver<Start>, letters: Letters) -> Worker {
        let counting = Counting::new(shared.counters.clone(), shared.timing);
        Worker { shared, handle, starts, counting, letters, reading: Vec::new(), leaving: Vec::new(), paused: None }
    }

    /// Works until the shutdown begins. What was read by then is merged.
    pub(super) fn run(mut self) {
        while !self.shared.shutdown.has_begun() {
            self.obey();
            let notices = self.read();
            self.merge_all();
            for notice in notices {
                self.heed(notice);
            }
            self.release();
            self.hold_back();
        }
    }

    fn obey(&mut self) {
        while let Ok(Start(places)) = self.starts.try_recv() {
            let positions: Vec<(i32, i64)> = places.iter().map(|p| (p.partition, p.read_from)).collect();
            if let Err(error) = self.handle.consumer.start(&positions) {
                self.shared.report_log_error("cannot start partitions; they are looked up again", &error.to_string());
                positions.iter().for_each(|(id, _)| self.displaced(*id, RESTART));
                continue;
            }
            for place in places {
                let Ok(index) = usize::try_from(place.partition) else { continue };
                if self.reading.len() <= index {
                    self.reading.resize_with(index + 1, || None);
                }
                self.reading[index] = Some(Reading {
                    place,
                    next: place.read_from,
                    dedupe: Dedupe::new(self.shared.config.dedupe_horizon),
                    batch: Segment::starting_at(place.offset),
                    letters: Vec::new(),
                });
            }
            if let Some(reason) = self.paused {
                self.pause(&positions.iter().map(|(id, _)| *id).collect::<Vec<_>>(), Some(reason));
            }
        }
    }

    fn read(&mut self) -> Vec<Notice> {
        let Worker { shared, handle, counting, reading, letters, leaving, .. } = self;
        let timeout = if leaving.is_empty() { POLL } else { POLL_LEAVING };
        handle.consumer.poll(timeout, BATCH, &mut |record| {
            let slot = usize::try_from(record.partition).ok().and_then(|index| reading.get_mut(index));
            let Some(slot) = slot else { return };
            let Some(open) = slot.as_mut() else { return };
            if record.offset < open.next {
                return;
            }
            open.next = record.offset + 1;
            if record.offset < open.place.offset {
                Counting::remember(record.offset, record.time_ms, record.value, &mut open.dedupe);
                return;
            }
            count(counting, open, &record);
            if open.batch.deltas.cells() >= shared.config.flush_cells {
                merge(shared, letters, slot);
            }
        })
    }

    fn merge_all(&mut self) {
        for slot in &mut self.reading {
            merge(&self.shared, &self.letters, slot);
        }
    }

    fn heed(&mut self, notice: Notice) {
        let registry = &self.shared.registry;
        match notice {
            Notice::Assigned(partitions) => {
                tracing::info!(worker = self.handle.index, ?partitions, "partitions assigned");
                partitions.iter().for_each(|id| registry.assign(self.handle.index, *id));
                locate::spawn(&self.shared, &self.handle, partitions, Duration::ZERO);
            }
            Notice::Revoked(partitions) => {
                tracing::info!(worker = self.handle.index, ?partitions, "partitions revoked");
                for id in &partitions {
                    self.stop_reading(*id);
                    self.shared.registry.revoke(*id);
                }
                self.shared.wake.notify_one();
                self.leaving.push(Leaving { partitions, deadline: Instant::now() + REVOKE });
            }
            Notice::Lost(partitions) => {
                tracing::warn!(worker = self.handle.index, ?partitions, "partitions lost: the session timed out");
                partitions.iter().for_each(|id| self.stop_reading(*id));
                self.leaving.push(Leaving { partitions, deadline: Instant::now() });
            }
            Notice::OutOfRange(partition) => {
                let ours = registry.ids_of(self.handle.index);
                for id in ours.into_iter().filter(|id| partition.is_none_or(|p| p == *id)) {
                    self.displaced(id, Duration::ZERO);
                }
                self.shared.wake.notify_one();
            }
            Notice::Failed(error) => self.shared.report_log_error("the log's client reports an error", &error),
        }
    }

    /// The partition's place is to be looked up again, after a while.
    fn displaced(&mut self, id: i32, wait: Duration) {
        self.stop_reading(id);
        if self.shared.registry.update(id, Partition::displaced) == Some(Next::Locate) {
            locate::spawn(&self.shared, &self.handle, vec![id], wait);
        }
    }

    fn stop_reading(&mut self, id: i32) {
        if let Some(slot) = usize::try_from(id).ok().and_then(|index| self.reading.get_mut(index)) {
            *slot = None;
        }
    }

    /// Gives up what is settled, or has no more time.
    fn release(&mut self) {
        let Worker { shared, handle, leaving, .. } = self;
        leaving.retain(|group| {
            let settled = |id: &i32| shared.registry.look(*id, Partition::is_settled).unwrap_or(true);
            if Instant::now() < group.deadline && !group.partitions.iter().all(settled) {
                return true;
            }
            for id in &group.partitions {
                shared.registry.remove(*id);
                shared.forget(*id);
            }
            if let Err(error) = handle.consumer.release(&group.partitions) {
                shared.report_log_error("cannot give partitions up", &error.to_string());
            }
            false
        });
    }

    /// Pauses reading while too much waits for the store or the dead-letter topic. Polling goes on, and with it the
    /// membership.
    fn hold_back(&mut self) {
        let registry = &self.shared.registry;
        let most = self.shared.config.max_pending_cells;
        if registry.pending_cells() > most / 2 {
            // Many open segments fill the budget before any of them is full.
            registry.tick();
            self.shared.wake.notify_one();
        }
        // Once paused, it goes on only when half of it is gone.
        let limit = if self.paused.is_some() { 2 } else { 1 };
        // A pause throws away what was fetched, so a store that keeps up is waited for instead.
        let full = registry.pending_cells() * limit > most
            && (self.paused.is_some() || !registry.wait_for_room(most - most / 4, WAIT_FOR_ROOM));
        let reason = if full {
            Some("too many counts wait for the store: is it away or slow?")
        } else if registry.letter_bytes() * limit > LETTER_BYTES {
            Some("too many dead letters wait for the dead-letter topic")
        } else {
            None
        };
        if reason.is_some() != self.paused.is_some() {
            tracing::info!(worker = self.handle.index, paused = reason.is_some(), reason, "back-pressure");
            self.paused = reason;
            let ids: Vec<i32> = self.reading.iter().flatten().map(|r| r.place.partition).collect();
            self.pause(&ids, reason);
        }
    }

    fn pause(&self, ids: &[i32], reason: Option<&str>) {
        let consumer = &self.handle.consumer;
        let done = if reason.is_some() { consumer.pause(ids) } else { consumer.resume(ids) };
        if let Err(error) = done {
            self.shared.report_log_error("cannot pause or resume", &error.to_string());
        }
        for id in ids {
            self.shared.registry.update(*id, |p| p.pause(reason));
        }
    }
}

fn count(counting: &mut Counting, open: &mut Reading, record: &LogRecord<'_>) {
    open.batch.consume(record.offset);
    // -1 stands for a record without a time: Kafka's own mark for it.
    let time_ms = record.time_ms.unwrap_or(-1);
    open.batch.fingerprint = Some(Fingerprint::of(record.offset, time_ms, record.key, record.value));
    if let Counted::DeadLetter(error) = counting.count(record.time_ms, record.value, &mut open.dedupe, &mut open.batch)
    {
        open.letters.push(DeadLetter {
            partition: record.partition,
            offset: record.offset,
            time_ms: record.time_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            error,
            attempts: 1,
            failed_at_ms: now_ms(),
        });
    }
}

/// Merges what was read into the registry. A partition that has lost its place is read no further until it is
/// started again.
fn merge(shared: &Shared, letters: &Letters, slot: &mut Option<Reading>) {
    let Some(open) = slot.as_mut().filter(|open| !open.batch.is_empty()) else { return };
    fail::fail_point!("polled", |_| std::process::abort());
    let next = Segment::starting_at(open.batch.to);
    let batch = std::mem::replace(&mut open.batch, next);
    let dead = std::mem::take(&mut open.letters);
    let offsets: Vec<i64> = dead.iter().map(|letter| letter.offset).collect();
    let place = open.place;
    shared.report_dedupe(place.partition, &open.dedupe);
    match shared.registry.merge(&place, batch, &offsets, shared.config.flush_cells) {
        (Merged::Accepted, full) => {
            fail::fail_point!("merged", |_| std::process::abort());
            if !dead.is_empty() {
                letters.send(LetterBatch { generation: place.generation, letters: dead });
            }
            if full {
                shared.wake.notify_one();
            }
        }
        (Merged::Stale, _) => *slot = None,
    }
}
