//! A producer whose callers wait for all their records together.

use super::context::{Complaints, Reach};
use crate::log::{LogError, Unstored};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long to wait for room in a full queue, and how often to look. Longer, and requests would pile up instead.
const ROOM: Duration = Duration::from_secs(1);
const ROOM_LOOK: Duration = Duration::from_millis(5);

/// A record to hand over.
pub(super) struct Outgoing<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
}

/// Headers in the client's form.
pub(super) fn headers(headers: &[crate::log::Header]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |all, header| {
        all.insert(Header { key: &header.name, value: header.value.as_deref() })
    })
}

/// What the records of one call have in common: how many are on their way, and what went wrong.
pub(super) struct Delivery {
    left: AtomicUsize,
    failure: Mutex<Failure>,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

/// What went wrong: the first reason, and the places of the records that it or another one befell.
#[derive(Debug, Default)]
struct Failure {
    reason: Option<RDKafkaErrorCode>,
    places: Vec<usize>,
}

impl Failure {
    /// That one is too large is the reason whatever came first: where the order has to be kept, it fails all behind it.
    fn note(&mut self, reason: RDKafkaErrorCode, places: impl IntoIterator<Item = usize>) {
        if self.reason.is_none() || reason == RDKafkaErrorCode::MessageSizeTooLarge {
            self.reason = Some(reason);
        }
        self.places.extend(places);
    }
}

/// A record's share of a delivery: it comes back with the report.
pub(super) struct Share {
    delivery: Arc<Delivery>,
    place: usize,
}

impl Delivery {
    /// One is left from the beginning: the caller itself, who is done once everything is handed over.
    fn new() -> (Arc<Delivery>, oneshot::Receiver<()>) {
        let (done, all_done) = oneshot::channel();
        let (failure, done) = (Mutex::default(), Mutex::new(Some(done)));
        (Arc::new(Delivery { left: AtomicUsize::new(1), failure, done }), all_done)
    }

    fn failure(&self) -> MutexGuard<'_, Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // Nobody listens when the request was given up; its records are stored all the same.
            let _ = done.send(());
        }
    }
}

/// Receives delivery reports, on the producer's own thread.
pub(super) struct Context {
    complaints: Arc<Complaints>,
    reach: Arc<Reach>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.complaints.line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if code(&error) == RDKafkaErrorCode::AllBrokersDown {
            self.reach.lost();
        }
        self.complaints.error(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Share>;

    fn delivery(&self, result: &DeliveryResult<'_>, share: Box<Share>) {
        match result {
            Ok(_) => self.reach.found(self.reach.times_lost()),
            Err((error, _)) => share.delivery.failure().note(code(error), [share.place]),
        }
        share.delivery.one_done();
    }
}

fn code(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)
}

type Client = ThreadedProducer<Context>;

/// A producer for one topic that replaces its client after a fatal error. Shared by all callers.
pub(super) struct Producer {
    topic: String,
    settings: ClientConfig,
    complaints: Arc<Complaints>,
    reach: Arc<Reach>,
    client: RwLock<Arc<Client>>,
}

impl Producer {
    pub(super) fn new(
        topic: String,
        settings: ClientConfig,
        complaints: Arc<Complaints>,
    ) -> Result<Producer, LogError> {
        let reach = Arc::new(Reach::new());
        let client = RwLock::new(build(&settings, &complaints, &reach)?);
        Ok(Producer { topic, settings, complaints, reach, client })
    }

