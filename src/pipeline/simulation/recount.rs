//! What the store must hold, counted again from the log, slowly and by code of its own.
//!
//! The store's pieces say which offsets of which log its counts are made of. First they themselves must make sense:
//! in one row, each record once, nothing passed over that a processor could know of. Then counts, ledger, watermark
//! and dead letters must be what the records of these pieces add up to.

use super::log::{Entry, Event, Log, MAX_AHEAD_MS, Topic, What};
use super::store::{Cell, Kept, Piece};
use crate::counter::Ledger;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const LATENESS_MS: i64 = 5_000;

/// The counters of `world::COUNTERS`, as a table: which kinds, by what, and (size, keep) in seconds.
type Rule = (&'static [&'static str], fn(&Event) -> String, &'static [(i64, i64)]);
const RULES: [Rule; 2] = [
    (&["view", "click"], |event| event.serial.to_string(), &[(10, 60), (60, 100)]),
    (&["view"], |event| event.key.to_string(), &[(10, 20)]),
];

/// What is right at any moment.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(topic: &Topic, id: i32, kept: &Kept, horizon: i64) -> Result<(), String> {
    let Some(stored) = &kept.stored else { return Ok(()) };
    let Some(next) = stored.next_offset else { return Ok(()) };
    let told = |what: String| format!("partition {id} at offset {next}: {what}");
    let Recounted { counts, ledger, dead } = recount(topic, id, kept, horizon);
    if kept.counts != counts {
        return Err(told(format!("counts differ\nstored    {:?}\nrecounted {counts:?}", kept.counts)));
    }
    let exchanged = kept.pieces.iter().any(|piece| piece.log != piece.look.log);
    if folded(stored.ledger) != folded(ledger) || !exchanged && stored.ledger != ledger {
        return Err(told(format!("ledgers differ\nstored    {:?}\nrecounted {ledger:?}", stored.ledger)));
    }
    let unaccounted = stored.ledger.unaccounted(next - stored.start_offset.unwrap_or(next));
    if unaccounted != 0 {
        return Err(told(format!("{unaccounted} unaccounted, start {:?}, {:?}", stored.start_offset, stored.ledger)));
    }
    if let Some(letter) = dead.iter().find(|letter| !topic.dead.contains(letter)) {
        return Err(told(format!("dead letter {letter:?} is not in its topic")));
    }
    in_one_row(topic, id, kept, next).map_err(told)?;
    watermark(topic, id, kept, next).map_err(told)
}

/// What the pieces add up to.
#[derive(Default)]
struct Recounted {
    counts: BTreeMap<Cell, u64>,
    ledger: Ledger,
    /// Dead letters: partition, log, offset.
    dead: BTreeSet<(i32, usize, i64)>,
}

fn recount(topic: &Topic, id: i32, kept: &Kept, horizon: i64) -> Recounted {
    let Recounted { mut counts, mut ledger, mut dead } = Recounted::default();
    for piece in &kept.pieces {
        if let Some(lost) = piece.gap {
            ledger.lost += lost;
            continue;
        }
        let log = &topic.logs(id)[piece.log];
        for (offset, entry) in log.range(piece.from, piece.to) {
            ledger.consumed += u64::from(entry.what != What::Hole);
            match entry.what {
                What::Hole => ledger.skipped += 1,
                What::Bad => {
                    ledger.dead_lettered += 1;
                    dead.insert((id, topic.first_with(id, piece.log, offset), offset));
                }
                What::Event(event) => {
                    let repeats = match piece.look.log == piece.log {
                        true => repeats(log, piece, offset, &event, horizon),
                        false => may_repeat(topic, id, &event) && !is_counted(kept, &event),
                    };
                    match repeats {
                        true => ledger.duplicate += 1,
                        false => add(&mut counts, &mut ledger, &event, entry),
                    }
                }
            }
        }
    }
    Recounted { counts, ledger, dead }
}

/// A reader under whom the log was exchanged remembers ids of either log, so a repeated id may count or not. An event
/// that would not be counted anyway is then taken for a duplicate; `folded` makes up for it.
fn may_repeat(topic: &Topic, id: i32, event: &Event) -> bool {
    let same = |entry: &Entry| match entry.what {
        What::Event(other) => other.id == event.id && other.serial != event.serial,
        What::Bad | What::Hole => false,
    };
    event.id.is_some() && topic.logs(id).iter().any(|log| log.entries.iter().any(same))
}

fn folded(ledger: Ledger) -> Ledger {
    let duplicate = ledger.duplicate + ledger.filtered + ledger.expired;
    Ledger { duplicate, filtered: 0, expired: 0, ..ledger }
}

fn is_counted(kept: &Kept, event: &Event) -> bool {
    let serial = event.serial.to_string();
    kept.counts.keys().any(|(counter, _, _, key)| *counter == 0 && *key == serial)
}

/// The same id stood at most a horizon before, as far as the log held it when the reading began.
fn repeats(log: &Log, piece: &Piece, offset: i64, event: &Event, horizon: i64) -> bool {
    let from = (offset - horizon).max(piece.look.start);
    let same = |entry: &Entry| matches!(entry.what, What::Event(before) if before.id == event.id);
    event.id.is_some() && log.range(from, offset).any(|(_, entry)| same(entry))
}

