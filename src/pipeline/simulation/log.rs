//! The simulated log. It keeps everything that was ever written, so that the recount can look behind retention and
//! behind a topic made anew; processors see only what the log holds now.

use super::random::Random;
use crate::log::{Extent, KeptRecord};
use std::collections::BTreeSet;

pub(super) const BEGINNING_MS: i64 = 1_760_000_000_000;
/// How far past its record an event's timestamp may lie.
pub(super) const MAX_AHEAD_MS: i64 = 60_000;

/// What stands at an offset, as it was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Event(Event),
    /// It cannot be read as an event.
    Bad,
    /// A control record: an offset that nobody is handed.
    Hole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// No other record of the history has it: a count under it is a count of this record.
    pub(super) serial: u64,
    pub(super) id: Option<u64>,
    pub(super) kind: &'static str,
    pub(super) key: char,
    pub(super) time_ms: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) what: What,
    pub(super) time_ms: Option<i64>,
    pub(super) value: Option<Vec<u8>>,
}

/// A partition's log from offset 0 on. Logs of one partition follow each other: one that was made anew, or that lost
/// its tail and was written on, is another log.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    /// First offset that it still holds.
    pub(super) start: i64,
    /// Below this offset it is the same as the log before it.
    pub(super) shared: i64,
}

impl Log {
    pub(super) fn end(&self) -> i64 {
        self.entries.len() as i64
    }

