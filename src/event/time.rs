//! How times are read: RFC 3339, strictly, or integer milliseconds since the epoch.

use super::text::unescaped;
use super::{Invalid, Kind};
use jiff::civil::DateTime;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
/// 2000-01-01T00:00:00Z, in ms.
const EARLIEST_MS: i64 = 946_684_800_000;
/// 2101-01-01T00:00:00Z, in ms.
const TOO_LATE_MS: i64 = 4_133_980_800_000;

/// The time in ms that valid JSON says, read like an event's timestamp; nothing for null.
///
/// # Errors
/// When it is no time, or one outside of the years 2000 to 2100. `field` is what it is called.
pub fn json_time_ms(field: &'static str, json: &str) -> Result<Option<i64>, Invalid> {
    const EXPECTED: &str = "an RFC 3339 string or integer milliseconds";
    let kind = json.bytes().next().and_then(Kind::of).unwrap_or(Kind::Null);
    let ms = match kind {
        Kind::Null => return Ok(None),
        Kind::Text => rfc3339_ms(&unescaped(json)).ok_or(Invalid::NotATime(field))?,
        found => integer_ms(json).ok_or(Invalid::WrongKind { field, expected: EXPECTED, found })?,
    };
    sane(field, ms).map(Some)
}

/// The same of a text outside of JSON, like a header's.
///
/// # Errors
/// As [`json_time_ms`].
pub fn text_time_ms(field: &'static str, text: &str) -> Result<i64, Invalid> {
    let text = text.trim_ascii();
    let ms = integer_ms(text).or_else(|| rfc3339_ms(text)).ok_or(Invalid::NotATime(field))?;
    sane(field, ms)
}

/// An integer; one that fits no time is as absurd as the largest.
fn integer_ms(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_integer.then(|| text.parse().unwrap_or(i64::MAX))
}

fn sane(field: &'static str, ms: i64) -> Result<i64, Invalid> {
    if is_sane(ms) { Ok(ms) } else { Err(Invalid::AbsurdTime { field, ms }) }
}

/// Whether a time lies in the years 2000 to 2100.
pub(super) fn is_sane(ms: i64) -> bool {
    (EARLIEST_MS..TOO_LATE_MS).contains(&ms)
}

/// The time in ms, below a millisecond cut off. A leap second counts as the second before it.
pub(super) fn rfc3339_ms(text: &str) -> Option<i64> {
    let (clock, rest) = text.as_bytes().split_at_checked("2025-01-31T12:00:00".len())?;
    let marks = [clock[4], clock[7], clock[10].to_ascii_uppercase(), clock[13], clock[16]];
    if marks != *b"--T::" && marks != *b"-- ::" {
        return None;
    }
    let part = |from: usize, to: usize| number(&clock[from..to]);
    let year = i16::try_from(part(0, 4)?).ok()?;
    let small = |from: usize| part(from, from + 2).and_then(|n| i8::try_from(n).ok());
    let second = small(17)?;
    let second = if second == 60 { 59 } else { second };
    let civil = DateTime::new(year, small(5)?, small(8)?, small(11)?, small(14)?, second, 0).ok()?;
    let (fraction_ms, zone) = fraction(rest)?;
    let utc_s = civil.duration_since(EPOCH).as_secs() - offset_s(zone)?;
    Some(utc_s * 1_000 + fraction_ms)
}

/// The milliseconds of a fraction, if there is one, and what follows it.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(digits) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let length = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let digit = |at: usize| digits[..length].get(at).map_or(0, |b| i64::from(b - b'0'));
    (length > 0).then(|| (digit(0) * 100 + digit(1) * 10 + digit(2), &digits[length..]))
}

fn offset_s(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', h1, h2, b':', m1, m2] => (1, [*h1, *h2], [*m1, *m2]),
        [b'-', h1, h2, b':', m1, m2] => (-1, [*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let (hours, minutes) = (number(&hours)?, number(&minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{Timestamp, tz::Offset};
    use proptest::prelude::*;

    #[test]
    fn the_strict_shape_is_read() {
        for (text, ms) in [
            ("2025-10-09T08:53:20Z", 1_760_000_000_000),
            ("2025-10-09t08:53:20.1z", 1_760_000_000_100),
            ("2025-10-09 10:53:20.1239999999999+02:00", 1_760_000_000_123),
            ("2025-10-09T03:23:20-05:30", 1_760_000_000_000),
            ("2025-10-09T08:53:20-00:00", 1_760_000_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ] {
            assert_eq!(rfc3339_ms(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "now",
            "1760000000000",
            "2025-10-09",
            "2025-10-09T08:53:20",
            "2025-10-09T08:53Z",
            "2025-10-09T08:53:20.Z",
            "2025-10-09T08:53:20+0200",
            "2025-10-09T08:53:20+24:00",
            "2025-10-09T08:53:20+02:60",
            "2025-10-09T24:00:00Z",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-10-09T08:60:00Z",
            "2025-10-09T08:53:61Z",
            "+2025-10-09T08:53:20Z",
            "2025-10-09T08:53:20ZZ",
            " 2025-10-09T08:53:20Z",
            "2025-10-09T08:53:20Z[UTC]",
            "2025-10-09_08:53:20Z",
            "20251009T085320Z",
            "٢٠٢٥-10-09T08:53:20Z",
            "2025-10-09T08:53:20,5Z",
            "2025-1-09T08:53:20.000Z",
            "-025-10-09T08:53:20Z",
        ] {
            assert_eq!(rfc3339_ms(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_beside_events_is_read_like_a_timestamp() {
        let ms = 1_760_000_000_000;
        for json in ["1760000000000", "\"2025-10-09T08:53:20Z\"", "\"2025-10-09T08:53:20\\u005a\""] {
            assert_eq!(json_time_ms("sent_at", json), Ok(Some(ms)), "{json}");
        }
        assert_eq!(json_time_ms("sent_at", "null"), Ok(None));
        for text in ["1760000000000", " 2025-10-09T08:53:20Z "] {
            assert_eq!(text_time_ms("X-Sent-At", text), Ok(ms), "{text}");
        }
        for (json, problem) in [
            ("\"now\"", "not a time"),
            ("\"1760000000000\"", "not a time"),
            ("1760000000", "looks like seconds"),
            ("-1", "years 2000 to 2100"),
            ("99999999999999999999999", "years 2000 to 2100"),
            ("1.5e12", "not a number"),
            ("true", "not a boolean"),
            ("[]", "not an array"),
        ] {
            let error = json_time_ms("sent_at", json).unwrap_err();
            assert!(error.to_string().contains(problem) && error.field() == Some("sent_at"), "{json}: {error}");
        }
        for text in ["", "-", "now", "\"1760000000000\"", "1.5", "\u{661}"] {
            assert_eq!(text_time_ms("X-Sent-At", text), Err(Invalid::NotATime("X-Sent-At")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_jiff_writes_is_read_as_it_was_meant(ms in EARLIEST_MS..TOO_LATE_MS, minutes in -1_439_i32..1_440) {
            let time = Timestamp::from_millisecond(ms).unwrap();
            prop_assert_eq!(rfc3339_ms(&time.to_string()), Some(ms));
            let there = time.display_with_offset(Offset::from_seconds(minutes * 60).unwrap()).to_string();
            prop_assert_eq!(rfc3339_ms(&there), Some(ms));
        }
    }
}
