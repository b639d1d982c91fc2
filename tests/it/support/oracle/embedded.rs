//! What the embedded file really holds: its log, read as any SQLite tool would.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use crate::support::topic::Record;

/// All records of a file's log, which may be in use.
pub(crate) fn records_of(file: &Path) -> Vec<Record> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a SQLite file");
    connection.busy_timeout(std::time::Duration::from_secs(10)).expect("a time-out");
    let mut select =
        connection.prepare("SELECT offset, time_ms, key, value FROM records ORDER BY offset").expect("SQL");
    let rows = select.query_map([], |row| {
        Ok(Record {
            partition: 0,
            offset: row.get(0)?,
            timestamp: row.get(1)?,
            key: bytes(row.get(2)?),
            value: bytes(row.get(3)?),
            headers: Vec::new(),
        })
    });
    rows.expect("rows").map(|row| row.expect("a record")).collect()
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.into_bytes()),
        Value::Blob(bytes) => Some(bytes),
        other => panic!("{other:?} is no key and no value"),
    }
}
