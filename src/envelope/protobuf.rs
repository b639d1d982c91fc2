use super::codec::event;
use super::{Absent, Codec, CodecError, Codes, Envelope};
use crate::event::{Invalid, schema_id};
use prost::Message;

/// The content type of events in protobuf.
pub const PROTOBUF: &str = "application/protobuf";

/// Envelopes as a protobuf message around the message of the payload. Fields that it does not know are skipped. The
/// pipeline counts JSON only.
///
/// ```proto
/// syntax = "proto3";
/// message Envelope {
///   string event_id = 1;
///   string event_type = 2;
///   uint64 event_version = 3;
///   int64 timestamp_ms = 4;
///   optional string user_id = 5;
///   optional string session_id = 6;
///   bytes payload = 7;
/// }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Protobuf;

/// The message above.
#[derive(Clone, PartialEq, Message)]
struct Written {
    #[prost(string, tag = "1")]
    event_id: String,
    #[prost(string, tag = "2")]
    event_type: String,
    #[prost(uint64, tag = "3")]
    event_version: u64,
    #[prost(int64, tag = "4")]
    timestamp_ms: i64,
    #[prost(string, optional, tag = "5")]
    user_id: Option<String>,
    #[prost(string, optional, tag = "6")]
    session_id: Option<String>,
    #[prost(bytes = "vec", tag = "7")]
    payload: Vec<u8>,
}

impl Codec for Protobuf {
    fn content_type(&self) -> &'static str {
        PROTOBUF
    }

    fn seal(&self, envelope: &Envelope<Vec<u8>>) -> Result<Vec<u8>, CodecError> {
        event(envelope, None).check()?;
        let written = Written {
            event_id: envelope.event_id.clone(),
            event_type: envelope.event_type.clone(),
            event_version: envelope.event_version,
            timestamp_ms: envelope.timestamp_ms,
            user_id: envelope.user_id.clone(),
            session_id: envelope.session_id.clone(),
            payload: envelope.payload.clone(),
        };
        Ok(written.encode_to_vec())
    }

    fn open(&self, value: &[u8], absent: &Absent<'_>) -> Result<Envelope<Vec<u8>>, CodecError> {
        if let Some(id) = schema_id(value) {
            return Err(Invalid::Framed(id).into());
        }
        let written = Written::decode(value).map_err(|e| CodecError::Protobuf(e.to_string()))?;
        // 0 and the empty string are how protobuf says that a field is absent.
        let time_ms = Some(written.timestamp_ms).filter(|ms| *ms != 0).or(absent.time_ms);
        let given = !written.event_id.is_empty();
        let envelope = Envelope {
            event_id: if given { written.event_id } else { absent.event_id.to_string() },
            event_type: written.event_type,
            event_version: written.event_version.max(1),
            timestamp_ms: time_ms.ok_or(Invalid::NoRecordTime)?,
            user_id: written.user_id,
            session_id: written.session_id,
            payload: written.payload,
        };
        event(&envelope, None).check()?;
        Ok(envelope)
    }
}

impl<P: Message + Default> Codes<P> for Protobuf {
    fn encode(&self, payload: &P) -> Result<Vec<u8>, CodecError> {
        Ok(payload.encode_to_vec())
    }

    fn decode(&self, payload: &[u8]) -> Result<P, CodecError> {
        P::decode(payload).map_err(|e| CodecError::Payload(e.to_string()))
    }
}
