//! The tables of the embedded log, and every statement on them.

use super::headers::{self, Encoded};
use crate::log::dead_letter::error_text;
use crate::log::{DeadLetter, Headers, KeptRecord, LogRecord, NewRecord};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Result, params};

/// AUTOINCREMENT keeps the highest offset ever given out, so one is never given out twice, whatever was deleted.
/// The first offset is 0. Where a record is, is decided here and not by SQLite, which would begin at 1.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS records (
    offset INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ms INTEGER NOT NULL,
    key,
    value
);
CREATE TABLE IF NOT EXISTS committed (
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    consumer_group TEXT NOT NULL,
    PRIMARY KEY (partition, consumer_group)
);
CREATE TABLE IF NOT EXISTS dead_letters (
    original_partition INTEGER NOT NULL,
    original_offset INTEGER NOT NULL,
    original_timestamp INTEGER,
    error TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    failed_at INTEGER NOT NULL,
    key,
    value,
    consumer_group TEXT NOT NULL,
    PRIMARY KEY (original_partition, original_offset, consumer_group)
);";
/// Tables whose rows belonged to the one group there was, in files made before there could be others.
const GROUPED: [&str; 2] = ["committed", "dead_letters"];
/// Tables that hold records, which had no headers in files made before. The column stands last, in new files too.
const WITH_HEADERS: [&str; 2] = ["records", "dead_letters"];

/// Records that one trim looks at; the next one goes on.
const TRIMMED: i64 = 10_000;

/// Makes the tables that are missing. What an older file has without a group becomes this group's.
pub(super) fn create(connection: &Connection, group: &str) -> Result<()> {
    let outdated = |table: &&str| -> Result<bool> {
        let columns = "SELECT count(*) > 0 AND sum(name = 'consumer_group') = 0 FROM pragma_table_info(?1)";
        connection.query_row(columns, [table], |row| row.get(0))
    };
    for table in GROUPED {
        if outdated(&table)? {
            connection.execute_batch(&format!("ALTER TABLE {table} RENAME TO {table}_before"))?;
        }
    }
    connection.execute_batch(TABLES)?;
    for table in GROUPED {
        let before = connection.table_exists(None, format!("{table}_before").as_str())?;
        if before {
            // The group is the last column.
            connection.execute(&format!("INSERT INTO {table} SELECT *, ?1 FROM {table}_before"), [group])?;
            connection.execute_batch(&format!("DROP TABLE {table}_before"))?;
        }
    }
    for table in WITH_HEADERS {
        if !connection.column_exists(None, table, "headers")? {
            connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN headers"))?;
        }
    }
    Ok(())
}

/// The offset that the next record gets.
pub(super) fn end(connection: &Connection) -> Result<i64> {
    let mut statement = connection.prepare_cached("SELECT seq + 1 FROM sqlite_sequence WHERE name = 'records'")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// The first offset that is kept; the end when nothing is.
pub(super) fn start(connection: &Connection) -> Result<i64> {
    let mut statement = connection.prepare_cached("SELECT min(offset) FROM records")?;
    match statement.query_row([], |row| row.get::<_, Option<i64>>(0))? {
        Some(start) => Ok(start),
        None => end(connection),
    }
}

pub(super) fn append(connection: &Connection, now_ms: i64, records: &[NewRecord]) -> Result<()> {
    let mut statement = connection
        .prepare_cached("INSERT INTO records (offset, time_ms, key, value, headers) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (offset, record) in (end(connection)?..).zip(records) {
        let (key, value) = (shown(record.key.as_deref()), shown(record.value.as_deref()));
        statement.execute(params![offset, now_ms, key, value, headers::encode(&record.headers)])?;
    }
    Ok(())
}

/// As text any SQLite tool shows it, and its JSON functions read it.
fn shown(bytes: Option<&[u8]>) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match bytes {
        None => ValueRef::Null,
        Some(bytes) if std::str::from_utf8(bytes).is_ok() => ValueRef::Text(bytes),
        Some(bytes) => ValueRef::Blob(bytes),
    })
}

