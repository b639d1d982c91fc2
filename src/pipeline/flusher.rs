//! Brings segments to the store, one atomic step per shard, and tells each partition what came of it.

use super::partition::{Answer, Next, Partition};
use super::worker::Handle;
use super::{Shared, locate};
use crate::clock::now_ms;
use crate::retry::Backoff;
use crate::store::{Flush, Flushed, PartitionFlush, StoreError};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// See the module's documentation.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    handles: Arc<[Handle]>,
    /// The last flush failed: early wake-ups wait for the next tick.
    failing: bool,
    /// What the consumer group was last told.
    committed: HashMap<i32, i64>,
}

impl Flusher {
    pub(super) fn new(shared: Arc<Shared>, handles: Arc<[Handle]>) -> Flusher {
        Flusher { shared, handles, failing: false, committed: HashMap::new() }
    }

    /// Flushes every interval, and early when a segment is full or a partition is to be given up, until the shutdown
    /// begins.
    pub(super) async fn run(&mut self) {
        let mut ticks = tokio::time::interval(self.shared.config.flush_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let shared = self.shared.clone();
            tokio::select! {
                _ = ticks.tick() => {
                    shared.registry.tick();
                    self.flush().await;
                    self.commit();
                }
                () = shared.wake.notified(), if !self.failing => self.flush().await,
                () = shared.shutdown.begun() => return,
            }
        }
    }

    /// Flushes until nothing is left. The caller bounds the time.
    pub(super) async fn finish(&mut self) {
        let mut attempt = 0;
        self.shared.registry.tick();
        loop {
            self.flush().await;
            if self.shared.registry.is_settled() {
                break;
            }
            attempt += 1;
            tokio::time::sleep(Backoff::AWAY.after(attempt)).await;
            self.shared.registry.tick();
        }
        self.commit();
    }

    async fn flush(&mut self) {
        let shards = self.shared.store.shards();
        let results = join_all((0..shards).map(|shard| self.flush_shard(shard, shards))).await;
        let all: Result<Vec<bool>, StoreError> = results.into_iter().collect();
        self.failing = all.is_err();
        match all {
            Ok(applied) if applied.contains(&true) => self.shared.report_flushed(now_ms()),
            // Nothing was due: no partition is ours, or none can say what it has.
            Ok(_) => {}
            Err(error) => self.shared.report_flush_failed(&error),
        }
        self.shared.report_partitions(now_ms());
    }

    /// Flushes what is due, step by step, as long as that gets on. Tells whether anything was applied.
    async fn flush_shard(&self, shard: u32, shards: u32) -> Result<bool, StoreError> {
        let shared = &self.shared;
        let mut applied = false;
        loop {
            let parts = shared.registry.due(shard, shards, shared.config.flush_cells);
            if parts.is_empty() {
                return Ok(applied);
            }
            let flush = Flush { shard, topic: shared.topic.clone(), now_ms: now_ms(), parts };
            let started = Instant::now();
            fail::fail_point!("flush-send", |_| std::process::abort());
            let flushed = shared.store.flush(&flush).await?;
            fail::fail_point!("flush-replied", |_| std::process::abort());
            shared.metrics.flush_seconds.observe(started.elapsed().as_secs_f64());
            match flushed {
                Flushed::Applied { cells } => {
                    applied = true;
                    shared.metrics.flush_cells.observe(cells as f64);
                    for part in &flush.parts {
                        self.answer(part, Answer::Applied);
                    }
                    shared.registry.wake_waiting();
                }
                Flushed::Conflict(stored) => {
                    shared.report_conflict(shard, &flush.parts, &stored);
                    for (part, answer) in answers(&flush.parts, &stored) {
                        self.answer(part, answer);
                    }
                    if !differs(&flush.parts, &stored) {
                        return Ok(applied);
                    }
                }
            }
        }
    }

    fn answer(&self, part: &PartitionFlush, answer: Answer) {
        let shared = &self.shared;
        let before = shared.registry.look(part.partition, Partition::stored).flatten();
        let answered = shared.registry.update(part.partition, |p| (p.answered(answer), p.stored()));
        let Some((next, after)) = answered else { return };
        if let Some(segment) = part.segment.as_ref().filter(|s| after == Some(s.to) && before != after) {
            shared.report_counted(segment, now_ms());
        }
        match next {
            Next::Locate => {
                let worker = shared.registry.worker_of(part.partition);
                if let Some(handle) = worker.and_then(|index| self.handles.get(index)) {
                    locate::spawn(shared, handle, vec![part.partition], Duration::ZERO);
                }
            }
            // A worker that gives a partition up looks whether it is settled.
            Next::Release | Next::Nothing | Next::Start(_) => {}
        }
    }

    /// Tells the consumer group how far the counts are, for ordinary lag tools.
    fn commit(&mut self) {
        for handle in self.handles.iter() {
            let mut positions = Vec::new();
            for id in self.shared.registry.ids_of(handle.index) {
                let stored = self.shared.registry.look(id, Partition::stored).flatten();
                if let Some(offset) = stored.filter(|offset| self.committed.get(&id) != Some(offset)) {
                    self.committed.insert(id, offset);
                    positions.push((id, offset));
                }
            }
            if !positions.is_empty() {
                handle.consumer.commit(&positions);
            }
        }
    }
}

/// What a conflict tells each part.
pub(super) fn answers<'a>(
    parts: &'a [PartitionFlush],
    stored: &[(i32, Option<i64>)],
) -> impl Iterator<Item = (&'a PartitionFlush, Answer)> {
    let of = |part: &PartitionFlush| stored.iter().find(|(id, _)| *id == part.partition).map(|(_, stored)| *stored);
    parts.iter().filter_map(move |part| Some((part, Answer::Stored(of(part)?))))
}

/// Whether any part differs from what it expected: else trying again at once would not help.
pub(super) fn differs(parts: &[PartitionFlush], stored: &[(i32, Option<i64>)]) -> bool {
    answers(parts, stored).any(|(part, answer)| answer != Answer::Stored(part.expected))
}
