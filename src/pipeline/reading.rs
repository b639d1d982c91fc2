//! How a worker reads one partition: what it takes in of the records it is handed, and what it gives to be merged.

use super::start::Located;
use crate::counter::{Counted, Counting, Dedupe, Fingerprint, Segment};
use crate::log::{DeadLetter, Extent, LogRecord};

/// Where counting of a partition begins, and under which generation its batches are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) generation: u64,
    pub(super) offset: i64,
    /// Where reading begins: a dedupe horizon before `offset`, as far as the log has it.
    pub(super) read_from: i64,
}

impl Place {
    /// Where a partition starts that was located so.
    pub(super) fn of(located: &Located, generation: u64, offset: i64, horizon: u64) -> Place {
        let horizon = i64::try_from(horizon).unwrap_or(i64::MAX);
        let read_from = offset.saturating_sub(horizon).max(located.extent.start).min(offset);
        Place { partition: located.extent.partition, generation, offset, read_from }
    }
}

/// Offsets at the end of the log of which none was read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Under which generation they are to be read.
    pub generation: u64,
    /// The first of them.
    pub from: i64,
    /// The end of the log.
    pub to: i64,
}

impl Tail {
    /// Whether there is no record in it, when `first` is the first one from its beginning on and the log held this
    /// much afterwards. What retention took had records: only a look-up of the place may cross that.
    pub(super) fn is_empty(&self, first: Option<i64>, extent: &Extent) -> bool {
        extent.start <= self.from && self.to <= extent.end && first.is_none_or(|offset| offset >= self.to)
    }
}

/// What a worker has read of a partition since its last merge.
#[derive(Debug)]
pub(super) struct Reading {
    place: Place,
    /// The next offset that is wanted: what lies before it was asked for by nobody.
    next: i64,
    dedupe: Dedupe,
    batch: Segment,
    last: Last,
    letters: Vec<DeadLetter>,
}

/// A copy of the last record that was counted: only that of a batch is worth a checksum.
#[derive(Debug, Default)]
struct Last {
    offset: i64,
    /// -1 stands for a record without a time: Kafka's own mark for it.
    time_ms: i64,
    /// Key and value.
    bytes: Vec<u8>,
}

impl Last {
    fn set(&mut self, record: &LogRecord<'_>) {
        (self.offset, self.time_ms) = (record.offset, record.time_ms.unwrap_or(-1));
        self.bytes.clear();
        self.bytes.extend_from_slice(record.key.unwrap_or_default());
        self.bytes.extend_from_slice(record.value.unwrap_or_default());
    }
}

/// A batch to be merged, and its dead letters.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) segment: Segment,
    pub(super) letters: Vec<DeadLetter>,
}

impl Reading {
    /// Begins there, with nothing remembered.
    pub(super) fn at(place: Place, horizon: u64) -> Reading {
        let (dedupe, batch) = (Dedupe::new(horizon), Segment::starting_at(place.offset));
        Reading { place, next: place.read_from, dedupe, batch, last: Last::default(), letters: Vec::new() }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn dedupe(&self) -> &Dedupe {
        &self.dedupe
    }

    /// Cells of what was read since the last [`Reading::batch`].
    pub(super) fn cells(&self) -> usize {
        self.batch.deltas.cells()
    }

    /// Takes a record in: counts it, or remembers it when it lies before all that is to be counted. `now_ms` says when
    /// a dead letter failed, and nothing else.
    pub(super) fn take(&mut self, counting: &mut Counting, record: &LogRecord<'_>, now_ms: fn() -> i64) {
        if record.offset < self.next {
            return;
        }
        self.next = record.offset + 1;
        if record.offset < self.place.offset {
            Counting::remember(record.offset, record.time_ms, record.value, &mut self.dedupe);
        } else {
            self.count(counting, record, now_ms);
        }
    }

    /// There is no record in this tail: it is passed. One that came meanwhile, or a new place, makes this an old answer.
    /// Then nothing happens, and it is `false`.
    pub(super) fn skip(&mut self, tail: &Tail) -> bool {
        let is_ours = tail.generation == self.place.generation && tail.from == self.batch.to;
        if is_ours {
            self.batch.skip_to(tail.to);
        }
        is_ours
    }

    fn count(&mut self, counting: &mut Counting, record: &LogRecord<'_>, now_ms: fn() -> i64) {
        self.batch.consume(record.offset);
        self.last.set(record);
        let counted = counting.count(record.time_ms, record.value, &mut self.dedupe, &mut self.batch);
        if let Counted::DeadLetter(error) = counted {
            self.letters.push(DeadLetter {
                partition: record.partition,
                offset: record.offset,
                time_ms: record.time_ms,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                error,
                headers: record.copied_headers(),
                attempts: 1,
                failed_at_ms: now_ms(),
            });
        }
    }

    /// What was read since the last time, if anything.
    pub(super) fn batch(&mut self) -> Option<Batch> {
        if self.batch.is_empty() {
            return None;
        }
        let deltas = self.batch.deltas.with_room_like();
        let next = Segment { deltas, ..Segment::starting_at(self.batch.to) };
        let mut segment = std::mem::replace(&mut self.batch, next);
        if segment.ledger.consumed > 0 {
            let Last { offset, time_ms, bytes } = &self.last;
            segment.fingerprint = Some(Fingerprint::of(*offset, *time_ms, None, Some(bytes)));
        }
        Some(Batch { segment, letters: std::mem::take(&mut self.letters) })
    }
}
