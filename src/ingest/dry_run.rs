//! What would become of events that are not stored: the answer to `POST /events?dry_run=1`.

use super::batch::{Batch, Fault};
use crate::counter::{Counted, Counters, Counting, Dedupe, Outcome, Segment, Slot, Timing};
use crate::log::NewRecord;
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// How events are counted further on.
#[derive(Debug, Clone)]
pub struct Counts {
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The allowances of event time.
    pub timing: Timing,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Rehearsal {
    dry_run: bool,
    accepted: usize,
    rejected: usize,
    event_ids: Vec<String>,
    errors: Vec<Fault>,
    events: Vec<Rehearsed>,
}

/// What would be stored for one event, and what it would add to.
#[derive(Debug, Serialize)]
struct Rehearsed {
    index: usize,
    /// The record's key.
    key: String,
    /// The record's value.
    record: Option<Box<RawValue>>,
    /// What would become of the record, if the same id does not come twice.
    outcome: &'static str,
    counters: Vec<Reached>,
}

/// A counter that an event adds to.
#[derive(Debug, Serialize)]
struct Reached {
    counter: String,
    /// The key that it is counted under; a counter without `by` has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    windows: Vec<ReachedWindow>,
}

#[derive(Debug, Serialize)]
struct ReachedWindow {
    size: String,
    start: i64,
    end: i64,
}

impl Rehearsal {
    /// Counts the records of a batch as if each had been stored at this time, alone.
    pub(super) fn of(batch: Batch, counts: &Counts, now_ms: i64) -> Rehearsal {
        let mut counting = Counting::new(counts.counters.clone(), counts.timing);
        // The records are those of the events that have no fault, in their order.
        let mut faulty = batch.faults.iter().map(|fault| fault.index).peekable();
        let good = (0..batch.records.len() + batch.faults.len()).filter(|index| faulty.next_if_eq(index).is_none());
        let events = good.zip(&batch.records);
        let events = events.map(|(index, record)| rehearse(index, record, &mut counting, counts, now_ms)).collect();
        Rehearsal {
            dry_run: true,
            accepted: batch.records.len(),
            rejected: batch.faults.len(),
            event_ids: batch.event_ids,
            errors: batch.faults,
            events,
        }
    }
}

fn rehearse(index: usize, record: &NewRecord, counting: &mut Counting, counts: &Counts, now_ms: i64) -> Rehearsed {
    let mut segment = Segment::starting_at(0);
    segment.consume(0);
    let counted = counting.count(Some(now_ms), record.value.as_deref(), &mut Dedupe::new(0), &mut segment);
    let outcome = match counted {
        Counted::Event(outcome) => outcome,
        Counted::DeadLetter(_) => Outcome::DeadLettered,
    };
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    Rehearsed {
        index,
        key: text(&record.key),
        record: RawValue::from_string(text(&record.value)).ok(),
        outcome: outcome.name(),
        counters: reached(&segment, &counts.counters),
    }
}

/// What a segment of one record adds to, in the order of the configuration.
fn reached(segment: &Segment, counters: &Counters) -> Vec<Reached> {
    let mut buckets = segment.deltas.buckets();
    buckets.sort_unstable_by_key(|bucket| bucket.slot);
    let mut reached = Vec::new();
    for same in buckets.chunk_by(|one, other| one.slot.counter == other.slot.counter) {
        let Some(counter) = counters.get(same[0].slot.counter) else { continue };
        let window = |slot: Slot| {
            let window = counter.windows().get(usize::from(slot.window))?;
            let (size, start) = (window.label().to_owned(), slot.start);
            Some(ReachedWindow { size, start, end: window.end_of(start) })
        };
        reached.push(Reached {
            counter: counter.name().to_owned(),
            key: same[0].keys.first().map(|keyed| keyed.key.to_owned()),
            windows: same.iter().filter_map(|bucket| window(bucket.slot)).collect(),
        });
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::super::batch::Taking;
    use super::super::clock::Clock;
    use super::*;
    use crate::counter::{Spec, WindowSpec};
    use crate::event::Key;
    use serde_json::{Value, json};

    const NOW: i64 = 1_760_000_000_000;

    fn rehearsal(events: &[&str]) -> Value {
        let spec = |name: &str, event: &[&str], by: &[&str]| Spec {
            name: name.into(),
            event: event.iter().map(|e| (*e).to_owned()).collect(),
            by: by.iter().map(|b| (*b).to_owned()).collect(),
            windows: [("10s", "1h"), ("1m", "1d")]
                .map(|(size, keep)| WindowSpec { size: size.into(), keep: keep.into() })
                .into(),
            max_keys: 10,
            ..Spec::default()
        };
        let specs = vec![spec("views", &["view"], &["payload.path"]), spec("plain", &["view", "click"], &[])];
        let timing = Timing { lateness_ms: 5_000, max_ahead_ms: 60_000 };
        let counts = Counts { counters: Arc::new(Counters::new(specs).unwrap()), timing };
        let events: Vec<_> = events.iter().map(|event| event.as_bytes().into()).collect();
        let clock = Clock { received_ms: NOW, max_skew_ms: 60_000 };
        let taking = Taking { key: &Key::Session, max_event: 1_000, clock, skew_ms: None, site: None, trace: None };
        serde_json::to_value(Rehearsal::of(Batch::of(&events, taking), &counts, NOW)).unwrap()
    }

    #[test]
    fn it_says_what_would_be_stored_and_counted() {
        let answer = rehearsal(&[
            "{}",
            r#"{"type":"view","id":"a","session_id":"s","payload":{"path":"/x"}}"#,
            "7",
            r#"{"type":"click","id":"b"}"#,
        ]);
        assert_eq!(
            (&answer["dry_run"], &answer["accepted"], &answer["rejected"]),
            (&json!(true), &json!(2), &json!(2))
        );
        assert_eq!(answer["event_ids"], json!(["a", "b"]));
        let windows = json!([
            {"size": "10s", "start": 1_760_000_000, "end": 1_760_000_010},
            {"size": "1m", "start": 1_759_999_980, "end": 1_760_000_040},
        ]);
        let record = json!({"event_id": "a", "event_type": "view", "event_version": 1, "timestamp": NOW,
            "received_at": NOW, "session_id": "s", "payload": {"path": "/x"}});
        let counters =
            json!([{"counter": "views", "key": "/x", "windows": windows}, {"counter": "plain", "windows": windows}]);
        let expected = json!({"index": 1, "key": "s", "record": record, "outcome": "counted", "counters": counters});
        assert_eq!(answer["events"][0], expected);
        assert_eq!((&answer["events"][1]["index"], &answer["events"][1]["key"]), (&json!(3), &json!("b")));
        assert_eq!(answer["events"][1]["counters"], json!([{"counter": "plain", "windows": windows}]));
        assert_eq!(answer["errors"][1]["index"], 2);
    }

    #[test]
    fn what_no_window_takes_is_said() {
        let old = format!(r#"{{"type":"click","timestamp":{}}}"#, NOW - 90_000_000);
        let late = format!(r#"{{"type":"click","timestamp":{}}}"#, NOW - 7_200_000);
        let ahead = format!(r#"{{"type":"click","timestamp":{}}}"#, NOW + 7_200_000);
        let answer = rehearsal(&[r#"{"type":"other"}"#, &old, &late, &ahead]);
        let of =
            |index: usize| (answer["events"][index]["outcome"].as_str().unwrap(), &answer["events"][index]["counters"]);
        assert_eq!((of(0), of(1)), (("filtered", &json!([])), ("expired", &json!([]))));
        let (outcome, counters) = of(2);
        assert_eq!((outcome, counters[0]["windows"].as_array().unwrap().len()), ("counted", 1));
        assert_eq!(
            of(3).1[0]["windows"][0]["start"],
            1_760_000_000,
            "a clock that is ahead counts when it is received"
        );
    }
}
