//! The dead letters of a file: read beside whoever has it, redriven and deleted by its one writer.

use super::headers::Encoded;
use super::{EmbeddedLog, schema};
use crate::clock::now_ms;
use crate::embedded::open_read_only;
use crate::log::{KeptLetter, LetterId, LetterOrigin, LogError, NewRecord};
use rusqlite::{Connection, OptionalExtension, Result as Sql, Row, params};
use std::path::Path;

/// Letters that are read at a time.
const READ: usize = 500;
/// Letters that are deleted in one transaction.
const DELETED: usize = 1_000;

/// Hands the dead letters of a file to `each`, by partition and offset of the record. `topic` is the file's; letters
/// from before there were groups are `group`'s. The file may be in use. Blocks.
///
/// # Errors
/// When the file cannot be read.
pub fn letters(path: &Path, (topic, group): (&str, &str), each: &mut dyn FnMut(KeptLetter)) -> Result<(), LogError> {
    let connection = open_read_only(path)?;
    if !connection.table_exists(None, "dead_letters")? {
        return Ok(());
    }
    let grouped = connection.column_exists(None, "dead_letters", "consumer_group")?;
    let column = if grouped { "consumer_group" } else { "?4" };
    let headed = connection.column_exists(None, "dead_letters", "headers")?;
    let headers = if headed { "headers" } else { "NULL" };
    let select = format!(
        "SELECT original_partition, original_offset, {column} AS consumer_group, original_timestamp, error, attempts, \
         failed_at, key, value, {headers} FROM dead_letters \
         WHERE (original_partition, original_offset, {column}) > (?1, ?2, ?3) \
         ORDER BY 1, 2, 3 LIMIT {READ}"
    );
    let mut after = (i32::MIN, i64::MIN, String::new());
    loop {
        // Some at a time, and no statement is open in between: the file's writer is not held up.
        let some = page(&connection, &select, &after, (topic, group))?;
        let Some(last) = some.last() else { return Ok(()) };
        after = (last.id.partition, last.id.offset, last.id.group.clone().unwrap_or_default());
        some.into_iter().for_each(&mut *each);
    }
}

fn page(
    connection: &Connection,
    select: &str,
    (partition, offset, after): &(i32, i64, String),
    (topic, group): (&str, &str),
) -> Sql<Vec<KeptLetter>> {
    let mut statement = connection.prepare_cached(select)?;
    let one = |row: &Row<'_>| letter(row, topic);
    if statement.parameter_count() == 4 {
        return statement.query_map(params![partition, offset, after, group], one)?.collect();
    }
    statement.query_map(params![partition, offset, after], one)?.collect()
}

