//! The envelope of typed events: versioned, self-describing, in JSON or protobuf.
//!
//! An [`Envelope`] says of its payload what it is ([`Event::EVENT_TYPE`]), in which version, when it happened and whose
//! it is. A [`Codec`] writes it as the value of a record and reads it back; what [`Json`] writes the pipeline counts like
//! any other event. Pure: ids and times are told, nothing is read or sent.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use streamgauge::envelope::{Absent, Codec, Codes, Event, Json};
//!
//! #[derive(Serialize, Deserialize)]
//! struct OrderPlaced {
//!     total_cents: u64,
//! }
//!
//! impl Event for OrderPlaced {
//!     const EVENT_TYPE: &'static str = "order.placed";
//!     const EVENT_VERSION: u32 = 1;
//! }
//!
//! let value = br#"{"event_id":"e1","type":"order.placed","timestamp":1760000000000,"payload":{"total_cents":4200}}"#;
//! let absent = Absent { event_id: format_args!("orders/0/42"), time_ms: None };
//! let envelope = Json.open(value, &absent)?;
//! assert_eq!((&*envelope.event_type, envelope.event_version), (OrderPlaced::EVENT_TYPE, 1));
//! let placed: OrderPlaced = Json.decode(&envelope.payload)?;
//! assert_eq!(placed.total_cents, 4200);
//! # Ok::<(), streamgauge::envelope::CodecError>(())
//! ```

mod codec;
mod json;
mod protobuf;
#[cfg(test)]
mod tests;

pub use codec::{Codec, CodecError, Codes};
pub use json::{JSON, Json};
pub use protobuf::{PROTOBUF, Protobuf};

use std::fmt;

/// The type of a payload. A new version of the same event is a Rust type of its own, with the same
/// [`Event::EVENT_TYPE`] and the next [`Event::EVENT_VERSION`].
pub trait Event {
    /// What happened, like `order.placed`: 1–128 bytes without control characters.
    const EVENT_TYPE: &'static str;
    /// Version of the payload's schema, at least 1.
    const EVENT_VERSION: u32;
}

/// An event with what it says of itself. A payload of bytes is still encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<P> {
    /// Names the event: the same id is the same event, however often it is published or delivered.
    pub event_id: String,
    /// What happened.
    pub event_type: String,
    /// In which version its producer wrote the payload.
    pub event_version: u64,
    /// When it happened, in unix milliseconds.
    pub timestamp_ms: i64,
    /// Whose it is, at most 256 bytes.
    pub user_id: Option<String>,
    /// Which session it belongs to, at most 256 bytes.
    pub session_id: Option<String>,
    /// The rest: what the type of event is about.
    pub payload: P,
}

impl<P> Envelope<P> {
    /// The same envelope around something made of its payload.
    ///
    /// # Errors
    /// The error of `make`.
    pub fn try_map<Q, E>(self, make: impl FnOnce(P) -> Result<Q, E>) -> Result<Envelope<Q>, E> {
        Ok(Envelope {
            event_id: self.event_id,
            event_type: self.event_type,
            event_version: self.event_version,
            timestamp_ms: self.timestamp_ms,
            user_id: self.user_id,
            session_id: self.session_id,
            payload: make(self.payload)?,
        })
    }
}

/// What stands for what a producer left out.
#[derive(Debug, Clone, Copy)]
pub struct Absent<'a> {
    /// For the event id: something that is the same whenever the record is read again, like its place in the log.
    pub event_id: fmt::Arguments<'a>,
    /// For the time: the record's own, if it has one.
    pub time_ms: Option<i64>,
}
