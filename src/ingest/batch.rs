//! From the texts of events to records for the log, and what is wrong with the others.

use super::clock::{self, Clock};
use super::enrich::{self, Told};
use super::reason::Reason;
use super::sites::Site;
use crate::envelope::JSON;
use crate::event::{Door, Event, Invalid, Key, PlainArray, Stamp, made_id};
use crate::log::{About, NewRecord};
use crate::telemetry::TraceParent;
use serde::Serialize;
use std::borrow::Cow;

/// What is wrong with one event of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fault {
    /// Its place in the request, from 0; blank lines have none.
    pub(super) index: usize,
    /// The field at fault, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    /// What is wrong with it.
    pub(super) error: String,
    /// The same in a word.
    #[serde(skip)]
    pub(super) reason: Reason,
}

/// The events of a request: records of those that can be stored, faults of the others.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<NewRecord>,
    /// Ids of the records, in their order.
    pub(super) event_ids: Vec<String>,
    pub(super) faults: Vec<Fault>,
    /// The records should have the id of a visitor, and have none.
    pub(super) lacks_visitor: bool,
}

/// How events are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taking<'a> {
    /// What decides the partition.
    pub(super) key: &'a Key,
    /// Bytes that an event may have.
    pub(super) max_event: u64,
    /// When the request was received, and what clocks are worth.
    pub(super) clock: Clock,
    /// How far the client's clock is behind, as the request says; an event may say otherwise.
    pub(super) skew_ms: Option<i64>,
    /// Who sent them.
    pub(super) site: Option<&'a Site>,
    /// What is added to them, when they come from a browser.
    pub(super) told: Option<&'a Told>,
    /// The trace that the request belongs to.
    pub(super) trace: Option<TraceParent>,
}

