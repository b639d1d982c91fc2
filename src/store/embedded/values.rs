//! What events amount to: the rows beside the counts.

use crate::counter::{Amounts, Kind, Measure, Registers};
use crate::store::StoredValue;
use crate::store::parts::Parts;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// A bucket, or a key of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) series: i64,
    pub(super) start: i64,
    pub(super) key: Option<&'a str>,
}

pub(super) fn add(connection: &Connection, spot: Spot<'_>, measure: Measure<'_>) -> rusqlite::Result<()> {
    match measure {
        Measure::Count => Ok(()),
        Measure::Amounts(more) => {
            let mut amounts = *more;
            self::amounts(connection, spot)?.into_iter().for_each(|stored| amounts.add(&stored));
            let Parts { high, low } = amounts.sum.into();
            let sql = "INSERT OR REPLACE INTO store_amount VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let Spot { series, start, key } = spot;
            let values =
                params![series, start, key.is_some(), key.unwrap_or_default(), low, high, amounts.min, amounts.max];
            connection.prepare_cached(sql)?.execute(values).map(drop)
        }
        Measure::Members(members) => {
            let mut registers = registers(connection, spot)?;
            members.iter().for_each(|(raise, _)| registers.raise(raise));
            let sql = "INSERT OR REPLACE INTO store_distinct VALUES (?1, ?2, ?3, ?4, ?5)";
            let Spot { series, start, key } = spot;
            let values = params![series, start, key.is_some(), key.unwrap_or_default(), registers.to_bytes()];
            connection.prepare_cached(sql)?.execute(values).map(drop)
        }
    }
}

/// What is stored there, if anything was counted.
pub(super) fn value(connection: &Connection, spot: Spot<'_>, kind: Kind) -> rusqlite::Result<Option<StoredValue>> {
    Ok(match kind {
        Kind::Count => None,
        Kind::Sum => amounts(connection, spot)?.map(StoredValue::Amounts),
        Kind::Distinct => Some(StoredValue::Distinct(registers(connection, spot)?.estimate())),
    })
}

fn amounts(connection: &Connection, Spot { series, start, key }: Spot<'_>) -> rusqlite::Result<Option<Amounts>> {
    let sql = "SELECT value, value_high, min, max FROM store_amount
               WHERE series = ?1 AND start = ?2 AND keyed = ?3 AND key = ?4";
    let read = |row: &Row<'_>| {
        let sum = Parts { low: row.get(0)?, high: row.get(1)? }.into();
        Ok(Amounts { sum, min: row.get(2)?, max: row.get(3)? })
    };
    let place = params![series, start, key.is_some(), key.unwrap_or_default()];
    connection.prepare_cached(sql)?.query_row(place, read).optional()
}

/// Those of the empty set where nothing is stored.
pub(super) fn registers(connection: &Connection, spot: Spot<'_>) -> rusqlite::Result<Registers> {
    let Spot { series, start, key } = spot;
    let sql = "SELECT registers FROM store_distinct WHERE series = ?1 AND start = ?2 AND keyed = ?3 AND key = ?4";
    let place = params![series, start, key.is_some(), key.unwrap_or_default()];
    let stored: Option<Vec<u8>> = connection.prepare_cached(sql)?.query_row(place, |row| row.get(0)).optional()?;
    let wrong = |e| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(e));
    stored.map_or(Ok(Registers::default()), |bytes| Registers::read(&bytes).map_err(wrong))
}
