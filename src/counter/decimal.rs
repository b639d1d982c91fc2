//! Decimal numbers as scaled integers: sums of them are exact.

use std::fmt;

/// Digits that a scaled number has at most, so that sums of very many fit their type.
const MOST_DIGITS: i64 = 18;
/// No exponent beyond this makes a difference: it is zero, or too large.
const FAR: i64 = 100_000;

/// A decimal number: an integer that stands for so many units of 10 to the power of -`places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal {
    /// The integer.
    pub scaled: i128,
    /// Digits behind the point.
    pub places: u32,
}

impl fmt::Display for Decimal {
    /// As JSON writes a number, without zeros that say nothing: `-12.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u128.pow(self.places);
        let (whole, rest) = (self.scaled.unsigned_abs() / one, self.scaled.unsigned_abs() % one);
        let sign = if self.scaled < 0 { "-" } else { "" };
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let behind = format!("{rest:0width$}", width = self.places as usize);
        write!(f, "{sign}{whole}.{}", behind.trim_end_matches('0'))
    }
}

/// The number that a text says, times 10 to the power of `places`. What is finer is rounded, a half to the even
/// neighbour. `None` for what JSON does not take for a number, and for what has more than 18 digits once scaled.
pub(super) fn scaled(text: &str, places: u32) -> Option<i64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, self::exponent(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (digits, ""),
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // How many of the digits stand before the point of the scaled number.
    let before = i64::try_from(whole.len()).ok()? + exponent + i64::from(places);
    let all = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0');
    let magnitude = rounded(all, before)?;
    Some(if negative { -magnitude } else { magnitude })
}

fn exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse().unwrap_or(FAR).min(FAR);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// The first `before` of these digits as a number, rounded by the others.
fn rounded(digits: impl Iterator<Item = u8>, before: i64) -> Option<i64> {
    let mut digits = digits.peekable();
    let mut before = before;
    while digits.next_if_eq(&0).is_some() {
        before -= 1;
    }
    if digits.peek().is_none() || before < 0 {
        return Some(0);
    }
    if before > MOST_DIGITS {
        return None;
    }
    let whole = (0..before).fold(0_i64, |whole, _| 10 * whole + i64::from(digits.next().unwrap_or(0)));
    let first = digits.next().unwrap_or(0);
    let is_more = digits.any(|digit| digit > 0);
    let up = first > 5 || (first == 5 && (is_more || whole % 2 == 1));
    let whole = whole + i64::from(up);
    (whole < 10_i64.pow(MOST_DIGITS as u32)).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_json_takes_for_a_number_is_scaled_and_a_half_goes_to_the_even_one() {
        for (text, places, wanted) in [
            ("0", 2, 0),
            ("-0.0", 2, 0),
            ("19.99", 2, 1_999),
            ("19.99", 6, 19_990_000),
            ("-0.01", 2, -1),
            ("1e3", 0, 1_000),
            ("1.5E+1", 1, 150),
            ("12345e-4", 2, 123),
            ("0.125", 2, 12),
            ("0.135", 2, 14),
            ("0.1250000001", 2, 13),
            ("0.005", 2, 0),
            ("0.0051", 2, 1),
            ("0.05", 1, 0),
            ("0.95", 0, 1),
            ("0.004999", 2, 0),
            ("1e-999999999999999999999", 2, 0),
            ("0e999999999999999999999", 2, 0),
            ("999999999999999999", 0, 999_999_999_999_999_999),
        ] {
            assert_eq!(scaled(text, places), Some(wanted), "{text} with {places}");
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            ".5",
            "1.",
            "1e",
            "1e+",
            "0x1",
            "NaN",
            "true",
            " 1",
            "1 ",
            "1_0",
            "1,5",
            "--1",
            "1.5.2",
            "1e1.5",
            "1e999",
            "1000000000000000000",
            "999999999999999999.5",
        ] {
            assert_eq!(scaled(text, 0), None, "{text}");
        }
    }

    #[test]
    fn it_is_written_as_short_as_it_can_be() {
        for (scaled, places, text) in
            [(0, 6, "0"), (1_999, 2, "19.99"), (-1_950, 2, "-19.5"), (-5, 2, "-0.05"), (100, 2, "1"), (7, 0, "7")]
        {
            assert_eq!(Decimal { scaled, places }.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number in -999_999_999_999_999_999_i64..=999_999_999_999_999_999, places in 0_u32..10) {
            let text = Decimal { scaled: number.into(), places }.to_string();
            prop_assert_eq!(scaled(&text, places), Some(number));
        }

        #[test]
        fn it_never_panics(text in "[-+.eE0-9]{0,24}", places in 0_u32..10) {
            let number = scaled(&text, places);
            if let Ok(float) = text.parse::<f64>() && let Some(number) = number {
                let wanted = float * 10_f64.powi(places as i32);
                prop_assert!((number as f64 - wanted).abs() <= 0.5 + wanted.abs() * 1e-9, "{} {}", number, wanted);
            }
        }
    }
}
