//! From records to handlers of typed events, in the versions that they read.

mod route;
#[cfg(test)]
mod tests;

use super::{Failure, Handled, Handler, Message};
use crate::envelope::{Absent, Codec, CodecError, Codes, Envelope, Event};
use route::{Found, Route};
use std::collections::HashMap;

/// What becomes of an event in a version that is newer than any that the router knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Newer {
    /// It waits in the dead-letter topic for a service that reads it.
    #[default]
    DeadLetter,
    /// It is passed over, and counted as skipped.
    Skip,
}

/// What becomes of an event of a type that no handler wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Others {
    /// It is passed over, and counted as skipped: a topic may hold events of several types.
    #[default]
    Skip,
    /// It goes to the dead-letter topic.
    DeadLetter,
}

/// A [`Handler`] that opens each record, and gives each event to the handler of its type and version.
///
/// Older versions are lifted by upcasters, step by step, until a handler reads them: with `1 → 2` and `2 → 3` a handler
/// of version 3 gets all three. What cannot be read, or in a version that nothing here reads, is a dead letter whose
/// error says why.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use streamgauge::envelope::{Envelope, Event, Json};
/// use streamgauge::worker::{Failure, Handler, Message, Router};
///
/// /// Version 1 was in whole euros.
/// #[derive(Serialize, Deserialize)]
/// struct OrderPlacedV1 {
///     total: u64,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct OrderPlaced {
///     total_cents: u64,
/// }
///
/// impl Event for OrderPlacedV1 {
///     const EVENT_TYPE: &'static str = "order.placed";
///     const EVENT_VERSION: u32 = 1;
/// }
///
/// impl Event for OrderPlaced {
///     const EVENT_TYPE: &'static str = "order.placed";
///     const EVENT_VERSION: u32 = 2;
/// }
///
/// async fn bill(order: Envelope<OrderPlaced>, _: Message) -> Result<(), Failure> {
///     println!("{}: {} cents", order.event_id, order.payload.total_cents);
///     Ok(())
/// }
///
/// # async fn run() {
/// let router = Router::new(Json)
///     .on(bill)
///     .upcast(|old: OrderPlacedV1| OrderPlaced { total_cents: old.total * 100 });
///
/// let message = Message::of(r#"{"event_type":"order.placed","timestamp":1760000000000,"payload":{"total":42}}"#);
/// router.handle(message).await.unwrap();
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run());
/// ```
///
/// A version is a type of its own, and an upcaster leads to a later version of the same type of event. Anything else
/// does not compile:
///
/// ```compile_fail,E0080
/// # use streamgauge::{envelope::{Event, Json}, worker::Router};
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Placed;
///
/// impl Event for Placed {
///     const EVENT_TYPE: &'static str = "order.placed";
///     const EVENT_VERSION: u32 = 1;
/// }
///
/// let router = Router::new(Json).upcast(|placed: Placed| placed);
/// ```
pub struct Router<C> {
    codec: C,
    routes: HashMap<&'static str, Route<C>>,
    newer: Newer,
    others: Others,
}

impl<C: Codec> Router<C> {
    /// Reads records in this encoding, and wants nothing yet.
    pub fn new(codec: C) -> Router<C> {
        Router { codec, routes: HashMap::new(), newer: Newer::default(), others: Others::default() }
    }

    /// Gives events of the type and version of `P` to this handler. Of two for the same the later one gets them.
    #[must_use]
    pub fn on<P, F, Fut, E>(mut self, handler: F) -> Router<C>
    where
        P: Event + 'static,
        C: Codes<P>,
        F: Fn(Envelope<P>, Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<E, Failure>> + Send + 'static,
        E: Into<Handled>,
    {
        self.routes.entry(P::EVENT_TYPE).or_default().handled(P::EVENT_VERSION, handler);
        self
    }

    /// Reads events in the version of `Old` as such of the version of `New`.
    #[must_use]
    pub fn upcast<Old, New>(mut self, lift: impl Fn(Old) -> New + Send + Sync + 'static) -> Router<C>
    where
        Old: Event + 'static,
        New: Event + 'static,
        C: Codes<Old> + Codes<New>,
    {
        const {
            assert!(same(Old::EVENT_TYPE, New::EVENT_TYPE), "an upcaster stays with one type of event");
            assert!(Old::EVENT_VERSION < New::EVENT_VERSION, "an upcaster leads to a later version");
        }
        self.routes.entry(Old::EVENT_TYPE).or_default().lifted(lift);
        self
    }

    /// What becomes of versions that are newer than any known here.
    #[must_use]
    pub fn newer(self, newer: Newer) -> Router<C> {
        Router { newer, ..self }
    }

    /// What becomes of other types of events.
    #[must_use]
    pub fn others(self, others: Others) -> Router<C> {
        Router { others, ..self }
    }

    /// Opens a message's envelope, as its handler would get it but for the payload, which stays encoded.
    ///
    /// # Errors
    /// When it is none.
    fn open(&self, message: &Message) -> Result<Envelope<Vec<u8>>, CodecError> {
        let value = message.value().ok_or(crate::event::Invalid::Tombstone)?;
        let absent = Absent {
            event_id: format_args!("{}/{}/{}", message.topic(), message.partition(), message.offset()),
            time_ms: message.time_ms(),
        };
        self.codec.open(value, &absent)
    }

    /// Why a message cannot be read. A header that speaks of another encoding is most likely the reason.
    fn unreadable(&self, message: &Message, error: &CodecError) -> Failure {
        let expected = self.codec.content_type();
        match message.header("content-type") {
            Some(found) if !found.starts_with(expected.as_bytes()) => {
                let found = String::from_utf8_lossy(found);
                Failure::permanent(format!("{error} (its content-type is {found}; this service reads {expected})"))
            }
            _ => Failure::permanent(error),
        }
    }
}

/// Whether two texts are the same, for constants.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

impl<C: Codec> Handler for Router<C> {
    async fn handle(&self, message: Message) -> Result<Handled, Failure> {
        let envelope = self.open(&message).map_err(|error| self.unreadable(&message, &error))?;
        let Some(route) = self.routes.get(envelope.event_type.as_str()) else {
            return match self.others {
                Others::Skip => Ok(Handled::Skipped("no handler wants its type")),
                Others::DeadLetter => Err(Failure::permanent("no handler here wants its type")),
            };
        };
        let (event_type, version) = (envelope.event_type.clone(), envelope.event_version);
        let refuse = |why: &dyn std::fmt::Display| Failure::permanent(format!("{event_type} version {version}: {why}"));
        match route.find(version, self.newer) {
            Found::Handler(steps, handler) => {
                let lifted = steps.iter().try_fold(envelope, |envelope, lift| lift(&self.codec, envelope));
                let handling = lifted.and_then(|envelope| handler(&self.codec, envelope, message));
                handling.map_err(|error| refuse(&error))?.await
            }
            Found::Skip => Ok(Handled::Skipped("its version is newer than any known here")),
            Found::Nothing(why) => Err(refuse(&why)),
        }
    }
}
