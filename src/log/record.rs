//! Records as they are appended, read, looked up and buried.

use crate::telemetry::{TRACEPARENT, TraceParent};
use std::borrow::Cow;

/// A header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its value; absent where the producer gave none.
    pub value: Option<Cow<'static, [u8]>>,
}

impl Header {
    /// A header with a text as its value.
    pub fn text(name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Header {
        let value = match value.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Header { name: name.into(), value: Some(value) }
    }

    /// A copy of a header that is borrowed from the client.
    pub fn copied(name: &str, value: Option<&[u8]>) -> Header {
        Header { name: Cow::Owned(name.to_owned()), value: value.map(|value| Cow::Owned(value.to_vec())) }
    }

    /// Its bytes in a record.
    pub fn bytes(&self) -> usize {
        self.name.len() + self.value.as_ref().map_or(0, |value| value.len())
    }
}

/// The headers of an event's record: what it is, so that a consumer can tell without reading its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// For `event_type`.
    pub event_type: String,
    /// For `event_version`.
    pub event_version: u64,
    /// For `content-type`: how the value is written.
    pub content_type: &'static str,
    /// For `traceparent`: of the request that brought it, if it carried one.
    pub trace: Option<TraceParent>,
}

impl From<About> for Vec<Header> {
    fn from(about: About) -> Vec<Header> {
        let version: Cow<'static, str> = match about.event_version {
            1 => Cow::Borrowed("1"),
            version => Cow::Owned(version.to_string()),
        };
        let mut headers = vec![
            Header::text("event_type", about.event_type),
            Header::text("event_version", version),
            Header::text("content-type", about.content_type),
        ];
        headers.extend(about.trace.map(|trace| Header::text(TRACEPARENT, trace.as_str().to_owned())));
        headers
    }
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Decides the partition; the records of a key keep their order. Without one, chance decides.
    pub key: Option<Vec<u8>>,
    /// The value; absent for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<Header>,
}

impl NewRecord {
    /// The record of an event.
    pub fn event(key: impl Into<Vec<u8>>, value: Vec<u8>, about: About) -> NewRecord {
        NewRecord { key: Some(key.into()), value: Some(value), headers: about.into() }
    }

    /// Its bytes in a log, about.
    pub fn bytes(&self) -> usize {
        let size = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        size(&self.key) + size(&self.value) + self.headers.iter().map(Header::bytes).sum::<usize>() + 16
    }
}

/// A record that cannot be processed, with what tells where it came from. Key and value are the original bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Partition that it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its record time in ms, if it had one.
    pub time_ms: Option<i64>,
    /// The original key.
    pub key: Option<Vec<u8>>,
    /// The original value.
    pub value: Option<Vec<u8>>,
    /// The original headers.
    pub headers: Vec<Header>,
    /// Why it cannot be processed.
    pub error: String,
    /// How often it was tried: 1 for a record that can never be read.
    pub attempts: u32,
    /// When it failed, in ms.
    pub failed_at_ms: i64,
}

impl DeadLetter {
    /// Its bytes in a log, about.
    pub fn bytes(&self) -> usize {
        let size = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        size(&self.key) + size(&self.value) + self.headers.iter().map(Header::bytes).sum::<usize>() + 256
    }

    /// The record's own trace, if it was valid.
    pub fn trace(&self) -> Option<TraceParent> {
        let headers = self.headers.iter();
        trace_among(&mut headers.map(|header| (&*header.name, header.value.as_deref())))
    }
}

/// A record as it is read, borrowed from the client.
#[derive(Debug, Clone, Copy)]
pub struct LogRecord<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time in ms: the broker's under LogAppendTime, else the producer's; absent in very old formats.
    pub time_ms: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; absent for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, not read yet; absent where it has none.
    pub headers: Option<&'a dyn Headers>,
}

impl LogRecord<'_> {
    /// A copy of its headers.
    pub fn copied_headers(&self) -> Vec<Header> {
        let mut copies = Vec::new();
        if let Some(headers) = self.headers {
            headers.each(&mut |name, value| copies.push(Header::copied(name, value)));
        }
        copies
    }
}

/// The headers of a record, in the client's own form: few records are ever asked for theirs.
pub trait Headers: std::fmt::Debug {
    /// Hands each of them out, in their order. One whose name is not UTF-8 is left out.
    fn each(&self, with: &mut dyn FnMut(&str, Option<&[u8]>));
}

/// A record that was looked up, with what tells it from any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// Its offset.
    pub offset: i64,
    /// Its time in ms, if it has one.
    pub time_ms: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; absent for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// The trace that headers tell of, if it is valid. Two of them contradict each other, so neither is taken.
pub fn trace_among<'a>(headers: &mut dyn Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Option<TraceParent> {
    let mut found = headers.filter(|(name, _)| name.eq_ignore_ascii_case(TRACEPARENT));
    let (_, value) = found.next()?;
    if found.next().is_some() { None } else { TraceParent::parse(value?) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::JSON;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn an_events_headers_say_what_it_is() {
        let trace = TraceParent::parse(TRACE.as_bytes());
        let about = About { event_type: "view".into(), event_version: 2, content_type: JSON, trace };
        let headers: Vec<Header> = about.into();
        let expected = [
            Header::text("event_type", "view"),
            Header::text("event_version", "2"),
            Header::text("content-type", "application/json"),
            Header::text("traceparent", TRACE),
        ];
        assert_eq!(headers, expected);
    }

    #[test]
    fn two_traces_are_none() {
        let trace = ("Traceparent", Some(TRACE.as_bytes()));
        let other = ("x", Some(&b"y"[..]));
        let found = |headers: &[(&'static str, Option<&'static [u8]>)]| trace_among(&mut headers.iter().copied());
        assert_eq!(found(&[other, trace]).unwrap().as_str(), TRACE);
        assert_eq!(found(&[trace, trace]), None);
        assert_eq!(found(&[other, ("traceparent", None)]), None);
    }
}
