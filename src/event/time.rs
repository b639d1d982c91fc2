//! How times are read: RFC 3339, strictly, or integer milliseconds since the epoch.

use jiff::civil::DateTime;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
/// 2000-01-01T00:00:00Z, in ms.
const EARLIEST_MS: i64 = 946_684_800_000;
/// 2101-01-01T00:00:00Z, in ms.
const TOO_LATE_MS: i64 = 4_133_980_800_000;

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
