//! The partitions of this process, shared by workers, flusher, observer and look-ups.
//!
//! Every change of a partition happens under its entry's guard, and no guard is held across an await.

use super::partition::{Merged, Partition};
use super::reading::Place;
use crate::counter::Segment;
use crate::store::PartitionFlush;
use dashmap::DashMap;
use dashmap::mapref::one::RefMut;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A partition and the worker that reads it.
#[derive(Debug)]
struct Owned {
    worker: usize,
    partition: Partition,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Registry {
    partitions: DashMap<i32, Owned, ahash::RandomState>,
    assignments: AtomicU64,
    pending_cells: AtomicUsize,
    letter_bytes: AtomicUsize,
    topic_partitions: AtomicI32,
    /// Wakes those who wait in [`Registry::wait_for_room`].
    flushed: Condvar,
    waiting: Mutex<()>,
}

impl Registry {
    /// A worker got this partition. It is located next.
    pub(super) fn assign(&self, worker: usize, id: i32) {
        // Generations of different assignments must differ, and each counts up for itself.
        let generation = self.assignments.fetch_add(1, Ordering::Relaxed) << 32;
        let owned = Owned { worker, partition: Partition::assigned(id, generation) };
        // One that was lost may still have it: nobody flushes what that one left.
        if let Some(left) = self.partitions.insert(id, owned) {
            self.pending_cells.fetch_sub(left.partition.pending_cells(), Ordering::Relaxed);
        }
    }

    /// A worker gives a partition up; `false` when it is not its own any more.
    pub(super) fn remove(&self, worker: usize, id: i32) -> bool {
        let Some((_, owned)) = self.partitions.remove_if(&id, |_, owned| owned.worker == worker) else { return false };
        self.pending_cells.fetch_sub(owned.partition.pending_cells(), Ordering::Relaxed);
        true
    }

    /// Changes a partition under its guard; `None` when it is not ours any more.
    pub(super) fn update<R>(&self, id: i32, change: impl FnOnce(&mut Partition) -> R) -> Option<R> {
        Some(self.change(self.partitions.get_mut(&id)?, change))
    }

    /// The same, as long as this worker reads it: one that was left behind must not decide for the next.
    pub(super) fn update_of<R>(&self, worker: usize, id: i32, change: impl FnOnce(&mut Partition) -> R) -> Option<R> {
        Some(self.change(self.partitions.get_mut(&id).filter(|owned| owned.worker == worker)?, change))
    }

    fn change<R>(&self, mut owned: RefMut<'_, i32, Owned>, change: impl FnOnce(&mut Partition) -> R) -> R {
        let before = owned.partition.pending_cells();
        let result = change(&mut owned.partition);
        let after = owned.partition.pending_cells();
        self.pending_cells.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        result
    }

    /// Merges a batch. The second answer says whether a flush is worth it before the next tick.
    pub(super) fn merge(&self, at: &Place, batch: Segment, letters: &[i64], cap: usize) -> (Merged, bool) {
        let merged = self.update(at.partition, |p| (p.merge(at.generation, batch, letters, cap), p.has_full_segment()));
        merged.unwrap_or((Merged::Stale, false))
    }

    /// Whether what is read from this place would be merged.
    pub(super) fn is_current(&self, at: &Place) -> bool {
        self.look(at.partition, Partition::generation) == Some(at.generation)
    }

    /// What is to be flushed to a shard now: parts of at most about `cap` cells together, at least one if any is due.
    pub(super) fn due(&self, shard: u32, shards: u32, cap: usize) -> Vec<PartitionFlush> {
        let topic_partitions = self.topic_partitions();
        let (mut parts, mut cells) = (Vec::new(), 0);
        for id in self.ids() {
            // Partition numbers are not negative.
            if id.unsigned_abs() % shards != shard {
                continue;
            }
            let Some(part) = self.update(id, |p| p.due(topic_partitions)).flatten() else { continue };
            cells += part.segment.as_ref().map_or(0, |s| s.deltas.cells());
            parts.push(part);
            if cells >= cap {
                break;
            }
        }
        parts
    }

    /// The flush interval has passed.
    pub(super) fn tick(&self) {
        for id in self.ids() {
            self.update(id, Partition::tick);
        }
    }

    /// All of them have nothing left for the store.
    pub(super) fn is_settled(&self) -> bool {
        self.partitions.iter().all(|owned| owned.partition.is_settled())
    }

