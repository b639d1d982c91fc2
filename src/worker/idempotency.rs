//! An event that is delivered again is handled once.

use super::{Message, WorkerError};
use crate::embedded::EmbeddedFile;
use crate::event::{Door, Event};
use crate::store::{EmbeddedHandled, HandledEvents, RedisConfig, RedisHandled};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

type Identity = dyn Fn(&Message) -> Option<String> + Send + Sync;

/// Notes which events a group has handled, for a horizon, and looks there before each attempt.
///
/// An effect that the handler returns as [`super::Effects`] is applied in one atomic step with the note: exactly once.
/// An effect elsewhere (another database, an e-mail) comes at least once: the process can die between it and the note.
#[derive(Clone)]
pub struct Idempotency {
    notes: Arc<dyn HandledEvents>,
    identity: Arc<Identity>,
}

impl Idempotency {
    /// Notes in Redis, under keys that begin with `<prefix>:{<consumer group>}:handled:`.
    ///
    /// # Errors
    /// When the address cannot be used. Redis may be away: the worker waits for it.
    pub fn redis(config: &RedisConfig, horizon: Duration) -> Result<Idempotency, WorkerError> {
        Ok(Idempotency::noting(Arc::new(RedisHandled::new(config, horizon)?)))
    }

    /// Notes in an embedded file, in its table `handled`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn embedded(file: Arc<EmbeddedFile>, horizon: Duration) -> Result<Idempotency, WorkerError> {
        Ok(Idempotency::noting(Arc::new(EmbeddedHandled::open(file, horizon).await?)))
    }

    fn noting(notes: Arc<dyn HandledEvents>) -> Idempotency {
        Idempotency { notes, identity: Arc::new(event_id) }
    }

    /// Tells two events apart by something else than the `event_id` of a JSON envelope. Where this is `None`, or there
    /// is no `event_id`, a message is told by its topic, partition, offset and record time: then only a redelivery of
    /// the same record is recognised.
    #[must_use]
    pub fn identified_by(self, identity: impl Fn(&Message) -> Option<String> + Send + Sync + 'static) -> Idempotency {
        Idempotency { identity: Arc::new(identity), ..self }
    }

    pub(super) fn notes(&self) -> &dyn HandledEvents {
        &*self.notes
    }

    pub(super) fn id(&self, message: &Message) -> String {
        (self.identity)(message).unwrap_or_else(|| place(message))
    }
}

/// A topic that is made anew gives the same offsets to other records, at other times.
fn place(message: &Message) -> String {
    match message.time_ms() {
        Some(time_ms) => format!("{message:?}@{time_ms}"),
        None => format!("{message:?}"),
    }
}

fn event_id(message: &Message) -> Option<String> {
    let event = Event::parse(message.value()?, Door::Topic).ok()?;
    event.event_id.map(Cow::into_owned)
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Idempotency")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogRecord;

    #[test]
    fn an_event_is_told_by_its_id_and_else_by_its_place() {
        assert_eq!(event_id(&Message::of(r#"{"type":"x","id":"e1"}"#)).as_deref(), Some("e1"));
        assert_eq!(event_id(&Message::of(r#"{"type":"x"}"#)), None);
        assert_eq!(event_id(&Message::of("no JSON")), None);
        assert_eq!(place(&Message::of("x")), "test/0/0");
        let record = LogRecord { partition: 1, offset: 2, time_ms: Some(3), key: None, value: None, headers: None };
        assert_eq!(place(&Message::alone(&"test".into(), &record)), "test/1/2@3");
    }
}