    /// Whether its cluster can be reached, as far as is known.
    pub(super) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The client of the moment: for questions about topics.
    pub(super) fn client(&self) -> Arc<Client> {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands all records over and waits until each is acknowledged or has failed.
    pub(super) async fn send(&self, records: impl ExactSizeIterator<Item = Outgoing<'_>>) -> Result<(), Unstored> {
        let (client, all) = (self.client(), records.len());
        let (delivery, all_done) = Delivery::new();
        for (place, record) in records.enumerate() {
            if let Err(code) = self.hand_over(&client, record, &delivery, place).await {
                delivery.failure().note(code, place..all);
                break;
            }
        }
        delivery.one_done();
        // The sender cannot be lost: each record's share of `delivery` comes back, if only when the client is dropped.
        let _ = all_done.await;
        let Failure { reason, mut places } = std::mem::take(&mut *delivery.failure());
        let Some(code) = reason else { return Ok(()) };
        if let Some((fatal, reason)) = client.client().fatal_error() {
            self.replace(client, fatal, &reason);
        }
        let error = match code {
            RDKafkaErrorCode::MessageSizeTooLarge => LogError::TooLarge,
            RDKafkaErrorCode::QueueFull => LogError::Busy,
            code => LogError::NotAcknowledged(code.to_string()),
        };
        places.sort_unstable();
        Err(Unstored { error, places })
    }

    async fn hand_over(
        &self,
        client: &Client,
        record: Outgoing<'_>,
        delivery: &Arc<Delivery>,
        place: usize,
    ) -> Result<(), RDKafkaErrorCode> {
        let share = Box::new(Share { delivery: delivery.clone(), place });
        let mut outgoing = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.topic, share);
        outgoing.key = record.key;
        outgoing.payload = record.value;
        outgoing.headers = Some(record.headers);
        // Before it is handed over: its report may come before `send` returns.
        delivery.left.fetch_add(1, Ordering::AcqRel);
        let Err((mut error, mut outgoing)) = client.send(outgoing) else { return Ok(()) };
        let begun = Instant::now();
        while code(&error) == RDKafkaErrorCode::QueueFull && begun.elapsed() < ROOM {
            tokio::time::sleep(ROOM_LOOK).await;
            match client.send(outgoing) {
                Ok(()) => return Ok(()),
                Err((again, back)) => (error, outgoing) = (again, back),
            }
        }
        delivery.left.fetch_sub(1, Ordering::AcqRel);
        Err(code(&error))
    }

    /// A fatal error ends a client for good: the idempotent producer has lost track of what the broker has. A new one
    /// begins anew; whoever waits for the old one is told that it failed.
    fn replace(&self, failed: Arc<Client>, fatal: RDKafkaErrorCode, reason: &str) {
        let mut current = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, &failed) {
            return;
        }
        tracing::error!(topic = self.topic, error = %fatal, reason, "the Kafka producer failed; a new one takes over");
        match build(&self.settings, &self.complaints, &self.reach) {
            Ok(client) => {
                let old = std::mem::replace(&mut *current, client);
                drop(current);
                // Dropping it purges its queue and joins its thread: nothing for an async task.
                tokio::task::spawn_blocking(move || drop((old, failed)));
            }
            Err(error) => tracing::error!(%error, "the Kafka producer cannot be replaced; tried again with the next"),
        }
    }

    /// Waits until nothing is under way, at most `timeout`. Blocks.
    pub(super) fn flush(&self, timeout: Duration) {
        if let Err(error) = self.client().flush(timeout) {
            tracing::warn!(topic = self.topic, %error, "records were still on their way to Kafka");
        }
    }
}

fn build(settings: &ClientConfig, complaints: &Arc<Complaints>, reach: &Arc<Reach>) -> Result<Arc<Client>, LogError> {
    let client = settings.create_with_context(Context { complaints: complaints.clone(), reach: reach.clone() });
    client.map(Arc::new).map_err(|e| LogError::Client(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_caller_waits_for_the_last_record() {
        let (delivery, mut all_done) = Delivery::new();
        delivery.left.fetch_add(2, Ordering::AcqRel);
        delivery.one_done();
        delivery.one_done();
        assert!(all_done.try_recv().is_err());
        delivery.one_done();
        all_done.await.unwrap();
    }

    #[test]
    fn the_first_reason_stands_unless_a_record_is_too_large() {
        let mut failure = Failure::default();
        failure.note(RDKafkaErrorCode::MessageTimedOut, [4]);
        failure.note(RDKafkaErrorCode::QueueFull, 7..9);
        assert_eq!((failure.reason, &*failure.places), (Some(RDKafkaErrorCode::MessageTimedOut), &[4, 7, 8][..]));
        failure.note(RDKafkaErrorCode::MessageSizeTooLarge, [1]);
        failure.note(RDKafkaErrorCode::Fatal, [2]);
        assert_eq!(failure.reason, Some(RDKafkaErrorCode::MessageSizeTooLarge));
    }
}