    /// Our partitions, in order.
    pub(super) fn ids(&self) -> Vec<i32> {
        let mut ids: Vec<i32> = self.partitions.iter().map(|owned| *owned.key()).collect();
        ids.sort_unstable();
        ids
    }

    /// How many partitions run, this one aside.
    pub(super) fn running(&self, aside: i32) -> usize {
        self.partitions.iter().filter(|owned| *owned.key() != aside && owned.partition.is_running()).count()
    }

    /// The partitions that one worker reads, in order.
    pub(super) fn ids_of(&self, worker: usize) -> Vec<i32> {
        let ours = |owned: &dashmap::mapref::multiple::RefMulti<'_, i32, Owned>| owned.worker == worker;
        let mut ids: Vec<i32> = self.partitions.iter().filter(ours).map(|owned| *owned.key()).collect();
        ids.sort_unstable();
        ids
    }

    /// Which worker reads a partition.
    pub(super) fn worker_of(&self, id: i32) -> Option<usize> {
        self.partitions.get(&id).map(|owned| owned.worker)
    }

    /// A look at a partition.
    pub(super) fn look<R>(&self, id: i32, at: impl FnOnce(&Partition) -> R) -> Option<R> {
        self.partitions.get(&id).map(|owned| at(&owned.partition))
    }

    /// A worker's partition is to be drained and given up.
    pub(super) fn revoke(&self, worker: usize, id: i32) {
        // What comes next is seen by `is_settled_of`.
        self.update_of(worker, id, |p| drop(p.revoked()));
    }

    /// Whether nothing of a worker's partition waits for the store; so it is when it is not its own any more.
    pub(super) fn is_settled_of(&self, worker: usize, id: i32) -> bool {
        self.update_of(worker, id, |p| p.is_settled()).unwrap_or(true)
    }

    /// Cells that wait for the store.
    pub(super) fn pending_cells(&self) -> usize {
        self.pending_cells.load(Ordering::Relaxed)
    }

    /// Waits until fewer cells than `below` wait for the store, at most for `timeout`; `true` if so.
    pub(super) fn wait_for_room(&self, below: usize, timeout: Duration) -> bool {
        let guard = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |(): &mut ()| self.pending_cells() >= below;
        let waited = self.flushed.wait_timeout_while(guard, timeout, full);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// A flush came to an end: there may be room.
    pub(super) fn wake_waiting(&self) {
        drop(self.waiting.lock());
        self.flushed.notify_all();
    }

    /// Bytes of dead letters that wait for the log.
    pub(super) fn letter_bytes(&self) -> usize {
        self.letter_bytes.load(Ordering::Relaxed)
    }

    /// Dead letters of that size were handed over.
    pub(super) fn letters_queued(&self, bytes: usize) {
        self.letter_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Dead letters of that size are stored.
    pub(super) fn letters_done(&self, bytes: usize) {
        self.letter_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How many partitions the topic has; 0 before that is known.
    pub(super) fn topic_partitions(&self) -> i32 {
        self.topic_partitions.load(Ordering::Relaxed)
    }

    /// The topic has that many partitions.
    pub(super) fn set_topic_partitions(&self, partitions: i32) {
        self.topic_partitions.store(partitions, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::Slot;
    use crate::log::Extent;
    use crate::pipeline::OnGap;
    use crate::pipeline::start::Located;

    #[test]
    fn a_partition_that_another_worker_takes_leaves_no_cells_behind() {
        let registry = Registry::default();
        registry.assign(0, 3);
        let located = Located::at(0, None, Extent { partition: 3, start: 0, end: 9, committed: None });
        let generation = registry.update(3, |p| {
            let _ = p.located(&located, OnGap::Stop);
            p.generation()
        });
        let place = Place::of(&located, generation.unwrap(), 0, 0);
        let mut batch = Segment::starting_at(0);
        batch.consume(0);
        batch.deltas.add(Slot { counter: 0, window: 0, start: 0 }, None, 1);
        assert_eq!(registry.merge(&place, batch, &[], 10), (Merged::Accepted, false));
        assert!(registry.is_current(&place) && registry.pending_cells() == 1);
        registry.assign(1, 3);
        assert!(!registry.is_current(&place));
        assert_eq!(registry.pending_cells(), 0);
    }
}
