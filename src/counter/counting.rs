use super::{Counters, Dedupe, Outcome, Segment, Slot};
use crate::event::{Door, Event, Invalid};
use crate::window::event_time;
use std::sync::Arc;

/// The two allowances of event time, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How much later than its window an event may come before the window is called final.
    pub lateness_ms: i64,
    /// How far past its record an event's timestamp may lie before the record's time stands for it.
    pub max_ahead_ms: i64,
}

/// What came of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// It was an event, and this is its outcome.
    Event(Outcome),
    /// It cannot be read as an event: it has to be kept as a dead letter, for this reason.
    DeadLetter(String),
}

/// Decides what each record adds to the counts.
///
/// The outcome of a record depends on the configuration, the record, and the ids of the records at most a dedupe horizon
/// before it: on the log alone.
#[derive(Debug)]
pub struct Counting {
    counters: Arc<Counters>,
    timing: Timing,
    key: String,
    measured: String,
}

impl Counting {
    /// For these counters.
    pub fn new(counters: Arc<Counters>, timing: Timing) -> Counting {
        Counting { counters, timing, key: String::new(), measured: String::new() }
    }

    /// Adds one record to the segment: its outcome, its deltas and its watermark. The caller has noted its offset
    /// by [`Segment::consume`]. `time_ms` is the record's time, `dedupe` knows the ids of the horizon before it.
    pub fn count(
        &mut self,
        time_ms: Option<i64>,
        value: Option<&[u8]>,
        dedupe: &mut Dedupe,
        segment: &mut Segment,
    ) -> Counted {
        let offset = segment.to - 1;
        match readable(time_ms, value) {
            Err(reason) => {
                dedupe.repeats(offset, time_ms, None);
                segment.ledger.note(Outcome::DeadLettered);
                if let Some(time_ms) = time_ms {
                    segment.watermark.consumed(None, time_ms, self.timing.lateness_ms);
                }
                Counted::DeadLetter(reason.to_string())
            }
            Ok((time_ms, event)) => {
                let event_ms = event_time(event.time_ms(time_ms), time_ms, self.timing.max_ahead_ms);
                segment.watermark.consumed(Some(event_ms), time_ms, self.timing.lateness_ms);
                let outcome = if dedupe.repeats(offset, Some(time_ms), event.event_id.as_deref()) {
                    Outcome::Duplicate
                } else {
                    self.add(time_ms, event_ms, &event, segment)
                };
                segment.ledger.note(outcome);
                Counted::Event(outcome)
            }
        }
    }

    /// Notes the id of a record that lies before all that is to be counted.
    pub fn remember(offset: i64, time_ms: Option<i64>, value: Option<&[u8]>, dedupe: &mut Dedupe) {
        let event = readable(time_ms, value).ok();
        dedupe.repeats(offset, time_ms, event.as_ref().and_then(|(_, event)| event.event_id.as_deref()));
    }

    fn add(&mut self, record_ms: i64, time_ms: i64, event: &Event<'_>, segment: &mut Segment) -> Outcome {
        segment.note_received(event.received_at_ms.unwrap_or(record_ms));
        let mut outcome = Outcome::Filtered;
        for (index, counter) in self.counters.iter().enumerate() {
            if !counter.wants(event) {
                continue;
            }
            let Some(measured) = counter.measuring().measure(event, &mut self.measured) else {
                segment.note_unmeasured(index);
                continue;
            };
            if outcome == Outcome::Filtered {
                outcome = Outcome::Expired;
            }
            // Counters are at most 1,000 and windows 100, so both fit.
            let number = index as u16;
            // Absent until a window takes the event; then the id of its key, if the counter has dimensions.
            let mut keyed = None;
            for (place, window) in counter.windows().iter().enumerate() {
                let start = window.start_of(time_ms);
                if !window.is_kept(start, record_ms) {
                    continue;
                }
                let id = *keyed.get_or_insert_with(|| {
                    outcome = Outcome::Counted;
                    segment.note_counter(index);
                    (!counter.by().is_empty()).then(|| {
                        self.key.clear();
                        counter.by().write_key(event, &mut self.key);
                        segment.deltas.id(number, &self.key)
                    })
                });
                segment.deltas.add_event(Slot { counter: number, window: place as u16, start }, id, measured);
            }
        }
        outcome
    }
}

