//! What stands beside a dead letter, and how one is cut that the log would not take. Times are in ms.

use super::{DeadLetter, Header};
use crate::telemetry::TRACEPARENT;

/// Names of the headers that say where a dead letter came from. A header of the record itself with such a name is
/// from an earlier death, and left out.
pub(super) const NAMES: [&str; 9] = [
    "error",
    "original-topic",
    "original-partition",
    "original-offset",
    "original-timestamp",
    "attempts",
    "failed-at",
    "consumer-group",
    "truncated",
];

/// Bytes of the record's own headers that are kept even when its value is cut.
const HEADER_BYTES: usize = 16 << 10;

/// Longest text of an error that is kept, in bytes.
const ERROR_BYTES: usize = 1_024;

/// How many bytes of the value may stay, try after try; the first try keeps everything. The last keeps so little
/// that any log takes it: a dead letter never blocks its partition.
pub(super) const KEEP: &[usize] = &[usize::MAX, 512 << 10, 64 << 10, 4 << 10, 0];

/// Key and value of a dead letter, cut to what a log takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// Whether the record's own headers stay.
    has_headers: bool,
}

impl<'a> Cut<'a> {
    /// Keeps at most `keep` bytes of the value, and of the key as many as are left then.
    pub(super) fn to(letter: &'a DeadLetter, keep: usize) -> Cut<'a> {
        let key = letter.key.as_deref().map(|key| head(key, keep));
        let left = keep - key.map_or(0, <[u8]>::len);
        let headers: usize = letter.headers.iter().map(Header::bytes).sum();
        let has_headers = headers <= keep.min(HEADER_BYTES) || keep == usize::MAX;
        Cut { key, value: letter.value.as_deref().map(|value| head(value, left)), has_headers }
    }

    /// For the header `truncated`; `None` when nothing is missing.
    fn note(&self, letter: &DeadLetter) -> Option<String> {
        let len = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let mut notes = Vec::new();
        for (name, kept, all) in [
            ("key", len(self.key), len(letter.key.as_deref())),
            ("value", len(self.value), len(letter.value.as_deref())),
        ] {
            if kept < all {
                notes.push(format!("{name}: first {kept} of {all} bytes"));
            }
        }
        if !self.has_headers {
            notes.push("headers: none".to_owned());
        }
        (!notes.is_empty()).then(|| notes.join(", "))
    }
}

fn head(bytes: &[u8], keep: usize) -> &[u8] {
    &bytes[..bytes.len().min(keep)]
}

/// Where a dead letter came from: a topic, and the group that could not process it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) topic: &'a str,
    pub(super) group: &'a str,
}

/// The headers of a dead letter, in the order in which they are written: where it came from, then the record's own.
pub(super) fn headers(letter: &DeadLetter, origin: Origin<'_>, cut: &Cut<'_>) -> Vec<Header> {
    let values = [
        error_text(letter).to_owned(),
        origin.topic.to_owned(),
        letter.partition.to_string(),
        letter.offset.to_string(),
        letter.time_ms.map_or_else(String::new, |ms| ms.to_string()),
        letter.attempts.to_string(),
        letter.failed_at_ms.to_string(),
        origin.group.to_owned(),
    ];
    let mut headers: Vec<Header> = NAMES.iter().zip(values).map(|(name, value)| Header::text(*name, value)).collect();
    headers.extend(cut.note(letter).map(|note| Header::text("truncated", note)));
    let own = letter.headers.iter().filter(|header| !NAMES.contains(&&*header.name));
    headers.extend(own.filter(|header| cut.has_headers || header.name == TRACEPARENT).cloned());
    headers
}

