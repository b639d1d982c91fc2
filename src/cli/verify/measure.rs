//! What an event is measured by, written down a second time: conditions, amounts, and who is told apart.
//!
//! One thing is shared with the code that counts: which register of a HyperLogLog a text raises. It is Redis that says so.

use super::rules::{Path, Told};
use crate::counter::{Kind, Raise, Registers, Spec};
use std::collections::HashMap;

const NUMBER_BYTES: usize = 400;
const MEMBER_BYTES: usize = 256;
const PLACES: u32 = 6;

/// What a counter makes of an event.
#[derive(Debug)]
pub(super) struct Measure {
    kind: Kind,
    of: Option<Path>,
    places: u32,
    only: Vec<(String, Vec<String>)>,
    except: Vec<(String, Vec<String>)>,
}

/// What one event adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measured {
    Nothing,
    Amount(i64),
    Member(Raise),
}

/// What events amount to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) sum: i128,
    /// The smallest and the largest, if there is any.
    pub(super) range: Option<(i64, i64)>,
    ranks: HashMap<u16, u8>,
}

impl Measure {
    pub(super) fn of_spec(spec: &Spec) -> Measure {
        let places = spec.factor.map_or(PLACES, |factor| factor.to_string().len() as u32 - 1);
        let of = spec.of.as_deref().map(Path::of);
        Measure { kind: spec.kind, of, places, only: grouped(&spec.only), except: grouped(&spec.except) }
    }

    /// `None`: the counter leaves the event out.
    pub(super) fn of(&self, told: &Told<'_>) -> Option<Measured> {
        let holds = |(path, values): &(String, Vec<String>)| {
            let value = told.value(&Path::of(path));
            values.iter().any(|wanted| wanted == head(&value, MEMBER_BYTES))
        };
        if !self.only.iter().all(holds) || self.except.iter().any(holds) {
            return None;
        }
        let Some(of) = &self.of else { return Some(Measured::Nothing) };
        let value = told.value(of);
        match self.kind {
            Kind::Count => Some(Measured::Nothing),
            Kind::Sum => amount(&value, self.places).map(Measured::Amount),
            Kind::Distinct if value.is_empty() => None,
            Kind::Distinct => Some(Measured::Member(Raise::of(head(&value, MEMBER_BYTES).as_bytes()))),
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, measured: Measured) {
        match measured {
            Measured::Nothing => {}
            Measured::Amount(n) => {
                self.sum += i128::from(n);
                self.range = Some(self.range.map_or((n, n), |(least, most)| (least.min(n), most.max(n))));
            }
            Measured::Member(Raise { index, rank }) => {
                let register = self.ranks.entry(index).or_default();
                *register = rank.max(*register);
            }
        }
    }

    /// About how many were told apart.
    pub(super) fn distinct(&self) -> u64 {
        let mut registers = Registers::default();
        self.ranks.iter().for_each(|(index, rank)| registers.raise(Raise { index: *index, rank: *rank }));
        registers.estimate()
    }
}

/// Conditions on the same dimension are one, with several values.
fn grouped(conditions: &[String]) -> Vec<(String, Vec<String>)> {
    let mut grouped: Vec<(String, Vec<String>)> = Vec::new();
    for condition in conditions {
        let mut quotes = 0;
        let ends = |c: char| {
            quotes += usize::from(c == '"');
            c == '=' && quotes % 2 == 0
        };
        let (path, value) = condition.split_at(condition.find(ends).unwrap_or(condition.len()));
        let value = value.trim_start_matches('=').to_owned();
        match grouped.iter_mut().find(|(known, _)| known == path) {
            Some((_, values)) => values.push(value),
            None => grouped.push((path.to_owned(), vec![value])),
        }
    }
    grouped
}

fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or_default()]
}

/// The number that a text says, scaled, a half rounded to the even neighbour; `None` for what is no number of JSON, and
/// for more than 18 digits.
fn amount(text: &str, places: u32) -> Option<i64> {
    let number = serde_json::from_str::<serde_json::Value>(text).is_ok_and(|value| value.is_number());
    // What is too large for a float is a number all the same, and too large for us too.
    if !number || text.len() > NUMBER_BYTES || text.trim() != text {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let exponent: i64 =
        exponent.trim_start_matches('+').parse().unwrap_or(if exponent.starts_with('-') { -999 } else { 999 });
    let (whole, fraction) =
        mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
    // The number is 0.DIGITS times 10 to the power of `point`.
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i64 + exponent.clamp(-999, 999) + i64::from(places);
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    let (digits, point) = (&digits[zeros..], point - zeros as i64);
    if digits.is_empty() || point < 0 {
        return Some(0);
    }
    if point > 18 {
        return None;
    }
    let point = point as usize;
    let padded = format!("{digits:0<point$}");
    let (kept, rest) = padded.split_at(point);
    let kept: i64 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let up = match rest.trim_end_matches('0') {
        "5" => kept % 2 == 1,
        rest => rest.as_bytes().first().is_some_and(|digit| *digit >= b'5'),
    };
    let rounded = kept + i64::from(up);
    let signed = if mantissa.starts_with('-') { -rounded } else { rounded };
    (rounded < 1_000_000_000_000_000_000).then_some(signed)
}
