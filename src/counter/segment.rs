use super::{Deltas, Ledger};
use crate::window::Watermark;

/// Tells a record of one topic from the record at the same offset of a topic made anew under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Offset of the last consumed record.
    pub offset: i64,
    /// Its record time, in ms.
    pub time_ms: i64,
    /// CRC-32 (IEEE) of its key followed by its value.
    pub crc: u32,
}

impl Fingerprint {
    /// The fingerprint of the record at `offset`. An absent key or value is as an empty one.
    pub fn of(offset: i64, time_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Fingerprint {
        let mut crc = crc32fast::Hasher::new();
        crc.update(key.unwrap_or_default());
        crc.update(value.unwrap_or_default());
        Fingerprint { offset, time_ms, crc: crc.finalize() }
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{:08x}", self.offset, self.time_ms, self.crc)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = ();

    /// Reads back what `Display` wrote.
    fn from_str(text: &str) -> Result<Fingerprint, ()> {
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or(());
        let offset = next()?.parse().map_err(|_| ())?;
        let time_ms = next()?.parse().map_err(|_| ())?;
        let crc = u32::from_str_radix(next()?, 16).map_err(|_| ())?;
        Ok(Fingerprint { offset, time_ms, crc })
    }
}

/// Records that were gone before they could be counted, and somebody accepted that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The start offset by which the ledger adds up behind the gap. Where the log was made anew, offsets begin anew.
    pub start_offset: i64,
    /// Between which times records are missing, in ms.
    pub missing_ms: (i64, i64),
}

/// What the offsets `[from, to)` of one partition add up to. A function of the log and the configuration alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// First offset of the range.
    pub from: i64,
    /// The offset after the range: the consumer's position.
    pub to: i64,
    /// What the range adds to the counts.
    pub deltas: Deltas,
    /// What became of each offset of the range.
    pub ledger: Ledger,
    /// Highest watermark of the range's records.
    pub watermark: Watermark,
    /// The last record of the range.
    pub fingerprint: Option<Fingerprint>,
    /// The earliest receipt among the range's events, in ms: how old its data are.
    pub oldest_received_ms: Option<i64>,
    /// Events that added to each counter, by the counter's index; shorter where the last ones got none.
    pub counter_events: Vec<u64>,
    /// Events that each counter would have counted if they had what it measures; as `counter_events`.
    pub unmeasured: Vec<u64>,
    /// The range is a gap: it holds nothing but what was lost, and may lead back.
    pub gap: Option<Gap>,
}

impl Segment {
    /// An empty range at `offset`.
    pub fn starting_at(offset: i64) -> Segment {
        Segment {
            from: offset,
            to: offset,
            deltas: Deltas::default(),
            ledger: Ledger::default(),
            watermark: Watermark::NONE,
            fingerprint: None,
            oldest_received_ms: None,
            counter_events: Vec::new(),
            unmeasured: Vec::new(),
            gap: None,
        }
    }

    /// From `from` over `lost` records that are gone to `to`, where the log goes on.
    pub fn across(gap: Gap, from: i64, to: i64, lost: u64) -> Segment {
        let ledger = Ledger { lost, ..Ledger::default() };
        Segment { from, to, ledger, gap: Some(gap), ..Segment::starting_at(from) }
    }

    /// Whether the range holds no offset.
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Takes the record at `offset` into the range. Offsets between the range's end and it held no record.
    pub fn consume(&mut self, offset: i64) {
        self.skip_to(offset);
        self.ledger.consumed += 1;
        self.to = offset + 1;
    }

    /// Takes the offsets up to this one into the range: they hold no record.
    pub fn skip_to(&mut self, offset: i64) {
        let skipped = offset.saturating_sub(self.to).max(0);
        self.ledger.skipped += skipped.unsigned_abs();
        self.to += skipped;
    }

    /// Notes when an event of the range was received.
    pub fn note_received(&mut self, received_ms: i64) {
        self.oldest_received_ms = Some(self.oldest_received_ms.map_or(received_ms, |old| old.min(received_ms)));
    }

    /// Notes that an event of the range added to the counter at `index`.
    pub fn note_counter(&mut self, index: usize) {
        add_at(&mut self.counter_events, index, 1);
    }

    /// Notes that an event of the range had nothing that the counter at `index` measures.
    pub fn note_unmeasured(&mut self, index: usize) {
        add_at(&mut self.unmeasured, index, 1);
    }

    /// Appends the range that follows. The caller has checked that `next.from == self.to`, and that neither is a gap.
    pub fn append(&mut self, next: Segment) {
        debug_assert_eq!(self.to, next.from, "segments are contiguous");
        self.to = next.to;
        self.deltas.merge(next.deltas);
        self.ledger.add(&next.ledger);
        self.watermark.raise(next.watermark);
        self.fingerprint = next.fingerprint.or(self.fingerprint);
        next.oldest_received_ms.into_iter().for_each(|ms| self.note_received(ms));
        next.counter_events.iter().enumerate().for_each(|(index, n)| add_at(&mut self.counter_events, index, *n));
        next.unmeasured.iter().enumerate().for_each(|(index, n)| add_at(&mut self.unmeasured, index, *n));
    }
}

fn add_at(counts: &mut Vec<u64>, index: usize, n: u64) {
    if counts.len() <= index {
        counts.resize(index + 1, 0);
    }
    counts[index] += n;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_as_it_was_written() {
        let print = Fingerprint::of(12, 1_760_000_000_000, Some(b"k"), Some(b"v"));
        assert_eq!(print.to_string().parse(), Ok(print));
        assert_ne!(print, Fingerprint::of(12, 1_760_000_000_000, Some(b"k"), Some(b"w")));
        assert!("1:2".parse::<Fingerprint>().is_err());
    }
}
