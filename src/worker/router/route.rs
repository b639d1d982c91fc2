use super::Newer;
use crate::envelope::{Codec, CodecError, Codes, Envelope, Event};
use crate::worker::{Failure, Handled, Message};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};

type Sealed = Envelope<Vec<u8>>;
type Handling = BoxFuture<'static, Result<Handled, Failure>>;
type Handle<C> = Box<dyn Fn(&C, Sealed, Message) -> Result<Handling, CodecError> + Send + Sync>;
type Lift<C> = Box<dyn Fn(&C, Sealed) -> Result<Sealed, CodecError> + Send + Sync>;

/// What is known of one type of event, version by version.
pub(super) struct Route<C> {
    handlers: BTreeMap<u64, Handle<C>>,
    /// Upcasters, with the version that they lead to.
    lifts: BTreeMap<u64, (u64, Lift<C>)>,
}

/// What becomes of an event.
pub(super) enum Found<'a, C> {
    /// It is lifted by these, then handled by this.
    Handler(Vec<&'a Lift<C>>, &'a Handle<C>),
    /// It is passed over.
    Skip,
    /// It cannot be handled, for this reason.
    Nothing(String),
}

impl<C> Default for Route<C> {
    fn default() -> Route<C> {
        Route { handlers: BTreeMap::new(), lifts: BTreeMap::new() }
    }
}

impl<C: Codec> Route<C> {
    pub(super) fn handled<P, F, Fut, E>(&mut self, version: u32, handler: F)
    where
        P: Event + 'static,
        C: Codes<P>,
        F: Fn(Envelope<P>, Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<E, Failure>> + Send + 'static,
        E: Into<Handled>,
    {
        let handle = move |codec: &C, sealed: Sealed, message: Message| -> Result<Handling, CodecError> {
            let envelope = sealed.try_map(|payload| codec.decode(&payload))?;
            let handling = handler(envelope, message);
            Ok(handling.map(|done| done.map(Into::into)).boxed())
        };
        self.handlers.insert(u64::from(version), Box::new(handle));
    }

    pub(super) fn lifted<Old, New>(&mut self, lift: impl Fn(Old) -> New + Send + Sync + 'static)
    where
        Old: Event + 'static,
        New: Event + 'static,
        C: Codes<Old> + Codes<New>,
    {
        let lift = move |codec: &C, sealed: Sealed| {
            sealed.try_map(|payload| {
                let old: Old = codec.decode(&payload)?;
                codec.encode(&lift(old))
            })
        };
        self.lifts.insert(u64::from(Old::EVENT_VERSION), (u64::from(New::EVENT_VERSION), Box::new(lift)));
    }

    /// A version with a handler of its own goes there, else step by step to one that has.
    pub(super) fn find(&self, version: u64, newer: Newer) -> Found<'_, C> {
        let (mut at, mut steps) = (version, Vec::new());
        loop {
            if let Some(handler) = self.handlers.get(&at) {
                return Found::Handler(steps, handler);
            }
            let Some((to, lift)) = self.lifts.get(&at) else { break };
            steps.push(lift);
            at = *to;
        }
        if at != version {
            return Found::Nothing(format!("it is lifted to version {at}, and no handler reads that"));
        }
        let read: BTreeSet<u64> = self.handlers.keys().chain(self.lifts.keys()).copied().collect();
        let read = read.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        if self.is_newer(version) {
            return match newer {
                Newer::Skip => Found::Skip,
                Newer::DeadLetter => Found::Nothing(format!("newer than this service, which reads version {read}")),
            };
        }
        Found::Nothing(format!("this service reads version {read}, and no upcaster leads there"))
    }

    fn is_newer(&self, version: u64) -> bool {
        let newest = |known: Option<&u64>| known.is_none_or(|newest| version > *newest);
        newest(self.handlers.keys().next_back()) && newest(self.lifts.keys().next_back())
    }
}
