//! What events amount to, as the API says it.

use crate::counter::{Amounts, Counter, Decimal, Kind};
use crate::store::StoredValue;
use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The value of a bucket, of a key, or of a whole range. A counter that only counts has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Value {
    /// About how many different ones: `value`.
    Distinct(u64),
    /// The sum, with the smallest, the largest and the mean: `value`, `min`, `max`, `mean`.
    Sum {
        /// None where nothing was added up.
        amounts: Option<Amounts>,
        /// Of how many events.
        events: u64,
        /// Digits behind the point.
        places: u32,
    },
}

/// What is told apart takes this many times the time and memory of a count to read.
const COST_OF_DISTINCT: u64 = 16;

/// What so many cells of a counter of this kind cost to read, in counts.
pub(super) fn cost(kind: Kind, cells: u64) -> u64 {
    cells.saturating_mul(if kind == Kind::Distinct { COST_OF_DISTINCT } else { 1 })
}

/// A decimal as a number of JSON, digit by digit.
struct Number(Decimal);

impl Value {
    /// That of so many events of a counter.
    pub(super) fn of(counter: &Counter, stored: Option<StoredValue>, events: u64) -> Option<Value> {
        match (counter.kind(), stored) {
            (Kind::Count, _) => None,
            (Kind::Distinct, Some(StoredValue::Distinct(n))) => Some(Value::Distinct(n)),
            (Kind::Distinct, _) => Some(Value::Distinct(0)),
            (Kind::Sum, stored) => {
                let amounts = if let Some(StoredValue::Amounts(amounts)) = stored { Some(amounts) } else { None };
                Some(Value::Sum { amounts, events, places: counter.places() })
            }
        }
    }

    /// What the values of parts make together, if that can be told from them.
    pub(super) fn add(self, other: Value) -> Value {
        match (self, other) {
            (Value::Sum { amounts, events, places }, Value::Sum { amounts: more, events: others, .. }) => {
                let mut sum = amounts.or(more);
                if let (Some(sum), Some(_), Some(more)) = (&mut sum, amounts, &more) {
                    sum.add(more);
                }
                Value::Sum { amounts: sum, events: events + others, places }
            }
            (value, _) => value,
        }
    }

    /// What is ranked by it: larger is higher.
    pub(super) fn rank(&self) -> i128 {
        match self {
            Value::Distinct(n) => i128::from(*n),
            Value::Sum { amounts, .. } => amounts.map_or(0, |amounts| amounts.sum),
        }
    }

    /// As a float, for whoever takes no other numbers.
    pub(super) fn as_f64(&self) -> f64 {
        match self {
            Value::Distinct(n) => *n as f64,
            Value::Sum { places, .. } => self.rank() as f64 / 10_f64.powi(*places as i32),
        }
    }

    /// The value itself as text.
    pub(super) fn text(&self) -> String {
        match self {
            Value::Distinct(n) => n.to_string(),
            Value::Sum { places, .. } => Decimal { scaled: self.rank(), places: *places }.to_string(),
        }
    }
}

impl Value {
    fn write<M: SerializeMap>(&self, fields: &mut M) -> Result<(), M::Error> {
        match *self {
            Value::Distinct(n) => fields.serialize_entry("value", &n),
            Value::Sum { amounts, events, places } => {
                let number = |scaled: i128| Number(Decimal { scaled, places });
                fields.serialize_entry("value", &number(self.rank()))?;
                fields.serialize_entry("min", &amounts.map(|amounts| number(amounts.min.into())))?;
                fields.serialize_entry("max", &amounts.map(|amounts| number(amounts.max.into())))?;
                let mean = amounts.filter(|_| events > 0).map(|_| self.as_f64() / events as f64);
                fields.serialize_entry("mean", &mean)
            }
        }
    }
}

impl Serialize for Value {
    /// As fields of what it is the value of.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        self.write(&mut fields)?;
        fields.end()
    }
}

/// The value of a bucket or a range: with `count`, of how many events a sum is. A key has that anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Whole(pub(super) Value);

impl Serialize for Whole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        if let Value::Sum { events, .. } = &self.0 {
            fields.serialize_entry("count", events)?;
        }
        self.0.write(&mut fields)?;
        fields.end()
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}
