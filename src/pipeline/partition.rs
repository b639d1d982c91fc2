//! One partition as a state machine without I/O.
//!
//! In: located, merged batches, ticks, answers about the log's end, flush answers, revocation. Out: where to start,
//! when to look the position up again, what to flush, when it may be given up. Threads, clients and clocks are thin
//! drivers around it, so a simulation can take it through every order of events.
//!
//! What must stay true:
//! - the segments in flight and pending are contiguous, begin at the stored offset and end at `position`;
//! - at most one segment is in flight, and it is kept until the store has decided it;
//! - a segment leaves only when every dead letter in it is stored;
//! - whenever the place is lost, everything that is not stored is dropped: the log still has it.

mod view;

use super::OnGap;
use super::start::{Known, Located, Missing, Start};
use crate::counter::{Fingerprint, Ledger, Segment};
use crate::store::{Condition, PartitionFlush, PartitionState};
use crate::window::Watermark;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What a driver has to do after an input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Look the position up (store and log) and answer with [`Partition::located`].
    Locate,
    /// Read from this offset on; batches are to be merged under the new [`Partition::generation`].
    Start(i64),
    /// Everything is settled: give the partition up.
    Release,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Merged {
    /// It is pending.
    Accepted,
    /// It was read before the partition lost its place; it is dropped, and read again if it has to be.
    Stale,
}