fn add(counts: &mut BTreeMap<Cell, u64>, ledger: &mut Ledger, event: &Event, entry: &Entry) {
    let record_ms = entry.time_ms.unwrap_or_default();
    let said = event.time_ms.unwrap_or(record_ms);
    let at = if said > record_ms + MAX_AHEAD_MS { record_ms } else { said };
    let (mut wanted, mut counted) = (false, false);
    for (counter, (kinds, key, windows)) in (0..).zip(RULES) {
        if !kinds.contains(&event.kind) {
            continue;
        }
        wanted = true;
        for (window, (size, keep)) in (0..).zip(windows) {
            let start = at - at.rem_euclid(size * 1_000);
            if start + (size + keep) * 1_000 <= record_ms {
                continue;
            }
            counted = true;
            for key in [String::new(), key(event)] {
                *counts.entry((counter, window, start / 1_000, key)).or_default() += 1;
            }
        }
    }
    match (wanted, counted) {
        (_, true) => ledger.counted += 1,
        (true, false) => ledger.expired += 1,
        (false, false) => ledger.filtered += 1,
    }
}

/// The pieces follow each other up to the stored offset, no record is in two of them, and where one log follows
/// another, the processor either could not know or said what is lost.
fn in_one_row(topic: &Topic, id: i32, kept: &Kept, next: i64) -> Result<(), String> {
    let mut covered = BTreeSet::new();
    let mut last: Option<&Piece> = None;
    // Records of another log were read before anybody could see that it is another.
    let mut unseen = false;
    for piece in &kept.pieces {
        if last.is_some_and(|last| last.to != piece.from) {
            return Err(format!("{piece:?} does not follow {last:?}"));
        }
        if piece.gap.is_some() {
            gap(topic, id, piece, last, &covered, unseen)?;
            unseen = false;
        } else {
            unseen |= read(topic, id, piece, last)?;
            let log = &topic.logs(id)[piece.log];
            for (offset, entry) in log.range(piece.from, piece.to) {
                if entry.what != What::Hole && !covered.insert((topic.first_with(id, piece.log, offset), offset)) {
                    return Err(format!("offset {offset} of {piece:?} is in two pieces"));
                }
            }
        }
        last = Some(piece);
    }
    match last {
        Some(last) if last.to != next => Err(format!("the last piece is {last:?}")),
        _ => Ok(()),
    }
}

/// Whether `piece` begins another log that nobody could see to be another.
fn read(topic: &Topic, id: i32, piece: &Piece, last: Option<&Piece>) -> Result<bool, String> {
    if piece.log < piece.look.log {
        return Err(format!("{piece:?} was read before the partition was located"));
    }
    let Some(last) = last else {
        let may_begin = piece.from == 0 || (piece.from == piece.look.start && !piece.look.committed);
        return if may_begin { Ok(false) } else { Err(format!("{piece:?} begins too late")) };
    };
    if piece.from <= topic.same_below(id, last.at(), piece.log) {
        return Ok(false);
    }
    let located_in_it = topic.same_below(id, last.at(), piece.look.log) < piece.from && piece.look.shows;
    if located_in_it && last.gap.is_none() {
        return Err(format!("{piece:?} is of another log than {last:?}, and it showed"));
    }
    Ok(true)
}

impl Piece {
    /// The log that a position behind it means.
    pub(super) fn at(&self) -> usize {
        if self.gap.is_some() { self.look.log } else { self.log }
    }
}

fn gap(
    topic: &Topic,
    id: i32,
    piece: &Piece,
    last: Option<&Piece>,
    covered: &BTreeSet<(usize, i64)>,
    unseen: bool,
) -> Result<(), String> {
    if unseen {
        return Ok(());
    }
    let (look, lost) = (piece.look, piece.gap.unwrap_or_default());
    let log = &topic.logs(id)[look.log];
    // A record without a time cannot be told to be younger than what was counted.
    let missed = |(offset, entry): &(i64, &Entry)| {
        entry.what != What::Hole
            && entry.time_ms.is_some()
            && !covered.contains(&(topic.first_with(id, look.log, *offset), *offset))
    };
    if !look.accepted && log.range(look.start, piece.to).any(|one| missed(&one)) {
        return Err(format!("{piece:?} passes over records that are there"));
    }
    let same = last.is_none_or(|last| piece.from <= topic.same_below(id, last.at(), look.log));
    if same && piece.to >= piece.from {
        let gone = piece.to - piece.from;
        return if lost == gone.unsigned_abs() { Ok(()) } else { Err(format!("{piece:?} loses {gone}")) };
    }
    // How many an exchanged log still had is known as far as somebody had seen its end, and what was seen may have been
    // that of its successor already.
    let most = topic.logs(id)[..=look.log].iter().map(Log::end).max().unwrap_or(0) - piece.from;
    if lost > most.max(0).unsigned_abs() {
        return Err(format!("{piece:?} cannot lose that many, at most {most}"));
    }
    Ok(())
}

/// It never says of a time that all is counted while a record of it is still to come.
fn watermark(topic: &Topic, id: i32, kept: &Kept, next: i64) -> Result<(), String> {
    let newest = topic.newest(id);
    let is_newest = |piece: &Piece| piece.gap.is_none() && piece.to <= topic.same_below(id, piece.log, newest);
    if !kept.pieces.iter().all(is_newest) {
        return Ok(());
    }
    let log = topic.log(id);
    let ahead = kept.stored.as_ref().and_then(|stored| stored.watermark_ms);
    let first = log.range(next, log.end()).find_map(|(_, entry)| entry.time_ms.filter(|_| entry.what != What::Hole));
    match (ahead, first) {
        (Some(watermark), Some(first)) if watermark > first - LATENESS_MS => {
            Err(format!("the watermark {watermark} is past the record of {first} that is to come"))
        }
        _ => Ok(()),
    }
}
