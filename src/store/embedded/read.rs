use super::values::{self, Spot};
use crate::counter::{Kind, Registers};
use crate::store::{Keys, Read, StoredBucket};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

pub(super) fn buckets(connection: &Connection, read: &Read) -> rusqlite::Result<Vec<StoredBucket>> {
    let Some(series) = series(connection, &read.counter, &read.window)? else {
        return Ok(vec![StoredBucket::default(); read.starts.len()]);
    };
    read.starts.iter().map(|start| bucket(connection, series, *start, read)).collect()
}

fn bucket(connection: &Connection, series: i64, start: i64, read: &Read) -> rusqlite::Result<StoredBucket> {
    let mut select =
        connection.prepare_cached("SELECT total, other FROM store_sum WHERE series = ?1 AND start = ?2")?;
    let sum = select.query_row(params![series, start], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((total, other)) = sum else { return Ok(StoredBucket::default()) };
    let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let keys: Vec<(String, u64)> = match &read.keys {
        Keys::None => Vec::new(),
        Keys::One(key) => {
            let sql = "SELECT key, count FROM store_key WHERE series = ?1 AND start = ?2 AND key = ?3";
            let mut select = connection.prepare_cached(sql)?;
            select.query_row(params![series, start, key], pair).optional()?.into_iter().collect()
        }
        Keys::All => {
            let sql = "SELECT key, count FROM store_key WHERE series = ?1 AND start = ?2";
            let mut select = connection.prepare_cached(sql)?;
            select.query_map(params![series, start], pair)?.collect::<rusqlite::Result<_>>()?
        }
    };
    let value = values::value(connection, Spot { series, start, key: None }, read.kind)?;
    let mut values = HashMap::new();
    for (key, _) in keys.iter().filter(|_| read.kind != Kind::Count) {
        let value = values::value(connection, Spot { series, start, key: Some(key) }, read.kind)?;
        values.extend(value.map(|value| (key.clone(), value)));
    }
    Ok(StoredBucket { total, other, keys, value, values })
}

pub(super) fn united(connection: &Connection, read: &Read) -> rusqlite::Result<Registers> {
    let mut all = Registers::default();
    let key = if let Keys::One(key) = &read.keys { Some(key.as_str()) } else { None };
    if let Some(series) = series(connection, &read.counter, &read.window)? {
        for start in &read.starts {
            all.unite(&values::registers(connection, Spot { series, start: *start, key })?);
        }
    }
    Ok(all)
}

pub(super) fn key_count(connection: &Connection, counter: &str, window: &str, starts: &[i64]) -> rusqlite::Result<u64> {
    let Some(series) = series(connection, counter, window)? else { return Ok(0) };
    let mut select = connection.prepare_cached("SELECT keys FROM store_sum WHERE series = ?1 AND start = ?2")?;
    let mut sum = 0;
    for start in starts {
        sum += select.query_row(params![series, start], |row| row.get::<_, u64>(0)).optional()?.unwrap_or(0);
    }
    Ok(sum)
}

fn series(connection: &Connection, counter: &str, window: &str) -> rusqlite::Result<Option<i64>> {
    let mut select = connection.prepare_cached("SELECT series FROM store_series WHERE counter = ?1 AND window = ?2")?;
    select.query_row(params![counter, window], |row| row.get(0)).optional()
}
