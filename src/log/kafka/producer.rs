//! A producer whose callers wait for all their records together.

use super::context::Complaints;
use crate::log::LogError;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
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
    failure: Mutex<Option<RDKafkaErrorCode>>,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Delivery {
    /// One is left from the beginning: the caller itself, who is done once everything is handed over.
    fn new() -> (Arc<Delivery>, oneshot::Receiver<()>) {
        let (done, all_done) = oneshot::channel();
        let (failure, done) = (Mutex::new(None), Mutex::new(Some(done)));
        (Arc::new(Delivery { left: AtomicUsize::new(1), failure, done }), all_done)
    }

    fn one_done(&self, failure: Option<RDKafkaErrorCode>) {
        if let Some(code) = failure {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(code);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // Nobody listens when the request was given up; its records are stored all the same.
            let _ = done.send(());
        }
    }
}

/// Receives delivery reports, on the producer's own thread.
pub(super) struct Context(Arc<Complaints>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Arc<Delivery>) {
        let failure = result.as_ref().err().map(|(error, _)| code(error));
        delivery.one_done(failure);
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
    client: RwLock<Arc<Client>>,
}

impl Producer {
    pub(super) fn new(
        topic: String,
        settings: ClientConfig,
        complaints: Arc<Complaints>,
    ) -> Result<Producer, LogError> {
        let client = RwLock::new(build(&settings, &complaints)?);
        Ok(Producer { topic, settings, complaints, client })
    }

    /// The client of the moment: for questions about topics.
    pub(super) fn client(&self) -> Arc<Client> {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands all records over and waits until each is acknowledged or has failed.
    pub(super) async fn send(&self, records: impl ExactSizeIterator<Item = Outgoing<'_>>) -> Result<(), LogError> {
        let client = self.client();
        let (delivery, all_done) = Delivery::new();
        let mut refused = None;
        for record in records {
            if let Err(code) = self.hand_over(&client, record, &delivery).await {
                refused = Some(code);
                break;
            }
        }
        delivery.one_done(refused);
        // The sender cannot be lost: each record's share of `delivery` comes back, if only when the client is dropped.
        let _ = all_done.await;
        let failure = *delivery.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(code) = failure else { return Ok(()) };
        if let Some((fatal, reason)) = client.client().fatal_error() {
            self.replace(client, fatal, &reason);
        }
        Err(match code {
            RDKafkaErrorCode::MessageSizeTooLarge => LogError::TooLarge,
            RDKafkaErrorCode::QueueFull => LogError::Busy,
            code => LogError::NotAcknowledged(code.to_string()),
        })
    }

    async fn hand_over(
        &self,
        client: &Client,
        record: Outgoing<'_>,
        delivery: &Arc<Delivery>,
    ) -> Result<(), RDKafkaErrorCode> {
        let begun = Instant::now();
        let mut outgoing = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.topic, delivery.clone());
        outgoing.key = record.key;
        outgoing.payload = record.value;
        outgoing.headers = Some(record.headers);
        // Before it is handed over: its report may come before `send` returns.
        delivery.left.fetch_add(1, Ordering::AcqRel);
        while let Err((error, back)) = client.send(outgoing) {
            if code(&error) != RDKafkaErrorCode::QueueFull || begun.elapsed() >= ROOM {
                delivery.left.fetch_sub(1, Ordering::AcqRel);
                return Err(code(&error));
            }
            outgoing = back;
            tokio::time::sleep(ROOM_LOOK).await;
        }
        Ok(())
    }

    /// A fatal error ends a client for good: the idempotent producer has lost track of what the broker has. A new one
    /// begins anew; whoever waits for the old one is told that it failed.
    fn replace(&self, failed: Arc<Client>, fatal: RDKafkaErrorCode, reason: &str) {
        let mut current = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, &failed) {
            return;
        }
        tracing::error!(topic = self.topic, error = %fatal, reason, "the Kafka producer failed; a new one takes over");
        match build(&self.settings, &self.complaints) {
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

fn build(settings: &ClientConfig, complaints: &Arc<Complaints>) -> Result<Arc<Client>, LogError> {
    let client = settings.create_with_context(Context(complaints.clone()));
    client.map(Arc::new).map_err(|e| LogError::Client(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_caller_waits_for_the_last_record_and_learns_the_first_failure() {
        let (delivery, mut all_done) = Delivery::new();
        delivery.left.fetch_add(2, Ordering::AcqRel);
        delivery.one_done(None);
        delivery.one_done(Some(RDKafkaErrorCode::MessageTimedOut));
        assert!(all_done.try_recv().is_err());
        delivery.one_done(Some(RDKafkaErrorCode::QueueFull));
        all_done.await.unwrap();
        assert_eq!(*delivery.failure.lock().unwrap(), Some(RDKafkaErrorCode::MessageTimedOut));
    }
}