/// Hands out at most `max` records from `from` on, below `to`, and returns how many there were. `each` returns
/// whether it wants more.
pub(super) fn read(
    connection: &Connection,
    (from, to): (i64, i64),
    max: usize,
    each: &mut dyn FnMut(LogRecord<'_>) -> bool,
) -> Result<usize> {
    let mut statement = selecting(connection, "headers").or_else(|_| selecting(connection, "NULL"))?;
    let mut rows = statement.query(params![from, to, i64::try_from(max).unwrap_or(i64::MAX)])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let kept = bytes(row.get_ref(4)?).map(Encoded);
        let record = LogRecord {
            partition: super::PARTITION,
            offset: row.get(0)?,
            time_ms: row.get(1)?,
            key: bytes(row.get_ref(2)?),
            value: bytes(row.get_ref(3)?),
            headers: kept.as_ref().map(|kept| kept as &dyn Headers),
        };
        count += 1;
        if !each(record) {
            break;
        }
    }
    Ok(count)
}

/// A file from before there were headers has no such column until somebody has it for writing.
fn selecting<'c>(connection: &'c Connection, headers: &str) -> Result<CachedStatement<'c>> {
    connection.prepare_cached(&format!(
        "SELECT offset, time_ms, key, value, {headers} FROM records WHERE offset >= ?1 AND offset < ?2 \
         ORDER BY offset LIMIT ?3"
    ))
}

/// The first record from an offset on, if there is one.
pub(super) fn first_record(connection: &Connection, offset: i64) -> Result<Option<KeptRecord>> {
    let mut found = None;
    read(connection, (offset, i64::MAX), 1, &mut |record| {
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        found = Some(KeptRecord { offset: record.offset, time_ms: record.time_ms, key, value });
        true
    })?;
    Ok(found)
}

/// The offset of the first record that is younger than a time.
pub(super) fn first_after(connection: &Connection, time_ms: i64) -> Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT min(offset) FROM records WHERE time_ms > ?1")?;
    statement.query_row([time_ms], |row| row.get(0))
}

pub(super) fn bytes(value: ValueRef<'_>) -> Option<&[u8]> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn bury(connection: &Connection, group: &str, letters: &[DeadLetter]) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO dead_letters
         (original_partition, original_offset, original_timestamp, error, attempts, failed_at, key, value,
          consumer_group, headers)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for letter in letters {
        statement.execute(params![
            letter.partition,
            letter.offset,
            letter.time_ms,
            error_text(letter),
            letter.attempts,
            letter.failed_at_ms,
            letter.key,
            letter.value,
            group,
            headers::encode(&letter.headers),
        ])?;
    }
    Ok(())
}

/// What a group committed.
pub(super) fn committed(connection: &Connection, group: &str) -> Result<Option<i64>> {
    let mut statement =
        connection.prepare_cached("SELECT offset FROM committed WHERE partition = ?1 AND consumer_group = ?2")?;
    statement.query_row(params![super::PARTITION, group], |row| row.get(0)).optional()
}

/// The least that any group committed: below it nobody reads any more.
pub(super) fn read_by_all(connection: &Connection) -> Result<i64> {
    let mut statement = connection.prepare_cached("SELECT min(offset) FROM committed WHERE partition = ?1")?;
    Ok(statement.query_row([super::PARTITION], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0))
}

pub(super) fn commit(connection: &Connection, group: &str, offset: i64) -> Result<()> {
    let mut statement = connection
        .prepare_cached("INSERT OR REPLACE INTO committed (partition, offset, consumer_group) VALUES (?1, ?2, ?3)")?;
    statement.execute(params![super::PARTITION, offset, group]).map(drop)
}

/// Deletes all records below an offset.
pub(super) fn delete(connection: &Connection, below: i64) -> Result<()> {
    connection.prepare_cached("DELETE FROM records WHERE offset < ?1")?.execute([below]).map(drop)
}

/// Deletes records from the beginning on, below `below`: those older than `oldest_ms`, and with `any_age` the others
/// too, but at most a few thousand at a time. Dead letters go when they are too old. Returns how many records went.
pub(super) fn trim(connection: &Connection, below: i64, oldest_ms: i64, any_age: bool) -> Result<usize> {
    let first = start(connection)?;
    let last = below.min(first.saturating_add(TRIMMED));
    let mut young = connection.prepare_cached(
        "SELECT offset FROM records WHERE offset >= ?1 AND offset < ?2 AND time_ms >= ?3 ORDER BY offset LIMIT 1",
    )?;
    let keep = match any_age {
        true => None,
        // The first young one ends it: the log has no holes.
        false => young.query_row(params![first, last, oldest_ms], |row| row.get::<_, i64>(0)).optional()?,
    };
    let mut letters = connection.prepare_cached("DELETE FROM dead_letters WHERE failed_at < ?1")?;
    letters.execute([oldest_ms])?;
    let mut records = connection.prepare_cached("DELETE FROM records WHERE offset < ?1")?;
    records.execute([keep.unwrap_or(last)])
}
