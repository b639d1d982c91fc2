use super::{Absent, Envelope};
use crate::event::{Event, Invalid, Members, RawJson};
use std::borrow::Cow;

/// How envelopes are written as the values of records.
pub trait Codec: Send + Sync + 'static {
    /// For the record's header `content-type`.
    fn content_type(&self) -> &'static str;

    /// Writes an envelope whose payload is encoded already. What is written can be opened.
    ///
    /// # Errors
    /// When a field breaks the rules of an event, or the payload is not in this codec's encoding.
    fn seal(&self, envelope: &Envelope<Vec<u8>>) -> Result<Vec<u8>, CodecError>;

    /// Reads an envelope; its payload stays encoded, for its type is not known before.
    ///
    /// # Errors
    /// When the value is no such envelope.
    fn open(&self, value: &[u8], absent: &Absent<'_>) -> Result<Envelope<Vec<u8>>, CodecError>;
}

/// A codec that knows payloads of this type.
pub trait Codes<P>: Codec {
    /// Writes a payload.
    ///
    /// # Errors
    /// When the payload has no form in this encoding.
    fn encode(&self, payload: &P) -> Result<Vec<u8>, CodecError>;

    /// Reads a payload.
    ///
    /// # Errors
    /// When the bytes are no such payload.
    fn decode(&self, payload: &[u8]) -> Result<P, CodecError>;
}

/// Why an envelope or its payload cannot be written or read. The texts go into dead letters and never repeat a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It breaks a rule of events.
    #[error("{0}")]
    Event(#[from] Invalid),
    /// It is no message of the envelope's kind.
    #[error("no protobuf envelope: {0}")]
    Protobuf(String),
    /// The payload is not what its type and version say.
    #[error("the payload does not fit its type: {0}")]
    Payload(String),
    /// The payload has no form in the encoding.
    #[error("the payload cannot be written: {0}")]
    Unwritable(String),
}

/// The envelope as an event, whose rules it has to follow whatever it is written in.
pub(super) fn event<'a>(envelope: &'a Envelope<Vec<u8>>, payload: Option<RawJson<'a>>) -> Event<'a> {
    Event {
        event_type: Cow::Borrowed(&envelope.event_type),
        event_id: Some(Cow::Borrowed(&envelope.event_id)),
        event_version: envelope.event_version,
        timestamp_ms: Some(envelope.timestamp_ms),
        received_at_ms: None,
        user_id: envelope.user_id.as_deref().map(Cow::Borrowed),
        session_id: envelope.session_id.as_deref().map(Cow::Borrowed),
        payload,
        members: Members::default(),
        context: None,
        extra: Vec::new(),
    }
}