impl Batch {
    /// Reads each event and makes a record of it.
    pub(super) fn of(events: &[Cow<'_, [u8]>], taking: Taking<'_>) -> Batch {
        let mut batch = Batch::taken(taking);
        for (index, json) in events.iter().enumerate() {
            if let Err(wrong) = batch.add(json, taking) {
                batch.faults.push(wrong.at(index));
            }
        }
        batch
    }

    /// Reads an array of events in one pass, if it holds so many at most and nothing is wrong in it. Else only
    /// [`Batch::of`] can tell.
    pub(super) fn of_array(array: &str, most: usize, taking: Taking<'_>) -> Option<Batch> {
        let mut batch = Batch::taken(taking);
        for event in PlainArray::of(array, Door::Http)? {
            let (event, bytes) = event?;
            if bytes as u64 > taking.max_event || batch.records.len() == most {
                return None;
            }
            batch.take(event, taking).ok()?;
        }
        Some(batch)
    }

    /// With nothing in it.
    fn taken(taking: Taking<'_>) -> Batch {
        Batch { lacks_visitor: taking.told.is_some_and(|told| told.lacks_visitor), ..Batch::default() }
    }

    fn add(&mut self, json: &[u8], taking: Taking<'_>) -> Result<(), Wrong> {
        if json.len() as u64 > taking.max_event {
            return Err(Wrong::TooLarge { found: json.len(), most: taking.max_event });
        }
        Ok(self.take(Event::parse(json, Door::Http)?, taking)?)
    }

    fn take(&mut self, mut event: Event<'_>, taking: Taking<'_>) -> Result<(), Invalid> {
        let received_ms = taking.clock.received_ms;
        let skew_ms = match clock::take_sent_at(&mut event)? {
            Some(sent_at_ms) => taking.clock.skew_ms(sent_at_ms),
            None => taking.skew_ms,
        };
        let moved_by_ms = match skew_ms {
            Some(skew_ms) => clock::correct(&mut event, skew_ms)?.then_some(skew_ms),
            None => None,
        };
        let context = match taking.told {
            None => enrich::plain(taking.site, moved_by_ms),
            Some(told) => told.context(&event, taking.site, moved_by_ms),
        };
        let event_id = event.event_id.as_deref().map_or_else(|| made_id(received_ms, rand::random()), str::to_owned);
        let stamp = Stamp {
            event_id: &event_id,
            timestamp_ms: event.time_ms(received_ms),
            received_at_ms: Some(received_ms),
            context: context.as_deref(),
        };
        let (key, value) = (taking.key.of(&event, &event_id), event.canonical(&stamp).into_bytes());
        let about = About {
            event_type: event.event_type.into_owned(),
            event_version: event.event_version,
            content_type: JSON,
            trace: taking.trace,
        };
        self.records.push(NewRecord::event(key, value, about));
        self.event_ids.push(event_id);
        Ok(())
    }
}

/// Why an event is not taken.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("the event has {found} bytes, at most {most} are allowed")]
    TooLarge { found: usize, most: u64 },
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Wrong {
    fn at(&self, index: usize) -> Fault {
        let (field, reason) = match self {
            Wrong::TooLarge { .. } => (None, Reason::EventTooLarge),
            Wrong::Invalid(invalid) => (invalid.field().map(str::to_owned), Reason::from(invalid)),
        };
        Fault { index, field, error: self.to_string(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_760_000_000_000;

    fn batch(events: &[&str]) -> Batch {
        let events: Vec<_> = events.iter().map(|event| event.as_bytes().into()).collect();
        Batch::of(&events, Taking { max_event: 100, ..taking() })
    }

    fn taking() -> Taking<'static> {
        let clock = Clock { received_ms: NOW, max_skew_ms: 60_000 };
        Taking { key: &Key::Session, max_event: 1_000, clock, skew_ms: None, site: None, told: None, trace: None }
    }

    fn value(event: &str, taking: Taking<'_>) -> String {
        let batch = Batch::of(&[event.as_bytes().into()], taking);
        assert_eq!(batch.faults, []);
        String::from_utf8(batch.records[0].value.clone().unwrap()).unwrap()
    }

    #[test]
    fn a_wrong_clock_is_corrected_and_noted() {
        let at = |ms: i64| format!(r#"{{"type":"a","id":"e","timestamp":{}}}"#, NOW + ms);
        let stored = |ms: i64, rest: &str| {
            let (timestamp, core) = (NOW + ms, r#"{"event_id":"e","event_type":"a","event_version":1,"timestamp":"#);
            format!("{core}{timestamp},\"received_at\":{NOW}{rest}}}")
        };
        let behind = Taking { skew_ms: Some(90_000), ..taking() };
        assert_eq!(value(&at(-100_000), behind), stored(-10_000, r#","context":{"clock_skew_ms":90000}"#));
        assert_eq!(value(r#"{"type":"a","id":"e"}"#, behind), stored(0, ""), "no time is made up");
        // What an event says itself goes before what the request says, and is not kept.
        let own =
            |sent_at: i64| format!(r#"{{"type":"a","id":"e","timestamp":{NOW},"sent_at":{},"x":1}}"#, NOW + sent_at);
        assert_eq!(value(&own(-60_000), behind), stored(0, r#","x":1"#), "a little is left alone");
        let moved = value(&own(3_600_000), behind);
        assert_eq!(moved, stored(-3_600_000, r#","context":{"clock_skew_ms":-3600000},"x":1"#));
        let far = Taking { skew_ms: Some(4_000_000_000_000), ..taking() };
        let batch = Batch::of(
            &[at(0).as_bytes().into(), own(7).replace("\"sent_at\":", "\"sent_at\":0").as_bytes().into()],
            far,
        );
        let faults: Vec<_> = batch.faults.iter().map(|f| (f.field.as_deref(), f.reason)).collect();
        assert_eq!(faults, [(Some("timestamp"), Reason::Time), (None, Reason::NotAnObject)]);
    }

    #[test]
    fn good_events_become_records_and_bad_ones_are_named() {
        let long = format!("{{\"type\":\"{}\"}}", "x".repeat(100));
        let batch = batch(&[r#"{"type":"view","id":"e1","session_id":"s","event_version":2}"#, "{}", "7", &long]);
        assert_eq!(batch.event_ids, ["e1"]);
        let value = r#"{"event_id":"e1","event_type":"view","event_version":2,"timestamp":1760000000000,"received_at":1760000000000,"session_id":"s"}"#;
        let about = About { event_type: "view".into(), event_version: 2, content_type: JSON, trace: None };
        assert_eq!(batch.records, [NewRecord::event("s", value.into(), about)]);
        let faults: Vec<_> = batch.faults.iter().map(|f| (f.index, f.field.as_deref())).collect();
        assert_eq!(faults, [(1, Some("event_type")), (2, None), (3, None)]);
        assert!(batch.faults[2].error.contains("111 bytes, at most 100"));
    }

    fn any_event() -> impl Strategy<Value = String> {
        let good = r#"\{"type":"a[bc]","id":"[a-z]{1,3}"(,"payload":\{"x":\[("[\]\}]"| 1 |\{\})\]\})?(,"sent_at":1760000000000)?\}"#;
        let odd = [
            "{}",
            "7",
            "null",
            "\"{\"",
            "[]",
            "{",
            "",
            " ",
            r#"{"type":"a""#,
            r#"{"type":"a","type":"a"}"#,
            r#"{"type":"a","id":"\ud800"}"#,
            r#"{"type":"a","id":"\ud83d\ude00"}"#,
            r#"{"type":"a","context":{}}"#,
            r#"{"type":"a","id":"e","sent_at":"soon"}"#,
            "{\"type\":\"a\",\"id\":\"e\"}\u{b}",
        ];
        prop_oneof![9 => good, 1 => prop::sample::select(odd.to_vec()).prop_map(str::to_owned)]
    }

    proptest! {
        /// In one pass or in two: an array is the same batch. One pass is enough for every plain one.
        #[test]
        fn one_pass_takes_what_two_take(
            events in prop::collection::vec(any_event(), 0..6),
            around in prop::sample::select(vec![("[", ",", "]"), ("[ ", " ,\n", "\t]"), ("[", ",", ",]"), ("[", ",", ""), ("[", ",", "]]"), ("[", " ", "]")]),
        ) {
            let array = format!("{}{}{}", around.0, events.join(around.1), around.2);
            let (most, taking) = (4, Taking { max_event: 60, ..taking() });
            let in_two = Format::Json.read(array.as_bytes()).ok().map(|content| Batch::of(&content.events, taking));
            let in_two = in_two.filter(|batch| batch.faults.is_empty() && batch.records.len() <= most);
            let in_one = Format::Json.array(array.as_bytes()).and_then(|array| Batch::of_array(array, most, taking));
            let (in_one, in_two) = (in_one.map(|b| (b.records, b.event_ids)), in_two.map(|b| (b.records, b.event_ids)));
            let is_plain = array.bytes().all(|byte| byte >= b' ' && byte != b'\\');
            if is_plain || in_one.is_some() {
                prop_assert_eq!(in_one, in_two, "{}", array);
            }
        }
    }

    #[test]
    fn a_missing_id_is_made_and_is_the_key() {
        let batch = batch(&[r#"{"type":"view"}"#, r#"{"type":"view"}"#]);
        assert_ne!(batch.event_ids[0], batch.event_ids[1]);
        for (id, record) in batch.event_ids.iter().zip(&batch.records) {
            assert!(id.starts_with("0199c82c-c000-7"), "{id}");
            assert_eq!(record.key.as_deref(), Some(id.as_bytes()));
            let event = Event::parse(record.value.as_deref().unwrap(), Door::Topic).unwrap();
            assert_eq!(event.event_id.as_deref(), Some(&**id));
        }
    }
}
