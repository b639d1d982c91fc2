use super::codec::event;
use super::{Absent, Codec, CodecError, Codes, Envelope};
use crate::event::{Door, Event, Invalid, RawJson, Stamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// The content type of events in JSON.
pub const JSON: &str = "application/json";

/// Envelopes in the canonical form of events. Reads whatever the pipeline reads: also the short names, and what
/// ingest has stored. Payloads are types of serde that are written as an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl Codec for Json {
    fn content_type(&self) -> &'static str {
        JSON
    }

    fn seal(&self, envelope: &Envelope<Vec<u8>>) -> Result<Vec<u8>, CodecError> {
        let payload = match envelope.payload.as_slice() {
            b"" | b"null" => None,
            json => Some(serde_json::from_slice::<&RawValue>(json).map_err(|e| CodecError::Unwritable(e.to_string()))?),
        };
        let stamp = Stamp {
            event_id: &envelope.event_id,
            timestamp_ms: envelope.timestamp_ms,
            received_at_ms: None,
            context: None,
        };
        let value = event(envelope, payload.map(RawJson::from)).canonical(&stamp).into_bytes();
        // The rules are those of whoever reads it, so it is read.
        Event::parse(&value, Door::Topic)?;
        Ok(value)
    }

    fn open(&self, value: &[u8], absent: &Absent<'_>) -> Result<Envelope<Vec<u8>>, CodecError> {
        let event = Event::parse(value, Door::Topic)?;
        let time_ms = event.timestamp_ms.or(event.received_at_ms).or(absent.time_ms);
        Ok(Envelope {
            event_id: event.event_id.map_or_else(|| absent.event_id.to_string(), Into::into),
            event_type: event.event_type.into(),
            event_version: event.event_version,
            timestamp_ms: time_ms.ok_or(Invalid::NoRecordTime)?,
            user_id: event.user_id.map(Into::into),
            session_id: event.session_id.map(Into::into),
            payload: event.payload.map_or_else(Vec::new, |payload| payload.get().into()),
        })
    }
}

impl<P: Serialize + DeserializeOwned> Codes<P> for Json {
    fn encode(&self, payload: &P) -> Result<Vec<u8>, CodecError> {
        serde_json::to_vec(payload).map_err(|e| CodecError::Unwritable(e.to_string()))
    }

    fn decode(&self, payload: &[u8]) -> Result<P, CodecError> {
        if payload.is_empty() {
            // Nothing to say is either of these, as the type has it.
            return serde_json::from_str("null").or_else(|_| read(b"{}"));
        }
        read(payload)
    }
}

fn read<P: DeserializeOwned>(json: &[u8]) -> Result<P, CodecError> {
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(json)).map_err(|error| {
        let problem = without_value(&error.inner().to_string());
        CodecError::Payload(match error.path().iter().next() {
            Some(_) => format!("{}: {problem}", error.path()),
            None => problem,
        })
    })
}

/// A complaint without the value that it is about, which may be private.
fn without_value(problem: &str) -> String {
    match problem.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => problem.to_owned(),
    }
}
