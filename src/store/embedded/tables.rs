use crate::counter::{Fingerprint, Ledger};
use crate::store::gap::accepted_at;
use crate::store::layout::Fields;
use crate::store::{Condition, PartitionState, StoredPartition};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::io;

pub(super) fn layout(connection: &Connection) -> rusqlite::Result<Fields> {
    let mut select = connection.prepare_cached("SELECT name, value FROM store_layout")?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

pub(super) fn add_to_layout(connection: &Connection, additions: &Fields) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO store_layout (name, value) VALUES (?1, ?2)")?;
    additions.iter().try_for_each(|field| insert.execute(params![field.0, field.1]).map(drop))
}

pub(super) fn partition(
    connection: &Connection,
    topic: &str,
    partition: i32,
) -> rusqlite::Result<Option<StoredPartition>> {
    let mut select = connection.prepare_cached(
        "SELECT p.*, g.missing, g.accepted, g.lost_from, g.lost_until
         FROM store_partition p LEFT JOIN store_gap g USING (topic, partition) WHERE topic = ?1 AND partition = ?2",
    )?;
    select.query_row(params![topic, partition], stored).optional()
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredPartition> {
    let mut ledger = Ledger::default();
    for (name, value) in ledger.fields_mut() {
        *value = row.get(name)?;
    }
    let state: String = row.get("state")?;
    let fingerprint: Option<String> = row.get("fingerprint")?;
    let next_offset: Option<i64> = row.get("next_offset")?;
    let accepted: Option<String> = row.get("accepted")?;
    let lost_from: Option<i64> = row.get("lost_from")?;
    Ok(StoredPartition {
        start_offset: row.get("start_offset")?,
        next_offset,
        watermark_ms: row.get("watermark")?,
        fingerprint: fingerprint
            .map(|text| text.parse::<Fingerprint>().map_err(|()| unreadable("fingerprint", &text)))
            .transpose()?,
        ledger,
        lost_ms: lost_from.zip(row.get("lost_until")?),
        gap_accepted: accepted.is_some_and(|at| at == accepted_at(next_offset)),
        condition: Condition {
            state: PartitionState::named(&state).ok_or_else(|| unreadable("state", &state))?,
            reason: row.get("reason")?,
            missing: row.get("missing")?,
            high_watermark: row.get("high_watermark")?,
            partitions: row.get("partitions")?,
        },
        updated_at_ms: row.get("updated_at")?,
    })
}

fn unreadable(name: &str, text: &str) -> rusqlite::Error {
    let what = io::Error::new(io::ErrorKind::InvalidData, format!("{name} is {text:?}"));
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(what))
}
