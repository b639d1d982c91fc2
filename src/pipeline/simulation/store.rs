//! The simulated store: one atomic step, as both real ones promise it. Beside what they keep it notes of which records
//! its counts are made, as the processor read them: the recount starts from there.

use super::planted::Planted;
use super::random::Random;
use crate::counter::{Ledger, Segment};
use crate::store::{Flush, Flushed, PartitionFlush, StoredPartition};
use std::collections::BTreeMap;

/// Counter, window, start and key.
pub(super) type Cell = (u16, u16, i64, String);

/// What a look-up found in the log when it decided where a partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// The number of the log.
    pub(super) log: usize,
    /// Its first offset then.
    pub(super) start: i64,
    pub(super) committed: bool,
    /// Somebody had accepted the gap.
    pub(super) accepted: bool,
    /// The log held another record than the one that was counted last, and that could be seen.
    pub(super) shows: bool,
}

/// A range of offsets of one log, as somebody read it; or a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) log: usize,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) look: Look,
    /// How many records the gap says are lost.
    pub(super) gap: Option<u64>,
}

/// A flush on its way.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) flush: Flush,
    /// What each part is made of.
    pub(super) pieces: BTreeMap<i32, Vec<Piece>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) stored: Option<StoredPartition>,
    pub(super) counts: BTreeMap<Cell, u64>,
    pub(super) pieces: Vec<Piece>,
    accepted: Option<Option<i64>>,
}

impl Kept {
    pub(super) fn next(&self) -> Option<i64> {
        self.stored.as_ref().and_then(|stored| stored.next_offset)
    }
}

#[derive(Debug, Default)]
pub(super) struct Store {
    partitions: BTreeMap<i32, Kept>,
    saved: BTreeMap<i32, Kept>,
    /// What it is, has changed since somebody last looked.
    changed: bool,
    planted: Option<Planted>,
    /// A crash between the two steps of a store that has two.
    random: Option<Random>,
}

impl Store {
    pub(super) fn new(planted: Option<Planted>, seed: u64) -> Store {
        Store { planted, random: Some(Random::new(!seed)), ..Store::default() }
    }

    pub(super) fn kept(&self, id: i32) -> Option<&Kept> {
        self.partitions.get(&id)
    }

    pub(super) fn next(&self, id: i32) -> Option<i64> {
        self.kept(id).and_then(Kept::next)
    }

    /// What a look-up is told.
    pub(super) fn partition(&self, id: i32) -> Option<StoredPartition> {
        let kept = self.kept(id)?;
        let gap_accepted = kept.accepted == Some(kept.next());
        Some(StoredPartition { gap_accepted, ..kept.stored.clone()? })
    }

    pub(super) fn accept_gap(&mut self, id: i32) {
        if let Some(kept) = self.partitions.get_mut(&id) {
            kept.accepted = Some(kept.next());
        }
    }

    pub(super) fn save(&mut self) {
        self.saved = self.partitions.clone();
    }

    pub(super) fn roll_back(&mut self) {
        self.partitions = self.saved.clone();
        self.changed = true;
    }

    pub(super) fn empty(&mut self) {
        self.partitions.clear();
        self.changed = true;
    }

    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The atomic step.
    ///
    /// # Errors
    /// What no store would take, or the reply that got lost.
    pub(super) fn flush(&mut self, request: &Request) -> Result<Flushed, String> {
        let Flush { parts, now_ms, .. } = &request.flush;
        if let Some(part) = parts.iter().find(|part| part.segment.as_ref().is_some_and(|s| contradicts(part, s))) {
            return Err(format!("contradiction: {part:?}"));
        }
        let stored: Vec<_> = parts.iter().map(|part| (part.partition, self.next(part.partition))).collect();
        let conflict = parts.iter().zip(&stored).any(|(part, (_, next))| part.expected != *next);
        if conflict && self.planted != Some(Planted::OffsetsNotCompared) {
            return Ok(Flushed::Conflict(stored));
        }
        self.changed = true;
        let half = self.planted == Some(Planted::OffsetInASecondStep)
            && self.random.as_mut().is_some_and(|random| random.once_in(20));
        let mut cells = 0;
        for part in parts {
            let kept = self.partitions.entry(part.partition).or_default();
            let before = kept.stored.clone();
            let pieces = request.pieces.get(&part.partition).map_or(&[][..], Vec::as_slice);
            cells += apply(kept, part, pieces, *now_ms);
            if half && let Some(before) = before {
                let next_offset = before.next_offset;
                kept.stored.as_mut().into_iter().for_each(|stored| stored.next_offset = next_offset);
            }
        }
        if half { Err("crashed between the steps".into()) } else { Ok(Flushed::Applied { cells }) }
    }
}

fn contradicts(part: &PartitionFlush, segment: &Segment) -> bool {
    let backwards = segment.from > segment.to && segment.gap.is_none();
    backwards || segment.from < 0 || segment.to < 0 || part.expected.is_some_and(|expected| expected != segment.from)
}

fn apply(kept: &mut Kept, part: &PartitionFlush, pieces: &[Piece], now_ms: i64) -> usize {
    let before = kept.stored.take();
    let condition = part.condition.clone();
    let new = StoredPartition {
        start_offset: None,
        next_offset: None,
        watermark_ms: None,
        fingerprint: None,
        ledger: Ledger::default(),
        lost_ms: None,
        gap_accepted: false,
        condition: condition.clone(),
        updated_at_ms: now_ms,
    };
    let mut stored = StoredPartition { updated_at_ms: now_ms, ..before.unwrap_or(new) };
    let high_watermark = condition.high_watermark.or(stored.condition.high_watermark);
    stored.condition = crate::store::Condition { high_watermark, ..condition };
    let mut cells = 0;
    if let Some(segment) = &part.segment {
        cells = add(&mut kept.counts, segment);
        stored.start_offset = stored.start_offset.or(Some(segment.from));
        stored.next_offset = Some(segment.to);
        stored.ledger.add(&segment.ledger);
        stored.watermark_ms = stored.watermark_ms.max(segment.watermark.ms());
        if let Some(gap) = segment.gap {
            stored.fingerprint = None;
            stored.start_offset = Some(gap.start_offset);
            kept.accepted = None;
        }
        stored.fingerprint = segment.fingerprint.or(stored.fingerprint);
        // A piece without an offset only tells where counting began.
        let tells = |piece: &&Piece| piece.from != piece.to || piece.gap.is_some() || kept.pieces.is_empty();
        let pieces: Vec<Piece> = pieces.iter().filter(tells).copied().collect();
        kept.pieces.extend(pieces);
    }
    kept.stored = Some(stored);
    cells
}

fn add(counts: &mut BTreeMap<Cell, u64>, segment: &Segment) -> usize {
    for bucket in segment.deltas.buckets() {
        let slot = bucket.slot;
        let mut count = |key: String, n: u64| {
            *counts.entry((slot.counter, slot.window, slot.start, key)).or_default() += n;
        };
        count(String::new(), bucket.total);
        bucket.keys.into_iter().for_each(|keyed| count(keyed.key.to_owned(), keyed.count));
    }
    segment.deltas.cells()
}
