//! The event: what a browser or service sends, its validation, its canonical form, and the look-up of dimensions.
//!
//! Pure: no clock (the caller says when an event was received) and no I/O.

use serde_json::value::RawValue;
use std::borrow::Cow;

/// Through which door an event comes. It decides which fields it may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `POST /events`: `context` and `received_at` are ingest's own and refused.
    Http,
    /// A record of the topic, written by ingest or by a producer of its own.
    Topic,
}

/// An event as it was sent, borrowed from its JSON.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// What happened: 1–128 bytes without control characters.
    pub event_type: Cow<'a, str>,
    /// Names the event: 1–128 bytes. A record without one is never a duplicate.
    pub event_id: Option<Cow<'a, str>>,
    /// Version of the payload's schema, at least 1.
    pub event_version: u64,
    /// When it happened, in ms, as the client says.
    pub timestamp_ms: Option<i64>,
    /// When ingest received it, in ms.
    pub received_at_ms: Option<i64>,
    /// Whose it is, at most 256 bytes.
    pub user_id: Option<Cow<'a, str>>,
    /// Which session it belongs to, at most 256 bytes.
    pub session_id: Option<Cow<'a, str>>,
    /// A JSON object.
    pub payload: Option<&'a RawValue>,
    /// A JSON object: what ingest added.
    pub context: Option<&'a RawValue>,
    /// Top-level fields that are not known here. They are kept.
    pub extra: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// Why something is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A record without a value.
    #[error("the record has no value (a tombstone)")]
    Tombstone,
    /// A record without a time.
    #[error("the record has no time")]
    NoRecordTime,
}

impl<'a> Event<'a> {
    /// Reads one event.
    ///
    /// # Errors
    /// What is wrong with it, and in which field.
    pub fn parse(_json: &'a [u8], _door: Door) -> Result<Event<'a>, Invalid> {
        Err(Invalid::Tombstone)
    }

    /// When it happened, in ms: its timestamp, else its receipt, else the record's time.
    pub fn time_ms(&self, record_ms: i64) -> i64 {
        self.timestamp_ms.or(self.received_at_ms).unwrap_or(record_ms)
    }
}

/// The dimensions of a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimensions(Vec<String>);

impl Dimensions {
    /// Reads paths like `event_type`, `payload.path` or `payload."a.b".c`.
    ///
    /// # Errors
    /// The first path that names nothing an event has.
    pub fn parse(paths: &[String]) -> Result<Dimensions, Invalid> {
        Ok(Dimensions(paths.to_vec()))
    }

    /// Whether there are none: a plain total.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the event's key: one dimension as its text, several as a compact JSON array of those texts, cut at
    /// 256 bytes on a character boundary.
    pub fn write_key(&self, _event: &Event<'_>, _key: &mut String) {}
}
