//! What stands beside a dead letter, and how one is cut that the log would not take. Times are in ms.

use super::DeadLetter;
use crate::telemetry::TRACEPARENT;

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
}

impl<'a> Cut<'a> {
    /// Keeps at most `keep` bytes of the value, and of the key as many as are left then.
    pub(super) fn to(letter: &'a DeadLetter, keep: usize) -> Cut<'a> {
        let key = letter.key.as_deref().map(|key| head(key, keep));
        let left = keep - key.map_or(0, <[u8]>::len);
        Cut { key, value: letter.value.as_deref().map(|value| head(value, left)) }
    }

    /// For the header `truncated`; `None` when nothing is missing.
    pub(super) fn note(&self, letter: &DeadLetter) -> Option<String> {
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
        (!notes.is_empty()).then(|| notes.join(", "))
    }
}

fn head(bytes: &[u8], keep: usize) -> &[u8] {
    &bytes[..bytes.len().min(keep)]
}

/// The headers of a dead letter, in the order in which they are written.
pub(super) fn headers(letter: &DeadLetter, topic: &str, truncated: Option<String>) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("error", error_text(letter).to_owned()),
        ("original-topic", topic.to_owned()),
        ("original-partition", letter.partition.to_string()),
        ("original-offset", letter.offset.to_string()),
        ("original-timestamp", letter.time_ms.map_or_else(String::new, |ms| ms.to_string())),
        ("attempts", letter.attempts.to_string()),
        ("failed-at", letter.failed_at_ms.to_string()),
    ];
    headers.extend(letter.trace.as_ref().map(|trace| (TRACEPARENT, trace.as_str().to_owned())));
    headers.extend(truncated.map(|note| ("truncated", note)));
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

    fn letter() -> DeadLetter {
        DeadLetter {
            partition: 3,
            offset: 42,
            time_ms: Some(1_700_000_000_000),
            key: Some(b"session".to_vec()),
            value: Some(vec![b'x'; 1_000]),
            error: "event_type: missing".to_owned(),
            attempts: 1,
            failed_at_ms: 1_700_000_001_500,
            trace: None,
        }
    }

    #[test]
    fn the_headers_say_where_it_came_from_and_why() {
        let headers = headers(&letter(), "user.events", None);
        let expected = [
            ("error", "event_type: missing"),
            ("original-topic", "user.events"),
            ("original-partition", "3"),
            ("original-offset", "42"),
            ("original-timestamp", "1700000000000"),
            ("attempts", "1"),
            ("failed-at", "1700000001500"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name, value.to_owned())));
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
        assert_eq!(nothing.note(&letter).unwrap(), "key: first 0 of 7 bytes, value: first 0 of 1000 bytes");
        assert_eq!(headers(&letter, "t", nothing.note(&letter)).last().unwrap().0, "truncated");
    }

    #[test]
    fn a_tombstone_stays_one() {
        let letter = DeadLetter { key: None, value: None, ..letter() };
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
