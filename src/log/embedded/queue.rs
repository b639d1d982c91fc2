//! The log as a queue: its group takes records from the front, and what it is done with is deleted at once.

use super::{EmbeddedLog, schema};
use crate::embedded::used_bytes;
use crate::log::{LogError, NewRecord};
use rusqlite::Connection;

/// A record of the queue, as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its place.
    pub offset: i64,
    /// When it was appended, in ms.
    pub time_ms: Option<i64>,
    /// The record.
    pub record: NewRecord,
}

impl EmbeddedLog {
    /// Appends as `append` does, but as a queue and not as the log of this process: the metrics of logs are left alone.
    ///
    /// # Errors
    /// When nothing of it was stored.
    pub async fn enqueue(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        self.inner.append(records).await
    }

    /// Where the group goes on, and where the queue ends.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn position(&self) -> Result<(i64, i64), LogError> {
        let group = self.group.clone();
        let ask = move |connection: &Connection| {
            let start = schema::start(connection)?;
            // What is below the start was released, whatever was committed since.
            let from = schema::committed(connection, &group)?.map_or(start, |committed| committed.max(start));
            Ok((from, schema::end(connection)?))
        };
        self.inner.ask(ask).await
    }

    /// The first records from an offset on, so many and so many bytes at most, but one at least where there is one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn front(&self, from: i64, most: usize, most_bytes: usize) -> Result<Vec<Queued>, LogError> {
        let ask = move |connection: &Connection| {
            let (mut found, mut bytes) = (Vec::new(), 0);
            schema::read(connection, (from, i64::MAX), most, &mut |record| {
                let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
                let headers = record.copied_headers();
                let copy = NewRecord { key: owned(record.key), value: owned(record.value), headers };
                bytes += copy.bytes();
                found.push(Queued { offset: record.offset, time_ms: record.time_ms, record: copy });
                bytes < most_bytes
            })?;
            Ok(found)
        };
        self.inner.ask(ask).await
    }

    /// Notes that the group is done with what is below an offset, and deletes it, in one step.
    ///
    /// # Errors
    /// When the write fails: then nothing of it is done.
    pub async fn release(&self, below: i64) -> Result<(), LogError> {
        let (log, group) = (self.inner.clone(), self.group.clone());
        let write = move |connection: &Connection| {
            schema::commit(connection, &group, below)?;
            schema::delete(connection, below)?;
            log.measured(used_bytes(connection)?);
            Ok(())
        };
        Ok(self.inner.file.write(write).await?)
    }

    /// Bytes of the file that are in use, about.
    pub fn used_bytes(&self) -> u64 {
        self.inner.used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{Config, EmbeddedFile};
    use crate::log::Header;
    use crate::telemetry::Metrics;
    use std::sync::Arc;

    async fn opened(folder: &tempfile::TempDir) -> EmbeddedLog {
        let config = Config { path: folder.path().join("x.db"), ..Config::default() };
        let file = EmbeddedFile::open(&config, false).unwrap();
        EmbeddedLog::open(file, &config, ("t", "queue"), Arc::new(Metrics::new().unwrap())).await.unwrap()
    }

    fn record(n: usize) -> NewRecord {
        let headers = vec![Header::text("n", n.to_string()), Header { name: "none".into(), value: None }];
        NewRecord { key: (n > 0).then(|| vec![0xff]), value: Some(vec![b'x'; 100]), headers }
    }

    #[tokio::test]
    async fn records_leave_as_they_came_and_their_room_is_free_again() {
        let folder = tempfile::tempdir().unwrap();
        let queue = opened(&folder).await;
        assert_eq!(queue.position().await.unwrap(), (0, 0));
        let empty = queue.used_bytes();
        queue.enqueue((0..5_000).map(record).collect()).await.unwrap();
        let front = queue.front(0, 3, usize::MAX).await.unwrap();
        assert_eq!(front.iter().map(|queued| queued.offset).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(front.iter().map(|queued| queued.record.clone()).collect::<Vec<_>>(), [0, 1, 2].map(record));
        assert_eq!(queue.front(7, 99, 240).await.unwrap().len(), 2, "the bytes end it");
        assert_eq!(queue.front(7, 99, 1).await.unwrap().len(), 1);
        queue.release(4_999).await.unwrap();
        assert_eq!(queue.position().await.unwrap(), (4_999, 5_000));
        queue.release(5_000).await.unwrap();
        assert!(queue.used_bytes() < empty + 20_000, "{} of {empty}", queue.used_bytes());
        drop(queue);
        let queue = opened(&folder).await;
        assert_eq!(queue.position().await.unwrap(), (5_000, 5_000));
        queue.enqueue(vec![record(0)]).await.unwrap();
        assert_eq!(queue.front(5_000, 9, usize::MAX).await.unwrap()[0].offset, 5_000);
    }
}
