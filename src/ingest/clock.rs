//! What a client's clock is worth: events say when they happened by it, and requests when they were sent.

use crate::event::{Event, Invalid, json_time_ms};

/// The field of an event, and of what is around events, that says when they were sent.
const SENT_AT: &str = "sent_at";

/// How far clocks may be wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// When the request was received, in ms.
    pub(super) received_ms: i64,
    /// What is left alone, in ms: a part of it is the way that the request took.
    pub(super) max_skew_ms: i64,
}

impl Clock {
    /// How far the clock that said this time is behind, in ms, if it is wrong enough to be corrected.
    pub(super) fn skew_ms(self, sent_at_ms: i64) -> Option<i64> {
        // Both lie in the years 2000 to 2100, or the edge's own clock is wrong beyond all measure.
        let skew = self.received_ms.saturating_sub(sent_at_ms);
        (skew.saturating_abs() > self.max_skew_ms).then_some(skew)
    }
}

/// Takes off an event when it was sent. It is about the way, not about the event, so it is not kept.
///
/// # Errors
/// When that is no time, or stands there twice.
pub(super) fn take_sent_at(event: &mut Event<'_>) -> Result<Option<i64>, Invalid> {
    let mut sent_at = None;
    while let Some(at) = event.extra.iter().position(|(name, _)| name == SENT_AT) {
        let (_, value) = event.extra.remove(at);
        if sent_at.replace(value).is_some() {
            return Err(Invalid::Twice(SENT_AT));
        }
    }
    sent_at.map_or(Ok(None), |value| json_time_ms(SENT_AT, value.get()))
}

/// Moves the time that an event says by a measured skew. An event that says none is left alone.
///
/// # Errors
/// When it comes to lie outside of the years 2000 to 2100.
pub(super) fn correct(event: &mut Event<'_>, skew_ms: i64) -> Result<bool, Invalid> {
    let Some(timestamp_ms) = event.timestamp_ms else { return Ok(false) };
    event.timestamp_ms = Some(timestamp_ms.saturating_add(skew_ms));
    event.check().map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Door;

    #[test]
    fn only_what_is_far_off_is_a_skew() {
        let clock = Clock { received_ms: 1_760_000_000_000, max_skew_ms: 60_000 };
        for (sent_at_ms, skew) in [
            (1_760_000_000_000, None),
            (1_759_999_940_000, None),
            (1_760_000_060_000, None),
            (1_759_999_939_999, Some(60_001)),
            (1_760_000_060_001, Some(-60_001)),
            (946_684_800_000, Some(813_315_200_000)),
            (4_133_980_799_999, Some(-2_373_980_799_999)),
        ] {
            assert_eq!(clock.skew_ms(sent_at_ms), skew, "{sent_at_ms}");
        }
    }

    #[test]
    fn when_it_was_sent_is_taken_off_the_event() {
        let take = |json: &'static str| {
            let mut event = Event::parse(json.as_bytes(), Door::Http).unwrap();
            let taken = take_sent_at(&mut event);
            (taken, event.extra.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>())
        };
        let (taken, left) = take(r#"{"type":"a","b":1,"sent_at":"2025-10-09T08:53:20Z","c":2}"#);
        assert_eq!((taken, left), (Ok(Some(1_760_000_000_000)), vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(take(r#"{"type":"a","sent_at":null}"#), (Ok(None), Vec::new()));
        assert_eq!(take(r#"{"type":"a"}"#).0, Ok(None));
        assert_eq!(take(r#"{"type":"a","sent_at":1,"sent_at":1}"#).0, Err(Invalid::Twice("sent_at")));
        assert_eq!(take(r#"{"type":"a","sent_at":"soon"}"#).0, Err(Invalid::NotATime("sent_at")));
    }

    #[test]
    fn a_time_is_moved_and_no_time_is_made_up() {
        let correct = |json: &'static str, skew_ms| {
            let mut event = Event::parse(json.as_bytes(), Door::Http).unwrap();
            correct(&mut event, skew_ms).map(|moved| (moved, event.timestamp_ms))
        };
        let at = r#"{"type":"a","timestamp":1760000000000}"#;
        assert_eq!(correct(at, 5), Ok((true, Some(1_760_000_000_005))));
        assert_eq!(correct(r#"{"type":"a"}"#, 5), Ok((false, None)));
        for far in [-900_000_000_000, 2_400_000_000_000, i64::MAX, i64::MIN] {
            assert_eq!(correct(at, far).unwrap_err().field(), Some("timestamp"), "{far}");
        }
    }
}
