//! Records as handlers get them.
//!
//! What one poll brought of a partition is kept in one piece, and a message is a place in it: with millions of small
//! records, allocating each part of each would cost more than all that the worker does with them.

use crate::log::{LogRecord, trace_among};
use crate::telemetry::TraceParent;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A record of the topic, for a handler. Clones share its bytes.
#[derive(Clone)]
pub struct Message {
    batch: Arc<Batch>,
    at: usize,
}

/// Records of one partition, in their order.
#[derive(Debug)]
pub(super) struct Batch {
    topic: Arc<str>,
    records: Vec<Record>,
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
    bytes: Vec<u8>,
}

/// A record, by where its parts are in its batch.
#[derive(Debug)]
struct Record {
    partition: i32,
    offset: i64,
    time_ms: Option<i64>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
    weight: usize,
}

impl Batch {
    /// Nothing of this topic yet.
    pub(super) fn of(topic: &Arc<str>) -> Batch {
        Batch { topic: topic.clone(), records: Vec::new(), headers: Vec::new(), bytes: Vec::new() }
    }

    /// What was gathered, leaving an empty one that has room for as much.
    pub(super) fn take(&mut self) -> Batch {
        let next = Batch {
            topic: self.topic.clone(),
            records: Vec::with_capacity(self.records.len()),
            headers: Vec::with_capacity(self.headers.len()),
            bytes: Vec::with_capacity(self.bytes.len()),
        };
        std::mem::replace(self, next)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Copies a record that is borrowed from the client.
    pub(super) fn push(&mut self, record: &LogRecord<'_>) {
        let empty = self.bytes.len();
        let key = record.key.map(|key| self.kept(key));
        let value = record.value.map(|value| self.kept(value));
        let first = self.headers.len();
        if let Some(headers) = record.headers {
            headers.each(&mut |name, value| {
                let header = (self.kept(name.as_bytes()), value.map(|value| self.kept(value)));
                self.headers.push(header);
            });
        }
        let headers = first..self.headers.len();
        let weight = self.bytes.len() - empty + size_of::<Record>();
        let LogRecord { partition, offset, time_ms, .. } = *record;
        self.records.push(Record { partition, offset, time_ms, key, value, headers, weight });
    }

    /// Its messages, in their order.
    pub(super) fn messages(self) -> impl Iterator<Item = Message> {
        let batch = Arc::new(self);
        (0..batch.len()).map(move |at| Message { batch: batch.clone(), at })
    }

    /// Bytes of all messages, about.
    pub(super) fn weight(&self) -> usize {
        self.records.iter().map(|record| record.weight).sum()
    }

    fn kept(&mut self, bytes: &[u8]) -> Range<usize> {
        let first = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        first..self.bytes.len()
    }
}

impl Message {
    /// A message of a value alone, for tests of a handler.
    pub fn of(value: impl AsRef<[u8]>) -> Message {
        let value = Some(value.as_ref());
        Message::alone(
            &"test".into(),
            &LogRecord { partition: 0, offset: 0, time_ms: None, key: None, value, headers: None },
        )
    }

    /// The only one of its batch.
    pub(super) fn alone(topic: &Arc<str>, record: &LogRecord<'_>) -> Message {
        let mut batch = Batch::of(topic);
        batch.push(record);
        Message { batch: Arc::new(batch), at: 0 }
    }

    /// The same with bytes of its own. What has to wait would else keep all that was polled with it.
    #[must_use]
    pub(super) fn detached(&self) -> Message {
        let (key, value) = (self.key(), self.value());
        let (partition, offset, time_ms) = (self.partition(), self.offset(), self.time_ms());
        let record = LogRecord { partition, offset, time_ms, key, value, headers: Some(self) };
        Message::alone(&self.batch.topic, &record)
    }

    fn record(&self) -> &Record {
        &self.batch.records[self.at]
    }

    fn part(&self, range: &Range<usize>) -> &[u8] {
        &self.batch.bytes[range.clone()]
    }

    /// The topic that it was read from.
    pub fn topic(&self) -> &str {
        &self.batch.topic
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.record().partition
    }

    /// Its offset in the partition.
    pub fn offset(&self) -> i64 {
        self.record().offset
    }

    /// Its record time in unix milliseconds, if it has one.
    pub fn time_ms(&self) -> Option<i64> {
        self.record().time_ms
    }

    /// Its key. Messages of one key are handled one after the other.
    pub fn key(&self) -> Option<&[u8]> {
        self.record().key.as_ref().map(|key| self.part(key))
    }

    /// Its value; absent for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.record().value.as_ref().map(|value| self.part(value))
    }

    /// Its headers, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let headers = &self.batch.headers[self.record().headers.clone()];
        // A name was copied from a text.
        let name = |range| std::str::from_utf8(self.part(range)).unwrap_or_default();
        headers.iter().map(move |(range, value)| (name(range), value.as_ref().map(|value| self.part(value))))
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
    pub(super) fn weight(&self) -> usize {
        self.record().weight
    }
}

impl crate::log::Headers for Message {
    fn each(&self, with: &mut dyn FnMut(&str, Option<&[u8]>)) {
        self.headers().for_each(|(name, value)| with(name, value));
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a message says may be private.
        write!(f, "{}/{}/{}", self.topic(), self.partition(), self.offset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_a_batch_has_its_own_parts() {
        let mut batch = Batch::of(&"orders".into());
        let record = |offset, key: Option<&'static [u8]>, value: Option<&'static [u8]>| LogRecord {
            partition: 3,
            offset,
            time_ms: Some(offset * 10),
            key,
            value,
            headers: None,
        };
        batch.push(&record(7, Some(b"k"), Some(b"value")));
        batch.push(&record(9, None, None));
        let full = batch.take();
        assert!(batch.is_empty() && full.len() == 2);
        let messages: Vec<Message> = full.messages().collect();
        assert_eq!((messages[0].key(), messages[0].value()), (Some(&b"k"[..]), Some(&b"value"[..])));
        assert_eq!((messages[1].key(), messages[1].value()), (None, None));
        assert_eq!((messages[1].offset(), messages[1].time_ms()), (9, Some(90)));
        assert_eq!(format!("{:?}", messages[0].detached()), "orders/3/7");
    }

    #[test]
    fn a_detached_message_has_its_headers() {
        #[derive(Debug)]
        struct Two;
        impl crate::log::Headers for Two {
            fn each(&self, with: &mut dyn FnMut(&str, Option<&[u8]>)) {
                with("a", Some(b"1"));
                with("b", None);
            }
        }
        let record = LogRecord { partition: 0, offset: 0, time_ms: None, key: None, value: None, headers: Some(&Two) };
        let message = Message::alone(&"t".into(), &record).detached();
        assert_eq!(message.headers().collect::<Vec<_>>(), [("a", Some(&b"1"[..])), ("b", None)]);
        assert_eq!(message.header("a"), Some(&b"1"[..]));
        assert_eq!(message.weight(), size_of::<Record>() + 3);
    }
}
