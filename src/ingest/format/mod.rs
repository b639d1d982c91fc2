//! From the body of a request to the text of each event in it. What an event says is not looked at here.
//!
//! A wire format is one file, and a line in each `match` below: it takes a body apart into the texts of events in JSON,
//! which [`super::batch`] accepts or not, whatever they came in.

mod json;
mod lines;

use crate::event::Invalid;
use std::borrow::Cow;

/// What a body holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content<'a> {
    /// The texts of its events, in their order. Borrowed where the body is JSON already.
    pub(super) events: Vec<Cow<'a, [u8]>>,
    /// The write key that it carries beside them.
    pub(super) write_key: Option<Cow<'a, str>>,
    /// When it was sent by the client's clock, in ms, if it says so beside them.
    pub(super) sent_at_ms: Option<i64>,
}

impl<'a> Content<'a> {
    /// Events alone.
    fn events(events: impl IntoIterator<Item = &'a [u8]>) -> Content<'a> {
        Content { events: events.into_iter().map(Cow::Borrowed).collect(), ..Content::default() }
    }
}

/// Why no events can be found in a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the body is empty: send an event as a JSON object, an array, {{\"events\":[…]}}, or one on each line")]
    Empty,
    #[error("there are no events in the body")]
    NoEvents,
    #[error("the body is not UTF-8: the byte at {0} is invalid")]
    NotUtf8(usize),
    #[error("the body is not valid JSON: {0}")]
    Syntax(String),
    #[error("`events` must be an array of events")]
    EventsNotAnArray,
    #[error("`{0}` stands there twice")]
    Twice(&'static str),
    #[error("`write_key` must be a string")]
    WriteKey,
    #[error(transparent)]
    SentAt(Invalid),
}

impl Malformed {
    /// The field at fault, if it is one.
    pub(super) fn field(&self) -> Option<&str> {
        match self {
            Malformed::EventsNotAnArray => Some("events"),
            Malformed::Twice(field) => Some(field),
            Malformed::WriteKey => Some("write_key"),
            Malformed::SentAt(invalid) => invalid.field(),
            Malformed::Empty | Malformed::NoEvents | Malformed::NotUtf8(_) | Malformed::Syntax(_) => None,
        }
    }
}

/// What the content type says of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON value: an event, an array, or `{"events":[…]}`.
    Json,
    /// An event on each line.
    Lines,
    /// Any of these. It is what browsers send by `sendBeacon`, because it needs no preflight.
    Text,
}

impl Format {
    /// The format that a content type names; JSON when there is none, nothing for any other type. Parameters (`charset`)
    /// are not looked at: the body has to be UTF-8 whatever they say.
    pub(super) fn of(content_type: Option<&[u8]>) -> Option<Format> {
        let Some(content_type) = content_type else { return Some(Format::Json) };
        let essence = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
        if is("application/json") {
            Some(Format::Json)
        } else if is("application/x-ndjson") {
            Some(Format::Lines)
        } else if is("text/plain") {
            Some(Format::Text)
        } else {
            None
        }
    }

    /// Whether a body can carry more than events.
    pub(super) fn has_wrapper(self) -> bool {
        match self {
            Format::Json | Format::Text => true,
            Format::Lines => false,
        }
    }

    /// A body that is an array and nothing else, as far as its first byte tells.
    pub(super) fn array(self, body: &[u8]) -> Option<&str> {
        let body = body.trim_ascii();
        let may_be = self != Format::Lines && body.first() == Some(&b'[');
        if may_be { simdutf8::basic::from_utf8(body).ok() } else { None }
    }

    /// Takes a body apart. A text may still be no event; but where the body is one JSON value, it is a valid one.
    ///
    /// # Errors
    /// When the body as a whole cannot be read, or holds no events.
    pub(super) fn read(self, body: &[u8]) -> Result<Content<'_>, Malformed> {
        let body = body.trim_ascii();
        if body.is_empty() {
            return Err(Malformed::Empty);
        }
        let content = match self {
            Format::Lines => Content::events(lines::of(body)),
            Format::Text if lines::are_in(body) => Content::events(lines::of(body)),
            Format::Json | Format::Text => json::read(body)?,
        };
        if content.events.is_empty() { Err(Malformed::NoEvents) } else { Ok(content) }
    }
}

#[cfg(test)]
mod tests;
