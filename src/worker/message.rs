//! A record as a handler gets it.

use crate::log::{LogRecord, trace_among};
use crate::telemetry::TraceParent;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// A record of the topic, for a handler. Clones share its bytes.
#[derive(Clone)]
pub struct Message(Arc<Inner>);

struct Inner {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    time_ms: Option<i64>,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Option<Bytes>)>,
}

impl Message {
    /// A copy of a record that is borrowed from the client.
    pub(super) fn copied(topic: &Arc<str>, record: &LogRecord<'_>) -> Message {
        let mut headers = Vec::new();
        if let Some(all) = record.headers {
            all.each(&mut |name, value| headers.push((name.to_owned(), value.map(Bytes::copy_from_slice))));
        }
        Message(Arc::new(Inner {
            topic: topic.clone(),
            partition: record.partition,
            offset: record.offset,
            time_ms: record.time_ms,
            key: record.key.map(Bytes::copy_from_slice),
            value: record.value.map(Bytes::copy_from_slice),
            headers,
        }))
    }

    /// A message of a value alone, for tests of a handler.
    pub fn of(value: impl Into<Bytes>) -> Message {
        let (topic, headers) = ("test".into(), Vec::new());
        let value = Some(value.into());
        Message(Arc::new(Inner { topic, partition: 0, offset: 0, time_ms: None, key: None, value, headers }))
    }

    /// A message of a place and a key, for tests of what happens to it.
    #[cfg(test)]
    pub(super) fn at(offset: i64, key: Option<&str>) -> Message {
        let (topic, key) = ("test".into(), key.map(|key| Bytes::copy_from_slice(key.as_bytes())));
        let headers = Vec::new();
        Message(Arc::new(Inner { topic, partition: 0, offset, time_ms: None, key, value: None, headers }))
    }

    /// The topic that it was read from.
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    /// Its offset in the partition.
    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    /// Its record time in unix milliseconds, if it has one.
    pub fn time_ms(&self) -> Option<i64> {
        self.0.time_ms
    }

    /// Its key. Messages of one key are handled one after the other.
    pub fn key(&self) -> Option<&Bytes> {
        self.0.key.as_ref()
    }

    /// Its value; absent for a tombstone.
    pub fn value(&self) -> Option<&Bytes> {
        self.0.value.as_ref()
    }

    /// Its headers, in their order; none on the embedded log.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(found, _)| *found == name)?.1
    }

    /// The trace that its headers tell of, if it is valid.
    pub fn trace(&self) -> Option<TraceParent> {
        trace_among(&mut self.headers())
    }

    /// Its bytes, about.
    pub(super) fn bytes(&self) -> usize {
        let size = |part: Option<&Bytes>| part.map_or(0, Bytes::len);
        size(self.key()) + size(self.value()) + 64
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a message says may be private.
        write!(f, "{}/{}/{}", self.0.topic, self.0.partition, self.0.offset)
    }
}
