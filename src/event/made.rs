//! What is made of an event's bytes or for them without reading them as JSON.

/// The id of the schema when a value stands in a schema registry's frame: a zero byte, then the id in four bytes.
/// Neither JSON nor a protobuf message begins with a zero byte, and no registry gives the id 0.
///
/// ```
/// use streamgauge::event::schema_id;
///
/// assert_eq!(schema_id(&[0, 0, 0, 0, 42, 2, 6]), Some(42));
/// assert_eq!(schema_id(br#"{"type":"click"}"#), None);
/// ```
pub fn schema_id(value: &[u8]) -> Option<u32> {
    let (id, _) = value.strip_prefix(&[0])?.split_first_chunk::<4>()?;
    Some(u32::from_be_bytes(*id)).filter(|id| *id > 0)
}

/// An id for an event that brings none: a UUIDv7 of this time and this chance.
pub fn made_id(now_ms: i64, chance: [u8; 10]) -> String {
    uuid::Builder::from_unix_timestamp_millis(now_ms.unsigned_abs(), &chance).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Door, Event, Invalid};
    use super::*;

    #[test]
    fn a_frame_is_told_by_its_first_five_bytes() {
        assert_eq!(schema_id(&[0, 0, 0, 1, 2]), Some(258));
        assert_eq!(schema_id(&[0, 255, 255, 255, 255, 7]), Some(u32::MAX));
        for other in [&[0, 0, 0, 1][..], &[0; 64], &[1, 0, 0, 0, 1, 2], b""] {
            assert_eq!(schema_id(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_framed_record_says_that_it_is_one_and_a_request_does_not() {
        let framed = [&[0, 0, 0, 0, 42][..], br#"{"type":"view"}"#].concat();
        let topic = Event::parse(&framed, Door::Topic).unwrap_err();
        assert_eq!(topic, Invalid::Framed(42));
        assert!(topic.to_string().starts_with("the value is framed by a schema registry (schema id 42)"), "{topic}");
        assert!(matches!(Event::parse(&framed, Door::Http), Err(Invalid::Syntax { .. })));
        assert!(matches!(Event::parse(&[0; 64], Door::Topic), Err(Invalid::Syntax { .. })));
    }

    #[test]
    fn a_made_id_tells_the_time() {
        let id = made_id(1_760_000_000_123, [7; 10]);
        let uuid = uuid::Uuid::parse_str(&id).unwrap();
        assert_eq!(
            (uuid.get_version_num(), uuid.get_timestamp().unwrap().to_unix()),
            (7, (1_760_000_000, 123_000_000))
        );
        assert_ne!(id, made_id(1_760_000_000_123, [8; 10]));
    }
}