    pub(super) fn entry(&self, offset: i64) -> Option<&Entry> {
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// What stands from one offset to another.
    pub(super) fn range(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, &Entry)> {
        (from.max(0)..to.min(self.end())).filter_map(|offset| Some((offset, self.entry(offset)?)))
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Topic {
    /// Of each partition all logs it ever had; the last is the one that there is.
    pub(super) partitions: Vec<Vec<Log>>,
    pub(super) committed: Vec<Option<i64>>,
    /// The dead-letter topic: partition, log and offset of what is in it.
    pub(super) dead: BTreeSet<(i32, usize, i64)>,
    pub(super) clock_ms: i64,
    serial: u64,
}

impl Topic {
    pub(super) fn new(partitions: usize) -> Topic {
        Topic {
            partitions: vec![vec![Log::default()]; partitions],
            committed: vec![None; partitions],
            clock_ms: BEGINNING_MS,
            ..Topic::default()
        }
    }

    pub(super) fn ids(&self) -> std::ops::Range<i32> {
        0..self.partitions.len() as i32
    }

    pub(super) fn logs(&self, partition: i32) -> &[Log] {
        &self.partitions[partition as usize]
    }

    /// The number of the log that there is.
    pub(super) fn newest(&self, partition: i32) -> usize {
        self.logs(partition).len() - 1
    }

    pub(super) fn log(&self, partition: i32) -> &Log {
        &self.logs(partition)[self.newest(partition)]
    }

    fn log_mut(&mut self, partition: i32) -> &mut Log {
        let newest = self.newest(partition);
        &mut self.partitions[partition as usize][newest]
    }

    pub(super) fn extent(&self, partition: i32) -> Extent {
        let log = self.log(partition);
        Extent { partition, start: log.start, end: log.end(), committed: self.committed[partition as usize] }
    }

    /// Below this offset two logs of a partition are the same.
    pub(super) fn same_below(&self, partition: i32, a: usize, b: usize) -> i64 {
        let logs = &self.logs(partition)[a.min(b) + 1..=a.max(b)];
        logs.iter().map(|log| log.shared).min().unwrap_or(i64::MAX)
    }

    /// The earliest log that holds the same at this offset as this log does.
    pub(super) fn first_with(&self, partition: i32, log: usize, offset: i64) -> usize {
        let differs = |n: &usize| self.logs(partition)[*n].shared <= offset;
        (1..=log).rev().find(differs).unwrap_or(0)
    }

    /// The first record that is held at this offset or behind it.
    pub(super) fn record(&self, partition: i32, offset: i64) -> Option<KeptRecord> {
        let log = self.log(partition);
        let mut held = log.range(offset.max(log.start), log.end());
        let (offset, entry) = held.find(|(_, entry)| entry.what != What::Hole)?;
        Some(KeptRecord { offset, time_ms: entry.time_ms, key: None, value: entry.value.clone() })
    }

    pub(super) fn first_after(&self, partition: i32, time_ms: i64) -> Option<i64> {
        let log = self.log(partition);
        let younger = |entry: &Entry| entry.what != What::Hole && entry.time_ms.is_some_and(|time| time > time_ms);
        log.range(log.start, log.end()).find(|(_, entry)| younger(entry)).map(|(offset, _)| offset)
    }

    pub(super) fn append(&mut self, partition: i32, random: &mut Random) {
        self.clock_ms += random.weighted(&[(3, 0), (4, 1_500), (1, 9_000), (1, 40_000)]);
        self.serial += 1;
        let now_ms = self.clock_ms;
        let what = match random.below(20) {
            0 => What::Hole,
            1 | 2 => What::Bad,
            _ => What::Event(self.event(partition, random)),
        };
        // Formats older than any broker of today have records without a time. They are dead letters.
        let time_ms = (what != What::Bad || !random.once_in(6)).then_some(now_ms);
        let value = bytes(&what, random);
        self.log_mut(partition).entries.push(Entry { what, time_ms, value });
    }

    fn event(&self, partition: i32, random: &mut Random) -> Event {
        let id = match random.below(8) {
            0 => None,
            // An id that stood a few offsets before.
            1..=3 => {
                let before = &self.log(partition).entries;
                let back = 1 + random.below(7);
                let repeated = before.len().checked_sub(back).map(|at| before[at].what);
                let id = match repeated {
                    Some(What::Event(event)) => event.id,
                    _ => None,
                };
                id.or(Some(self.serial))
            }
            _ => Some(self.serial),
        };
        let time_ms = match random.below(10) {
            0 => None,
            1 => Some(self.clock_ms - 30_000),
            2 => Some(self.clock_ms - 90_000),
            3 => Some(self.clock_ms - 7_200_000),
            4 => Some(self.clock_ms + random.within(50_000..=70_000)),
            _ => Some(self.clock_ms - random.within(0..=3_000)),
        };
        let kind = random.weighted(&[(6, "view"), (3, "click"), (1, "other")]);
        Event { serial: self.serial, id, kind, key: random.weighted(&[(3, 'a'), (2, 'b'), (1, 'c')]), time_ms }
    }

    /// Retention: what lies before `to` is gone.
    pub(super) fn trim(&mut self, partition: i32, to: i64) {
        let log = self.log_mut(partition);
        log.start = to.clamp(log.start, log.end());
    }

    /// The topic is deleted and made anew under its name.
    pub(super) fn make_anew(&mut self, keeps_group: bool) {
        self.clock_ms += 1_000;
        self.partitions.iter_mut().for_each(|logs| logs.push(Log::default()));
        if !keeps_group {
            self.committed.fill(None);
        }
    }

    /// The tail from `to` on is lost: an unclean election of a leader.
    pub(super) fn cut(&mut self, partition: i32, to: i64) {
        self.clock_ms += 1_000;
        let old = self.log(partition);
        let to = to.clamp(old.start, old.end());
        let entries = old.entries[..to as usize].to_vec();
        let log = Log { entries, start: old.start, shared: to };
        self.partitions[partition as usize].push(log);
    }
}

fn bytes(what: &What, random: &mut Random) -> Option<Vec<u8>> {
    let event = match what {
        What::Hole => return None,
        What::Bad => return random.pick(&[None, Some("{}"), Some("no event"), Some("")])?.map(Vec::from),
        What::Event(event) => event,
    };
    let Event { serial, id, kind, key, time_ms } = event;
    let id = id.map_or_else(String::new, |id| format!(r#""id":"{id}","#));
    let time = time_ms.map_or_else(String::new, |ms| format!(r#""timestamp":{ms},"#));
    Some(format!(r#"{{{id}{time}"type":"{kind}","payload":{{"n":{serial},"k":"{key}"}}}}"#).into_bytes())
}
