//! A worker: one thread, one member of the consumer group. It reads, counts into open batches, merges them into the
//! registry and does what partitions and look-ups tell it. It decides nothing about offsets.

use super::letters::{LetterBatch, Letters};
use super::partition::{Merged, Next, Partition};
use super::reading::{Batch, Place, Reading, Tail};
use super::{PipelineError, Shared, locate};
use crate::clock::now_ms;
use crate::counter::Counting;
use crate::log::{Consumer, Extent, Notice};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// Longest wait for records; it bounds how late an order is obeyed.
const POLL: Duration = Duration::from_millis(100);
/// The same while partitions are being given up: others wait for them.
const POLL_LEAVING: Duration = Duration::from_millis(10);
/// Records between two looks at everything else.
const BATCH: usize = 10_000;
/// While there is always more to read, what was read is merged this often: the fewer merges, the less is added twice.
const MERGE: Duration = Duration::from_millis(50);
/// How long a revoked partition may take to flush before it is given up as it is.
const REVOKE: Duration = Duration::from_secs(1);
/// How long to wait for the store without polling before reading pauses: short beside every time-out of the group.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(500);
/// How long to wait before a partition that the client refused to start is tried again.
const RESTART: Duration = Duration::from_secs(1);
/// Dead letters that may wait to be stored, in bytes, before reading pauses.
const LETTER_BYTES: usize = 16 << 20;

/// What a worker is told.
pub(super) enum Order {
    /// Read these partitions from there. It answers an assignment even when it is empty.
    Start(Vec<Place>),
    /// No record stands in this tail of a partition: there are only offsets without one.
    Skip { partition: i32, tail: Tail },
}

/// What others need of a worker.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) index: usize,
    pub(super) consumer: Arc<dyn Consumer>,
    pub(super) orders: Sender<Order>,
}

impl Handle {
    /// What the log holds of partitions.
    ///
    /// # Errors
    /// Why the log did not answer.
    pub(super) async fn extents(&self, partitions: &[i32]) -> Result<Vec<Extent>, String> {
        let (consumer, ids) = (self.consumer.clone(), partitions.to_vec());
        let asked = tokio::task::spawn_blocking(move || consumer.extents(&ids)).await;
        asked.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }
}

struct Leaving {
    partitions: Vec<i32>,
    deadline: Instant,
}