/// What the store said about a flushed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is stored.
    Applied,
    /// Nothing was written; this is the stored offset.
    Stored(Option<i64>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Nobody knows yet where to start; the look-up is under way.
    Locating,
    Running,
    /// Takes no more records; what is pending is flushed, then `Next` is to be done.
    Draining(Next),
    /// Does not go on by itself, for this reason. It is looked up again now and then: the reason may pass.
    Stopped {
        reason: String,
        missing: Option<Missing>,
    },
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Partition {
    id: i32,
    generation: u64,
    phase: Phase,
    /// The store's `next_offset`, as far as we know.
    stored: Option<i64>,
    /// It was there once, so a store without it has lost the counts.
    was_stored: bool,
    /// Where counting began.
    start_offset: Option<i64>,
    /// The ledger as stored.
    ledger: Ledger,
    /// End of everything merged.
    position: i64,
    pending: VecDeque<Segment>,
    in_flight: Option<Arc<Segment>>,
    /// The next batch opens a new segment even though there would be room in the last.
    sealed: bool,
    /// Everything merged below this offset is to be flushed now.
    flush_to: i64,
    /// Something is to be said to the store even though nothing is pending.
    quiet: bool,
    /// Dead letters that are not stored yet: their offset, and under which generation they were read.
    letters: BTreeSet<(i64, u64)>,
    watermark: Watermark,
    stored_watermark: Watermark,
    high_watermark: Option<i64>,
    paused: Option<String>,
    /// The last record that is counted.
    newest: Option<Fingerprint>,
    /// The last record that was counted when the log was last seen to be the same.
    anchor: Option<Fingerprint>,
}

impl Partition {
    /// Newly assigned; the look-up of its position is to be started.
    pub fn assigned(id: i32, generation: u64) -> Partition {
        Partition {
            id,
            generation,
            phase: Phase::Locating,
            stored: None,
            was_stored: false,
            start_offset: None,
            ledger: Ledger::default(),
            position: 0,
            pending: VecDeque::new(),
            in_flight: None,
            sealed: false,
            flush_to: 0,
            quiet: false,
            letters: BTreeSet::new(),
            watermark: Watermark::NONE,
            stored_watermark: Watermark::NONE,
            high_watermark: None,
            paused: None,
            newest: None,
            anchor: None,
        }
    }

    /// The look-up is answered.
    pub fn located(&mut self, located: &Located, on_gap: OnGap) -> Next {
        if !matches!(self.phase, Phase::Locating | Phase::Stopped { .. }) {
            return Next::Nothing;
        }
        self.learn(located);
        let stored = located.stored.as_ref();
        match located.start(self.was_stored) {
            Start::At(offset) => {
                self.anchor = self.anchor.filter(|record| located.counts(record)).or(self.newest);
                self.runs_from(offset)
            }
            Start::Behind(missing) if missing.is_passed(stored.is_some_and(|s| s.gap_accepted), on_gap) => {
                // What was known of the log may be of another one. The gap is stored before anything behind it.
                (self.anchor, self.newest) = (None, None);
                self.pending.push_back(located.across(&missing));
                self.sealed = true;
                self.runs_from(missing.resume)
            }
            Start::Behind(missing) => {
                if missing.in_another_log {
                    // It says how many records are lost with the log that was counted.
                    self.high_watermark = stored.and_then(|s| s.condition.high_watermark);
                }
                self.stops(missing)
            }
        }
    }

    fn learn(&mut self, located: &Located) {
        let stored = located.stored.as_ref();
        self.was_stored |= self.stored.is_some();
        self.stored = stored.and_then(|s| s.next_offset);
        self.position = self.stored.unwrap_or(0);
        self.start_offset = stored.and_then(|s| s.start_offset);
        self.ledger = stored.map(|s| s.ledger).unwrap_or_default();
        self.watermark = stored.and_then(|s| s.watermark_ms).map_or(Watermark::NONE, Watermark::at);
        self.stored_watermark = self.watermark;
        self.newest = stored.and_then(|s| s.fingerprint);
        self.high_watermark = Some(located.extent.end);
    }

    fn runs_from(&mut self, offset: i64) -> Next {
        self.position = offset;
        // A pause does not outlast the place: whoever starts it pauses it again if need be.
        self.paused = None;
        self.phase = Phase::Running;
        Next::Start(offset)
    }

    fn stops(&mut self, missing: Missing) -> Next {
        self.phase = Phase::Stopped { reason: missing.reason(), missing: Some(missing) };
        self.quiet = true;
        Next::Nothing
    }

    /// It was located, but must not start now, for this reason; instead of [`Partition::located`].
    pub fn held_up(&mut self, located: &Located, reason: String) {
        if matches!(self.phase, Phase::Locating | Phase::Stopped { .. }) {
            self.learn(located);
            self.phase = Phase::Stopped { reason, missing: None };
            self.quiet = true;
        }
    }

    /// A batch was read and counted, under the generation in which its reading began. `letters` are the offsets of
    /// its dead letters, on their way to the dead-letter topic. `cap` bounds the cells of a segment.
    pub fn merge(&mut self, generation: u64, batch: Segment, letters: &[i64], cap: usize) -> Merged {
        if generation != self.generation || self.phase != Phase::Running || batch.from != self.position {
            return Merged::Stale;
        }
        self.position = batch.to;
        self.letters.extend(letters.iter().map(|offset| (*offset, generation)));
        self.watermark.raise(batch.watermark);
        let fits = |last: &Segment| last.deltas.cells() + batch.deltas.cells() <= cap;
        match self.pending.back_mut() {
            Some(last) if !self.sealed && fits(last) => last.append(batch),
            _ => self.pending.push_back(batch),
        }
        self.sealed = false;
        Merged::Accepted
    }

    /// These dead letters are stored; `generation` is the one that they were merged under. What was dropped meanwhile
    /// and is read again has letters of its own.
    pub fn letters_stored(&mut self, generation: u64, offsets: &[i64]) {
        for offset in offsets {
            self.letters.remove(&(*offset, generation));
        }
    }

    /// A fresh answer says that the log ends at `end`; it was asked for at `asked_ms`. A partition that is read to
    /// its end is complete up to then.
    pub fn ends_at(&mut self, end: i64, asked_ms: i64, lateness_ms: i64) {
        if matches!(&self.phase, Phase::Stopped { missing: Some(missing), .. } if missing.in_another_log) {
            return;
        }
        self.high_watermark = Some(end);
        if self.phase == Phase::Running && self.position >= end {
            self.watermark.read_to_end(asked_ms, lateness_ms);
        }
    }

    /// The flush interval has passed: everything merged so far is due, a quiet partition tells its watermark and a
    /// stopped one its reason.
    pub fn tick(&mut self) {
        self.flush_to = self.position;
        self.quiet = true;
    }

    /// What is to be flushed now, if anything. A part that is in flight already comes again: its answer was lost.
    pub fn due(&mut self, partitions: i32) -> Option<PartitionFlush> {
        match self.phase {
            Phase::Locating => return None,
            Phase::Stopped { .. } => return std::mem::take(&mut self.quiet).then(|| self.part(None, partitions)),
            Phase::Running | Phase::Draining(_) => {}
        }
        if self.in_flight.is_none() {
            self.in_flight = self.next_segment().map(Arc::new);
        }
        let segment = self.in_flight.clone()?;
        Some(self.part(Some(segment), partitions))
    }

    fn next_segment(&mut self) -> Option<Segment> {
        let Some(first) = self.pending.front() else {
            let quiet = std::mem::take(&mut self.quiet) && self.phase == Phase::Running;
            return quiet.then(|| Segment { watermark: self.watermark, ..Segment::starting_at(self.position) });
        };
        let full = first.gap.is_some() || self.pending.len() > 1;
        let due = full || first.from < self.flush_to || self.phase != Phase::Running;
        if !due {
            return None;
        }
        if self.letters.first().is_some_and(|(letter, _)| *letter < first.to) {
            // Else a topic full of bad records would extend the segment for ever.
            self.sealed = true;
            return None;
        }
        let mut segment = self.pending.pop_front()?;
        if self.pending.is_empty() {
            segment.watermark.raise(self.watermark);
            self.quiet = false;
        }
        Some(segment)
    }

    fn part(&self, segment: Option<Arc<Segment>>, partitions: i32) -> PartitionFlush {
        PartitionFlush { partition: self.id, expected: self.stored, segment, condition: self.condition(partitions) }
    }

    /// The store has decided the part that was last [`Partition::due`].
    pub fn answered(&mut self, answer: Answer) -> Next {
        let sent = self.in_flight.take();
        match (answer, sent) {
            (Answer::Applied, Some(sent)) => self.applied(&sent),
            (Answer::Applied, None) => Next::Nothing,
            (Answer::Stored(stored), sent) if stored == self.stored => {
                // Another partition's offset differed. Ours goes out again with the next flush.
                self.in_flight = sent;
                Next::Nothing
            }
            (Answer::Stored(Some(stored)), Some(sent)) if stored == sent.to => self.applied(&sent),
            (Answer::Stored(_), _) => self.lost_its_place(),
        }
    }

    fn applied(&mut self, sent: &Segment) -> Next {
        self.start_offset = sent.gap.map(|gap| gap.start_offset).or(self.start_offset).or(Some(sent.from));
        self.stored = Some(sent.to);
        self.ledger.add(&sent.ledger);
        self.stored_watermark.raise(sent.watermark);
        self.newest = sent.fingerprint.or(self.newest);
        // The earlier the record, the surer it is of the log that was begun with.
        self.anchor = self.anchor.or(self.newest);
        self.settled()
    }

    /// What comes next once a draining partition has nothing left to flush.
    fn settled(&mut self) -> Next {
        if !self.is_settled() {
            return Next::Nothing;
        }
        match std::mem::replace(&mut self.phase, Phase::Locating) {
            Phase::Draining(next) => next,
            other => {
                self.phase = other;
                Next::Nothing
            }
        }
    }

    fn lost_its_place(&mut self) -> Next {
        self.generation += 1;
        self.pending.clear();
        self.in_flight = None;
        self.letters.clear();
        match std::mem::replace(&mut self.phase, Phase::Locating) {
            Phase::Draining(Next::Release) => Next::Release,
            Phase::Running | Phase::Draining(_) | Phase::Stopped { .. } | Phase::Locating => Next::Locate,
        }
    }

    /// What it knows of its log, to be compared with what the log holds.
    pub fn known(&self) -> Option<Known> {
        let Partition { generation, position, anchor, newest, .. } = *self;
        (self.phase == Phase::Running).then_some(Known { generation, position, anchor, newest })
    }

    /// It was compared. In another log, made anew or cut behind our back, what is pending may be of either.
    pub fn compared(&mut self, known: &Known, is_another: bool) -> Next {
        if known.generation != self.generation || self.phase != Phase::Running {
            return Next::Nothing;
        }
        if is_another {
            return self.lost_its_place();
        }
        self.anchor = known.newest;
        Next::Nothing
    }

    /// The client says that the position is not in the log. What was read of it still counts; then the position is
    /// looked up again.
    pub fn displaced(&mut self) -> Next {
        self.drain_for(Next::Locate)
    }

    /// The partition is to be given up. What is pending is flushed first, as far as there is time.
    pub fn revoked(&mut self) -> Next {
        self.drain_for(Next::Release)
    }

    fn drain_for(&mut self, next: Next) -> Next {
        match &self.phase {
            Phase::Locating | Phase::Stopped { .. } if next == Next::Release => Next::Release,
            Phase::Locating | Phase::Stopped { .. } | Phase::Draining(Next::Release) => Next::Nothing,
            Phase::Running | Phase::Draining(_) => {
                self.generation += 1;
                self.phase = Phase::Draining(next);
                self.settled()
            }
        }
    }

    /// Too much is pending (for this reason), or `None`: no longer.
    pub fn pause(&mut self, reason: Option<&str>) {
        self.paused = reason.map(str::to_owned);
    }

    fn condition(&self, partitions: i32) -> Condition {
        let (state, reason, missing) = match (&self.phase, &self.paused) {
            (Phase::Stopped { reason, missing }, _) => {
                let missing = missing.as_ref().map(|missing| missing.offsets.clone());
                (PartitionState::Stopped, Some(reason.clone()), missing)
            }
            (_, Some(reason)) => (PartitionState::Paused, Some(reason.clone()), None),
            (_, None) => (PartitionState::Running, None, None),
        };
        // An answer about the end may be older than what was read since.
        let high_watermark = self.high_watermark.map(|end| end.max(self.stored.unwrap_or(end)).max(self.position));
        Condition { state, reason, missing, high_watermark, partitions }
    }
}

#[cfg(test)]
mod tests;