/// The error, cut on a character boundary.
pub(super) fn error_text(letter: &DeadLetter) -> &str {
    let error = &letter.error;
    let end = (0..=error.len().min(ERROR_BYTES)).rev().find(|end| error.is_char_boundary(*end));
    &error[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin<'static> = Origin { topic: "user.events", group: "streamgauge" };

    fn letter() -> DeadLetter {
        DeadLetter {
            partition: 3,
            offset: 42,
            time_ms: Some(1_700_000_000_000),
            key: Some(b"session".to_vec()),
            value: Some(vec![b'x'; 1_000]),
            error: "event_type: missing".to_owned(),
            headers: vec![Header::text("event_type", "view")],
            attempts: 1,
            failed_at_ms: 1_700_000_001_500,
        }
    }

    #[test]
    fn the_headers_say_where_it_came_from_and_why() {
        let letter = letter();
        let headers = headers(&letter, ORIGIN, &Cut::to(&letter, usize::MAX));
        let expected = [
            ("error", "event_type: missing"),
            ("original-topic", "user.events"),
            ("original-partition", "3"),
            ("original-offset", "42"),
            ("original-timestamp", "1700000000000"),
            ("attempts", "1"),
            ("failed-at", "1700000001500"),
            ("consumer-group", "streamgauge"),
            ("event_type", "view"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| Header::text(name, value)));
    }

    #[test]
    fn what_an_earlier_death_wrote_is_replaced() {
        let mut letter = letter();
        letter.headers.push(Header::text("attempts", "9"));
        letter.headers.push(Header::text("truncated", "value"));
        let headers = headers(&letter, ORIGIN, &Cut::to(&letter, usize::MAX));
        let attempts: Vec<_> = headers.iter().filter(|header| header.name == "attempts").collect();
        assert_eq!(attempts, [&Header::text("attempts", "1")]);
        assert!(headers.iter().all(|header| header.name != "truncated"));
    }

    #[test]
    fn headers_that_are_too_large_go_but_for_the_trace() {
        let mut letter = letter();
        letter.headers.push(Header::text("large", "x".repeat(HEADER_BYTES)));
        letter.headers.push(Header::text(TRACEPARENT, "00-"));
        let names = |keep| {
            let headers = headers(&letter, ORIGIN, &Cut::to(&letter, keep));
            headers.into_iter().map(|header| header.name.into_owned()).skip(8).collect::<Vec<_>>()
        };
        assert_eq!(names(usize::MAX), ["event_type", "large", TRACEPARENT]);
        assert_eq!(names(512 << 10), ["truncated", TRACEPARENT]);
    }

    #[test]
    fn what_fits_is_not_cut() {
        let letter = letter();
        let cut = Cut::to(&letter, 4_096);
        assert_eq!(cut.value, letter.value.as_deref());
        assert_eq!(cut.note(&letter), None);
    }

    #[test]
    fn what_is_cut_says_so() {
        let letter = letter();
        let cut = Cut::to(&letter, 107);
        assert_eq!(cut.key, Some(&b"session"[..]));
        assert_eq!(cut.note(&letter).unwrap(), "value: first 100 of 1000 bytes");
        let nothing = Cut::to(&letter, 0);
        assert_eq!((nothing.key, nothing.value), (Some(&b""[..]), Some(&b""[..])));
        assert_eq!(
            nothing.note(&letter).unwrap(),
            "key: first 0 of 7 bytes, value: first 0 of 1000 bytes, headers: none"
        );
        assert!(headers(&letter, ORIGIN, &nothing).iter().any(|header| header.name == "truncated"));
    }

    #[test]
    fn a_tombstone_stays_one() {
        let letter = DeadLetter { key: None, value: None, headers: Vec::new(), ..letter() };
        let cut = Cut::to(&letter, 0);
        assert_eq!((cut.key, cut.value, cut.note(&letter)), (None, None, None));
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let letter = DeadLetter { error: "é".repeat(1_000), ..letter() };
        assert_eq!(error_text(&letter).len(), 1_024);
        assert_eq!(error_text(&DeadLetter { error: format!("x{}", letter.error), ..letter }).len(), 1_023);
    }
}