fn letter(row: &Row<'_>, topic: &str) -> Sql<KeptLetter> {
    let (partition, offset, group): (i32, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let bytes = |column| -> Sql<Option<Vec<u8>>> { Ok(schema::bytes(row.get_ref(column)?).map(<[u8]>::to_vec)) };
    Ok(KeptLetter {
        id: LetterId { partition, offset, group: Some(group.clone()) },
        origin: Some(LetterOrigin {
            topic: topic.to_owned(),
            partition,
            offset,
            time_ms: row.get(3)?,
            group: Some(group),
        }),
        error: schema::bytes(row.get_ref(4)?).map(|error| String::from_utf8_lossy(error).into_owned()),
        attempts: row.get(5)?,
        failed_at_ms: row.get(6)?,
        truncated: None,
        key: bytes(7)?,
        value: bytes(8)?,
        headers: schema::bytes(row.get_ref(9)?).map(|kept| Encoded(kept).copied()).unwrap_or_default(),
    })
}

/// Where the log of a file begins and ends, or, with a time in ms, the first record at or after it and the end. The
/// file may be in use. Blocks.
///
/// # Errors
/// When the file cannot be read.
pub fn extent(path: &Path, from_ms: Option<i64>) -> Result<(i64, i64), LogError> {
    let connection = open_read_only(path)?;
    let (start, end) = (schema::start(&connection)?, schema::end(&connection)?);
    let from = match from_ms {
        None => start,
        Some(ms) => schema::first_after(&connection, ms.saturating_sub(1))?.unwrap_or(end),
    };
    Ok((from, end))
}

const WHERE: &str = "WHERE original_partition = ?1 AND original_offset = ?2 AND consumer_group = ?3";

impl EmbeddedLog {
    /// Appends the record of a dead letter again and deletes the letter, in one transaction. `false`: there is no such
    /// letter any more.
    ///
    /// # Errors
    /// When the log is full or the write fails: then the letter stays.
    pub async fn redrive(&self, id: LetterId) -> Result<bool, LogError> {
        self.inner.room()?;
        let write = move |connection: &Connection| {
            let place = params![id.partition, id.offset, id.group];
            let mut found =
                connection.prepare_cached(&format!("SELECT key, value, headers FROM dead_letters {WHERE}"))?;
            let record = found.query_row(place, |row| {
                let bytes = |column| -> Sql<_> { Ok(schema::bytes(row.get_ref(column)?).map(<[u8]>::to_vec)) };
                let headers = schema::bytes(row.get_ref(2)?).map(|kept| Encoded(kept).copied()).unwrap_or_default();
                Ok(NewRecord { key: bytes(0)?, value: bytes(1)?, headers })
            });
            let Some(record) = record.optional()? else { return Ok(false) };
            schema::append(connection, now_ms(), &[record])?;
            connection.prepare_cached(&format!("DELETE FROM dead_letters {WHERE}"))?.execute(place)?;
            Ok(true)
        };
        let redriven = self.inner.file.write(write).await?;
        self.inner.file.notify();
        Ok(redriven)
    }

    /// Deletes dead letters for good, and returns how many there were.
    ///
    /// # Errors
    /// When the write fails; some may be deleted then.
    pub async fn purge(&self, ids: Vec<LetterId>) -> Result<usize, LogError> {
        let mut deleted = 0;
        for some in ids.chunks(DELETED).map(<[LetterId]>::to_vec) {
            let write = move |connection: &Connection| {
                let mut delete = connection.prepare_cached(&format!("DELETE FROM dead_letters {WHERE}"))?;
                let one = |id: &LetterId| delete.execute(params![id.partition, id.offset, id.group]);
                some.iter().map(one).sum::<Sql<usize>>()
            };
            deleted += self.inner.file.write(write).await?;
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{Config, EmbeddedFile};
    use crate::log::{DeadLetter, EventLog, Header, scan_embedded};
    use crate::telemetry::Metrics;
    use std::sync::Arc;

    fn dead(offset: i64) -> DeadLetter {
        DeadLetter {
            partition: 0,
            offset,
            time_ms: Some(5),
            key: Some(vec![0xff, 0]),
            value: (offset != 2).then(|| b"text".to_vec()),
            headers: vec![Header::text("event_type", "view")],
            error: format!("why {offset}"),
            attempts: 3,
            failed_at_ms: 9_000,
        }
    }

    async fn opened(folder: &tempfile::TempDir) -> (EmbeddedLog, Config) {
        let config = Config { path: folder.path().join("x.db"), ..Config::default() };
        let file = EmbeddedFile::open(&config, false).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        (EmbeddedLog::open(file, &config, ("t", "g"), metrics).await.unwrap(), config)
    }

    fn ids(path: &Path) -> Vec<String> {
        let mut ids = Vec::new();
        letters(path, ("t", "g"), &mut |letter| ids.push(letter.id.to_string())).unwrap();
        ids
    }

    #[tokio::test]
    async fn a_letter_is_redriven_once_and_keeps_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (log, config) = opened(&folder).await;
        log.dead_letters(&[dead(1), dead(2)]).await.unwrap();
        log.for_group("h").dead_letters(&[dead(2)]).await.unwrap();
        assert_eq!(ids(&config.path), ["0:1:g", "0:2:g", "0:2:h"]);
        for (id, expected) in [("0:1:g", true), ("0:1:g", false), ("0:2:h", true), ("0:3:g", false)] {
            assert_eq!(log.redrive(id.parse().unwrap()).await.unwrap(), expected, "{id}");
        }
        assert_eq!(ids(&config.path), ["0:2:g"]);
        let mut records = Vec::new();
        scan_embedded(&config.path, 0, i64::MAX, &mut |r| {
            assert_eq!(r.copied_headers(), [Header::text("event_type", "view")]);
            records.push((r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec)));
        })
        .unwrap();
        let key = Some(vec![0xff, 0]);
        assert_eq!(records, [(key.clone(), Some(b"text".to_vec())), (key, None)]);
        assert_eq!(extent(&config.path, None).unwrap(), (0, 2));
        assert_eq!(extent(&config.path, Some(i64::MAX)).unwrap(), (2, 2));
    }

    #[tokio::test]
    async fn many_letters_are_read_and_some_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let (log, config) = opened(&folder).await;
        let all: Vec<_> = (0..1_234).map(dead).collect();
        log.dead_letters(&all).await.unwrap();
        let found = ids(&config.path);
        assert_eq!(found, (0..1_234).map(|n| format!("0:{n}:g")).collect::<Vec<_>>());
        let some = found.iter().skip(34).chain(["0:7777:g".to_owned()].iter()).map(|id| id.parse().unwrap()).collect();
        assert_eq!(log.purge(some).await.unwrap(), 1_200);
        assert_eq!(ids(&config.path).len(), 34);
    }

    #[test]
    fn a_file_from_before_there_were_groups_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { path: folder.path().join("x.db"), ..Config::default() };
        drop(EmbeddedFile::open(&config, false).unwrap());
        assert_eq!(ids(&config.path), [""; 0]);
        let before = "CREATE TABLE dead_letters (original_partition INTEGER NOT NULL, original_offset INTEGER NOT NULL,
            original_timestamp INTEGER, error TEXT NOT NULL, attempts INTEGER NOT NULL, failed_at INTEGER NOT NULL,
            key, value, PRIMARY KEY (original_partition, original_offset))";
        let connection = Connection::open(&config.path).unwrap();
        connection.execute_batch(before).unwrap();
        for offset in 0..700 {
            connection.execute("INSERT INTO dead_letters VALUES (0, ?1, 1, 'why', 1, 2, NULL, 'v')", [offset]).unwrap();
        }
        assert_eq!(ids(&config.path).len(), 700);
    }
}
