use crate::telemetry::TraceParent;

/// Decides which events keep their order, and which can be handled in parallel: see [the table](crate::publish).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The user's id, which is the event's `user_id` too unless that is given.
    User(String),
    /// The id of an order, or of whatever else the events are about.
    Order(String),
    /// The session's id, which is the event's `session_id` too unless that is given.
    Session(String),
    /// The event's own id: spreads evenly, and published again it reaches the same partition.
    Random,
}

impl Key {
    /// The id that it was given.
    pub(super) fn given(&self) -> Option<&str> {
        match self {
            Key::User(id) | Key::Order(id) | Key::Session(id) => Some(id),
            Key::Random => None,
        }
    }
}

/// An event to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing<P> {
    pub(super) payload: P,
    pub(super) key: Key,
    pub(super) event_id: Option<String>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) user_id: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) trace: Option<TraceParent>,
}

impl<P> Outgoing<P> {
    /// An event that happens now, with an id that is made for it.
    pub fn new(payload: P, key: Key) -> Outgoing<P> {
        let (user_id, session_id) = match &key {
            Key::User(id) => (Some(id.clone()), None),
            Key::Session(id) => (None, Some(id.clone())),
            Key::Order(_) | Key::Random => (None, None),
        };
        Outgoing { payload, key, event_id: None, timestamp_ms: None, user_id, session_id, trace: None }
    }

    /// The event's id: what was noted before, or what makes the same event the same when it is published again.
    pub fn with_id(self, event_id: impl Into<String>) -> Outgoing<P> {
        Outgoing { event_id: Some(event_id.into()), ..self }
    }

    /// When it happened, in unix milliseconds.
    pub fn at(self, timestamp_ms: i64) -> Outgoing<P> {
        Outgoing { timestamp_ms: Some(timestamp_ms), ..self }
    }

    /// Whose it is.
    pub fn of_user(self, user_id: impl Into<String>) -> Outgoing<P> {
        Outgoing { user_id: Some(user_id.into()), ..self }
    }

    /// Which session it belongs to.
    pub fn of_session(self, session_id: impl Into<String>) -> Outgoing<P> {
        Outgoing { session_id: Some(session_id.into()), ..self }
    }

    /// The trace that it belongs to, carried in the record's header `traceparent`; [`crate::worker::Message::trace`]
    /// reads it.
    pub fn in_trace(self, trace: TraceParent) -> Outgoing<P> {
        Outgoing { trace: Some(trace), ..self }
    }
}
