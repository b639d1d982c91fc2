//! Copies ranges, some at a time: read, sent, acknowledged, each partition in its order.

use super::plan::{Range, Source};
use crate::cli::pace::{Pace, Progress};
use crate::log::{Header, KafkaCopies, LogRecord, OnItsWay, RecordCopy};
use anyhow::Context;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;

/// Partitions that are copied at the same time: each reads with a client of its own.
const LANES: usize = 4;
/// Records of a partition that are read ahead, and that wait for their acknowledgement.
const AHEAD: usize = 256;
const UNDER_WAY: usize = 2_000;

const REPLAYED_FROM: &str = "replayed-from";
const ORIGINAL_TIMESTAMP: &str = "original-timestamp";

/// Which partition a record gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    /// Whether both topics have the same number of partitions: then each record keeps its own.
    pub(super) same: bool,
    /// Partitions of the target.
    pub(super) targets: i32,
}

impl Lane {
    /// `None`: the key decides. What came in order from one partition stays in order, all of it or that of each key.
    fn of(self, partition: i32, has_key: bool) -> Option<i32> {
        match (self.same, has_key) {
            (true, _) => Some(partition),
            (false, true) => None,
            (false, false) => Some(partition % self.targets.max(1)),
        }
    }
}

/// All that is to be copied.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) source: Source,
    pub(super) to: String,
    pub(super) lane: Lane,
    pub(super) pace: Arc<Mutex<Pace>>,
    pub(super) copies: Arc<KafkaCopies>,
}

/// What became of a range.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) range: Range,
    /// Records that are acknowledged.
    pub(super) records: u64,
    /// Everything before this offset is.
    pub(super) next: i64,
    /// Why it went no further.
    pub(super) failed: Option<anyhow::Error>,
}

impl Job {
    /// Copies these ranges.
    pub(super) async fn run(&self, ranges: Vec<Range>) -> anyhow::Result<Vec<Copied>> {
        let (lanes, done) = (Arc::new(Semaphore::new(LANES)), Arc::new(AtomicU64::new(0)));
        let mut copying = JoinSet::new();
        let told = Arc::new(Mutex::new(Progress::new("copied:")));
        for range in ranges {
            let (job, lanes, done, told) = (self.clone(), lanes.clone(), done.clone(), told.clone());
            copying.spawn(async move {
                // It is never closed.
                let _lane = lanes.acquire_owned().await;
                job.copy(range, &done, &told).await
            });
        }
        let mut copied = Vec::new();
        while let Some(one) = copying.join_next().await {
            copied.push(one.context("a task failed")?);
        }
        copied.sort_by_key(|one: &Copied| one.range.partition);
        Ok(copied)
    }

    async fn copy(self, range: Range, done: &AtomicU64, told: &Mutex<Progress>) -> Copied {
        let mut copied = Copied { range, records: 0, next: range.from, failed: None };
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        let (source, topic) = (self.source.clone(), self.source.topic().to_owned());
        let reading = tokio::task::spawn_blocking(move || {
            source.read(range, &mut |record| {
                // Nobody takes them any more once one was not stored.
                let _ = sender.blocking_send((record.offset, copy_of(&record, &topic)));
            })
        });
        let mut under_way = VecDeque::new();
        copied.failed = loop {
            let Some((offset, mut record)) = receiver.recv().await else { break None };
            record.partition = self.lane.of(range.partition, record.key.is_some());
            self.pace.lock().await.turn().await;
            match self.copies.send(&self.to, &record).await {
                Ok(on_its_way) => under_way.push_back((offset, on_its_way)),
                Err(error) => break Some(error.into()),
            }
            let room = if receiver.is_empty() { 0 } else { UNDER_WAY };
            if let Err(error) = settle(&mut under_way, room, &mut copied, done).await {
                break Some(error);
            }
            told.lock().await.at(done.load(Ordering::Relaxed));
        };
        // In order: the first that is not stored is where to go on.
        let settled = settle(&mut under_way, 0, &mut copied, done).await.err();
        copied.failed = settled.or(copied.failed.take());
        if copied.failed.is_none() {
            copied.failed = reading.await.context("a thread failed").and_then(|read| read).err();
        }
        if copied.failed.is_none() {
            copied.next = range.to;
        }
        copied
    }
}

/// Waits until at most `room` are under way; the oldest come first.
async fn settle(
    under_way: &mut VecDeque<(i64, OnItsWay)>,
    room: usize,
    copied: &mut Copied,
    done: &AtomicU64,
) -> anyhow::Result<()> {
    while under_way.len() > room
        && let Some((offset, on_its_way)) = under_way.pop_front()
    {
        if let Err(error) = on_its_way.stored().await {
            under_way.clear();
            copied.next = offset;
            return Err(error.into());
        }
        copied.records += 1;
        copied.next = offset + 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The record as it is, and where it came from. Of a record that was copied before, the first time is kept and the last
/// place.
fn copy_of(record: &LogRecord<'_>, topic: &str) -> RecordCopy {
    let mut headers = record.copied_headers();
    headers.retain(|header| header.name != REPLAYED_FROM);
    headers.push(Header::text(REPLAYED_FROM, format!("{topic}/{}/{}", record.partition, record.offset)));
    if let Some(ms) = record.time_ms
        && !headers.iter().any(|header| header.name == ORIGINAL_TIMESTAMP)
    {
        headers.push(Header::text(ORIGINAL_TIMESTAMP, ms.to_string()));
    }
    let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
    RecordCopy { partition: None, key, value, headers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_order_stays_in_order() {
        let (same, fewer) = (Lane { same: true, targets: 4 }, Lane { same: false, targets: 3 });
        assert_eq!((same.of(2, true), same.of(3, false)), (Some(2), Some(3)));
        assert_eq!((fewer.of(2, true), fewer.of(3, false)), (None, Some(0)));
    }

    #[test]
    fn a_copy_says_where_it_came_from() {
        let record =
            |headers| LogRecord { partition: 2, offset: 7, time_ms: Some(5), key: None, value: Some(b"v"), headers };
        let copy = copy_of(&record(None), "t");
        let expected = [Header::text("replayed-from", "t/2/7"), Header::text("original-timestamp", "5")];
        assert_eq!((copy.key, copy.value.as_deref(), copy.headers), (None, Some(&b"v"[..]), expected.to_vec()));

        #[derive(Debug)]
        struct Before;
        impl crate::log::Headers for Before {
            fn each(&self, with: &mut dyn FnMut(&str, Option<&[u8]>)) {
                with("replayed-from", Some(b"s/0/1"));
                with("original-timestamp", Some(b"4"));
                with("x", None);
            }
        }
        let again = copy_of(&record(Some(&Before)), "t");
        let expected = [
            Header::text("original-timestamp", "4"),
            Header::copied("x", None),
            Header::text("replayed-from", "t/2/7"),
        ];
        assert_eq!(again.headers, expected);
    }
}