fn readable(time_ms: Option<i64>, value: Option<&[u8]>) -> Result<(i64, Event<'_>), Invalid> {
    let value = value.ok_or(Invalid::Tombstone)?;
    let event = Event::parse(value, Door::Topic)?;
    Ok((time_ms.ok_or(Invalid::NoRecordTime)?, event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::{Spec, WindowSpec};

    const NOW: i64 = 1_760_000_000_000;

    fn spec(name: &str, event: &[&str], by: &[&str]) -> Spec {
        Spec {
            name: name.into(),
            event: event.iter().map(|e| (*e).to_owned()).collect(),
            by: by.iter().map(|b| (*b).to_owned()).collect(),
            windows: vec![
                WindowSpec { size: "10s".into(), keep: "1h".into() },
                WindowSpec { size: "1m".into(), keep: "1d".into() },
            ],
            max_keys: 10,
            ..Spec::default()
        }
    }

    fn counting() -> Counting {
        let specs = vec![spec("views", &["view"], &["payload.path"]), spec("plain", &["view", "click"], &[])];
        let timing = Timing { lateness_ms: 5_000, max_ahead_ms: 60_000 };
        Counting::new(Arc::new(Counters::new(specs).unwrap()), timing)
    }

    fn count(value: &str) -> (Counted, Segment) {
        let mut segment = Segment::starting_at(0);
        segment.consume(0);
        let counted = counting().count(Some(NOW), Some(value.as_bytes()), &mut Dedupe::new(0), &mut segment);
        assert_eq!(segment.ledger.unaccounted(segment.to - segment.from), 0);
        (counted, segment)
    }

    #[test]
    fn an_event_adds_to_each_window_of_each_counter_that_wants_it() {
        let (counted, segment) = count(r#"{"type":"view","payload":{"path":"/a"}}"#);
        assert_eq!(counted, Counted::Event(Outcome::Counted));
        let mut slots: Vec<_> = segment.deltas.buckets().iter().map(|b| (b.slot, b.total, b.keys.len())).collect();
        slots.sort();
        let start = NOW / 1_000;
        let slot = |counter, window, size: i64| Slot { counter, window, start: start / size * size };
        assert_eq!(
            slots,
            [(slot(0, 0, 10), 1, 1), (slot(0, 1, 60), 1, 1), (slot(1, 0, 10), 1, 0), (slot(1, 1, 60), 1, 0)]
        );
        assert_eq!(segment.watermark.ms(), Some(NOW - 5_000));
    }

    #[test]
    fn outcomes_are_decided_in_their_order() {
        assert_eq!(count(r#"{"type":"other"}"#).0, Counted::Event(Outcome::Filtered));
        let old = format!(r#"{{"type":"view","timestamp":{}}}"#, NOW - 90_000_000);
        assert_eq!(count(&old).0, Counted::Event(Outcome::Expired));
        let late = format!(r#"{{"type":"view","timestamp":{}}}"#, NOW - 7_200_000);
        let (counted, segment) = count(&late);
        assert_eq!(counted, Counted::Event(Outcome::Counted));
        assert!(segment.deltas.buckets().iter().all(|bucket| bucket.slot.window == 1), "only the minute is still kept");
        assert!(matches!(count("{}").0, Counted::DeadLetter(_)));
    }

    #[test]
    fn a_record_without_value_or_time_is_a_dead_letter() {
        for (time, value) in [(None, Some(&br#"{"type":"view"}"#[..])), (Some(NOW), None), (Some(NOW), Some(&b""[..]))]
        {
            let mut segment = Segment::starting_at(7);
            segment.consume(7);
            let counted = counting().count(time, value, &mut Dedupe::new(10), &mut segment);
            assert!(matches!(counted, Counted::DeadLetter(_)));
            assert_eq!(segment.ledger.dead_lettered, 1);
            assert_eq!(segment.watermark.ms(), time.map(|t| t - 5_000));
        }
    }

    #[test]
    fn an_id_counts_once_within_the_horizon_and_a_dead_letter_leaves_none() {
        let (mut counting, mut dedupe, mut segment) = (counting(), Dedupe::new(3), Segment::starting_at(0));
        let (a, b) = (r#"{"type":"view","id":"a"}"#, r#"{"type":"other","id":"b"}"#);
        let bad = r#"{"id":"c"}"#;
        let c = r#"{"type":"view","message_id":"c"}"#;
        for (offset, value) in [a, a, b, b, bad, c, c, r#"{"type":"view"}"#, r#"{"type":"view"}"#].iter().enumerate() {
            segment.consume(offset as i64);
            counting.count(Some(NOW), Some(value.as_bytes()), &mut dedupe, &mut segment);
        }
        let l = segment.ledger;
        assert_eq!((l.counted, l.duplicate, l.filtered, l.dead_lettered), (4, 3, 1, 1));
        // `c` was last at 6, `a` at 1.
        for (value, offset) in [(c, 9_i64), (a, 10)] {
            segment.consume(offset);
            counting.count(Some(NOW), Some(value.as_bytes()), &mut dedupe, &mut segment);
        }
        assert_eq!((segment.ledger.counted, segment.ledger.duplicate), (5, 4));
        assert_eq!(segment.watermark.ms(), Some(NOW - 5_000));
    }
}
