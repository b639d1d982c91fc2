//! From the texts of events to records for the log, and what is wrong with the others.

use super::reason::Reason;
use crate::envelope::JSON;
use crate::event::{Door, Event, Invalid, Key, Stamp, made_id};
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
}

/// How events are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taking<'a> {
    /// What decides the partition.
    pub(super) key: &'a Key,
    /// Bytes that an event may have.
    pub(super) max_event: u64,
    /// When the request was received, in ms.
    pub(super) now_ms: i64,
    /// The trace that the request belongs to.
    pub(super) trace: Option<TraceParent>,
}

impl Batch {
    /// Reads each event and makes a record of it.
    pub(super) fn of(events: &[Cow<'_, [u8]>], taking: Taking<'_>) -> Batch {
        let mut batch = Batch::default();
        for (index, json) in events.iter().enumerate() {
            if let Err(wrong) = batch.add(json, taking) {
                batch.faults.push(wrong.at(index));
            }
        }
        batch
    }

    fn add(&mut self, json: &[u8], taking: Taking<'_>) -> Result<(), Wrong> {
        if json.len() as u64 > taking.max_event {
            return Err(Wrong::TooLarge { found: json.len(), most: taking.max_event });
        }
        let event = Event::parse(json, Door::Http)?;
        let event_id = event.event_id.as_deref().map_or_else(|| made_id(taking.now_ms, rand::random()), str::to_owned);
        let stamp = Stamp {
            event_id: &event_id,
            timestamp_ms: event.time_ms(taking.now_ms),
            received_at_ms: Some(taking.now_ms),
            context: None,
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
    use super::*;

    const NOW: i64 = 1_760_000_000_000;

    fn batch(events: &[&str]) -> Batch {
        let events: Vec<_> = events.iter().map(|event| event.as_bytes().into()).collect();
        Batch::of(&events, Taking { key: &Key::Session, max_event: 100, now_ms: NOW, trace: None })
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