/// See the module's documentation.
pub(super) struct Worker {
    shared: Arc<Shared>,
    handle: Handle,
    orders: Receiver<Order>,
    counting: Counting,
    letters: Letters,
    assigned: BTreeSet<i32>,
    /// By partition number.
    reading: Vec<Option<Reading>>,
    leaving: Vec<Leaving>,
    /// When all that was read was last merged.
    merged: Instant,
    /// Why reading waits, if it does.
    paused: Option<&'static str>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, handle: Handle, orders: Receiver<Order>, letters: Letters) -> Worker {
        let counting = Counting::new(shared.counters.clone(), shared.timing);
        let (assigned, reading, leaving) = (BTreeSet::new(), Vec::new(), Vec::new());
        let merged = Instant::now();
        Worker { shared, handle, orders, counting, letters, assigned, reading, leaving, merged, paused: None }
    }

    /// Works until the shutdown begins. What was read by then is merged.
    ///
    /// # Errors
    /// Why its consumer is no longer one.
    pub(super) fn run(mut self) -> Result<(), PipelineError> {
        while !self.shared.shutdown.has_begun() {
            self.obey();
            let (read, notices) = self.read();
            if read < BATCH || !notices.is_empty() || self.has_read_enough() {
                self.merge_all();
            }
            for notice in notices {
                self.heed(notice)?;
            }
            self.release();
            self.reclaim();
            self.hold_back();
        }
        self.merge_all();
        Ok(())
    }

    fn obey(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Start(places) => self.start(places),
                Order::Skip { partition, tail } => self.skip(partition, &tail),
            }
        }
    }

    fn skip(&mut self, partition: i32, tail: &Tail) {
        let slot = usize::try_from(partition).ok().and_then(|index| self.reading.get_mut(index)?.as_mut());
        slot.into_iter().for_each(|open| _ = open.skip(tail));
    }

    fn start(&mut self, mut places: Vec<Place>) {
        // A place that was lost again meanwhile is looked up again: that order must not be undone by this one.
        places.retain(|place| self.shared.registry.is_current(place));
        let positions: Vec<(i32, i64)> = places.iter().map(|p| (p.partition, p.read_from)).collect();
        if let Err(error) = self.handle.consumer.start(&positions) {
            self.shared.report_log_error("cannot start partitions; they are looked up again", &error.to_string());
            positions.iter().for_each(|(id, _)| self.displaced(*id, RESTART));
            return;
        }
        for place in places {
            let Ok(index) = usize::try_from(place.partition) else { continue };
            if self.reading.len() <= index {
                self.reading.resize_with(index + 1, || None);
            }
            self.reading[index] = Some(Reading::at(place, self.shared.config.dedupe_horizon));
        }
        if let Some(reason) = self.paused {
            self.pause(&positions.iter().map(|(id, _)| *id).collect::<Vec<_>>(), Some(reason));
        }
    }

    /// How many records were handed out, and what happened meanwhile.
    fn read(&mut self) -> (usize, Vec<Notice>) {
        let Worker { shared, handle, counting, reading, letters, leaving, .. } = self;
        let timeout = if leaving.is_empty() { POLL } else { POLL_LEAVING };
        let mut read = 0;
        let notices = handle.consumer.poll(timeout, BATCH, &mut |record| {
            read += 1;
            let slot = usize::try_from(record.partition).ok().and_then(|index| reading.get_mut(index));
            let Some(slot) = slot else { return };
            let Some(open) = slot.as_mut() else { return };
            open.take(counting, &record, now_ms);
            if open.cells() >= shared.config.flush_cells {
                merge(shared, letters, slot);
            }
        });
        (read, notices)
    }

    /// Whether a merge is due, by time or because the open batches hold as much as a segment may.
    fn has_read_enough(&self) -> bool {
        let cells = || self.reading.iter().flatten().map(Reading::cells).sum::<usize>();
        self.merged.elapsed() >= MERGE || cells() >= self.shared.config.flush_cells
    }

    fn merge_all(&mut self) {
        self.merged = Instant::now();
        for slot in &mut self.reading {
            merge(&self.shared, &self.letters, slot);
        }
    }

    fn heed(&mut self, notice: Notice) -> Result<(), PipelineError> {
        let registry = &self.shared.registry;
        match notice {
            Notice::Assigned(partitions) => {
                tracing::info!(worker = self.handle.index, ?partitions, "partitions assigned");
                self.assigned.extend(&partitions);
                self.take(partitions);
            }
            Notice::Revoked(partitions) => {
                tracing::info!(worker = self.handle.index, ?partitions, "partitions revoked");
                for id in &partitions {
                    self.assigned.remove(id);
                    self.stop_reading(*id);
                    self.shared.registry.revoke(self.handle.index, *id);
                }
                self.shared.wake.notify_one();
                self.leaving.push(Leaving { partitions, deadline: Instant::now() + REVOKE });
            }
            Notice::Lost(partitions) => {
                tracing::warn!(worker = self.handle.index, ?partitions, "partitions lost: the session timed out");
                for id in &partitions {
                    self.assigned.remove(id);
                    self.stop_reading(*id);
                }
                // At once: the next notice may assign them again.
                give_up(&self.shared, &self.handle, &partitions);
            }
            Notice::OutOfRange(partition) => {
                let ours = registry.ids_of(self.handle.index);
                for id in ours.into_iter().filter(|id| partition.is_none_or(|p| p == *id)) {
                    self.displaced(id, Duration::ZERO);
                }
                self.shared.wake.notify_one();
            }
            Notice::Failed(error) => self.shared.report_log_error("the log's client reports an error", &error),
            Notice::Fatal(error) => {
                self.shared.report_log_error("a member of the consumer group cannot go on", &error);
                return Err(PipelineError::Member(error));
            }
        }
        Ok(())
    }

    /// The partition's place is to be looked up again, after a while.
    fn displaced(&mut self, id: i32, wait: Duration) {
        self.stop_reading(id);
        if self.shared.registry.update_of(self.handle.index, id, Partition::displaced) == Some(Next::Locate) {
            locate::spawn(&self.shared, &self.handle, vec![id], wait);
        }
    }

    fn stop_reading(&mut self, id: i32) {
        if let Some(slot) = usize::try_from(id).ok().and_then(|index| self.reading.get_mut(index)) {
            *slot = None;
        }
    }

    fn take(&mut self, partitions: Vec<i32>) {
        partitions.iter().for_each(|id| self.shared.registry.assign(self.handle.index, *id));
        locate::spawn(&self.shared, &self.handle, partitions, Duration::ZERO);
    }

    /// Another worker that was late to learn of an assignment, long lost, may have taken a partition of this one's and
    /// given it up again.
    fn reclaim(&mut self) {
        let is_free = |id: &&i32| self.shared.registry.worker_of(**id).is_none();
        let free: Vec<i32> = self.assigned.iter().filter(is_free).copied().collect();
        if !free.is_empty() {
            tracing::info!(worker = self.handle.index, partitions = ?free, "partitions reclaimed");
            self.take(free);
        }
    }

    /// Gives up what is settled, or has no more time.
    fn release(&mut self) {
        let Worker { shared, handle, leaving, .. } = self;
        let before = leaving.len();
        leaving.retain(|group| {
            let settled = |id: &i32| shared.registry.is_settled_of(handle.index, *id);
            if Instant::now() < group.deadline && !group.partitions.iter().all(settled) {
                return true;
            }
            give_up(shared, handle, &group.partitions);
            false
        });
        if leaving.len() < before && self.paused.is_some() {
            // Partitions that could not be started before the answer are read now.
            self.pause_all(self.paused);
        }
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
            self.pause_all(reason);
        }
    }

    fn pause_all(&self, reason: Option<&str>) {
        let ids: Vec<i32> = self.reading.iter().flatten().map(|r| r.place().partition).collect();
        self.pause(&ids, reason);
    }

    fn pause(&self, ids: &[i32], reason: Option<&str>) {
        let consumer = &self.handle.consumer;
        let done = if reason.is_some() { consumer.pause(ids) } else { consumer.resume(ids) };
        if let Err(error) = done {
            self.shared.report_log_error("cannot pause or resume", &error.to_string());
        }
        for id in ids {
            self.shared.registry.update_of(self.handle.index, *id, |p| p.pause(reason));
        }
    }
}

fn give_up(shared: &Shared, handle: &Handle, partitions: &[i32]) {
    for id in partitions {
        if shared.registry.remove(handle.index, *id) {
            shared.forget(*id);
        }
    }
    if let Err(error) = handle.consumer.release(partitions) {
        shared.report_log_error("cannot give partitions up", &error.to_string());
    }
}

/// Merges what was read into the registry. A partition that has lost its place is read no further until it is
/// started again.
fn merge(shared: &Shared, letters: &Letters, slot: &mut Option<Reading>) {
    let Some((open, batch)) = slot.as_mut().and_then(|open| open.batch().map(|batch| (open, batch))) else { return };
    fail::fail_point!("polled", |_| std::process::abort());
    let Batch { segment, letters: dead } = batch;
    let offsets: Vec<i64> = dead.iter().map(|letter| letter.offset).collect();
    let place = *open.place();
    shared.report_dedupe(place.partition, open.dedupe());
    match shared.registry.merge(&place, segment, &offsets, shared.config.flush_cells) {
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
