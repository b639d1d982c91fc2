use super::{Outgoing, PublishError};
use crate::clock::now_ms;
use crate::envelope::{Codec, CodecError, Codes, Envelope, Event};
use crate::event::made_id;
use crate::log::{About, EventLog, NewRecord};
use crate::telemetry::Metrics;
use std::sync::Arc;

/// Publishes events of any type to one log, a Kafka topic or the embedded one. Share it: it takes `&self`.
///
/// An event is published once the log has acknowledged it: all in-sync replicas of the topic, by an idempotent
/// producer, so that the client's own retries neither double nor reorder events; or the local file. An error leaves open
/// whether it was stored. Publish it again with the same id ([`Outgoing::with_id`]): readers that look at ids, the
/// pipeline and idempotent workers among them, take it for the same event.
pub struct Publisher<C> {
    log: Arc<dyn EventLog>,
    codec: C,
    metrics: Arc<Metrics>,
}

impl<C: Codec> Publisher<C> {
    /// Writes to this log in this encoding. The topic has to be there: [`EventLog::prepare`] can make it.
    pub fn new(log: Arc<dyn EventLog>, codec: C, metrics: Arc<Metrics>) -> Publisher<C> {
        Publisher { log, codec, metrics }
    }

    /// Publishes one event and returns its id once it is stored.
    ///
    /// # Errors
    /// When it breaks a rule of events (nothing was sent then), or was not acknowledged.
    pub async fn publish<P: Event>(&self, outgoing: Outgoing<P>) -> Result<String, PublishError>
    where
        C: Codes<P>,
    {
        let (event_id, record) = self.record(&outgoing)?;
        self.append(vec![record], std::slice::from_ref(&event_id)).await?;
        Ok(event_id)
    }

    /// Publishes many and returns their ids once all are stored; those of one key keep this order.
    ///
    /// # Errors
    /// When any of them breaks a rule of events (nothing was sent then), or was not acknowledged; others may be stored.
    pub async fn publish_all<P: Event>(
        &self,
        outgoing: impl IntoIterator<Item = Outgoing<P>>,
    ) -> Result<Vec<String>, PublishError>
    where
        C: Codes<P>,
    {
        let (mut event_ids, mut records) = (Vec::new(), Vec::new());
        for outgoing in outgoing {
            let (event_id, record) = self.record(&outgoing)?;
            event_ids.push(event_id);
            records.push(record);
        }
        self.append(records, &event_ids).await?;
        Ok(event_ids)
    }

    fn record<P: Event>(&self, outgoing: &Outgoing<P>) -> Result<(String, NewRecord), PublishError>
    where
        C: Codes<P>,
    {
        let record = self.sealed(outgoing);
        if record.is_err() {
            self.metrics.published_events_total.with_label_values(&["rejected"]).inc();
        }
        record
    }

    fn sealed<P: Event>(&self, outgoing: &Outgoing<P>) -> Result<(String, NewRecord), PublishError>
    where
        C: Codes<P>,
    {
        let now_ms = now_ms();
        let event_id = outgoing.event_id.clone().unwrap_or_else(|| made_id(now_ms, rand::random()));
        let key = outgoing.key.given().unwrap_or(&event_id);
        if outgoing.key.given() == Some("") {
            return Err(PublishError::EmptyKey);
        }
        let wrong = |source: CodecError| PublishError::Codec { event_type: P::EVENT_TYPE, source };
        let envelope = Envelope {
            event_id: event_id.clone(),
            event_type: P::EVENT_TYPE.to_owned(),
            event_version: u64::from(P::EVENT_VERSION),
            timestamp_ms: outgoing.timestamp_ms.unwrap_or(now_ms),
            user_id: outgoing.user_id.clone(),
            session_id: outgoing.session_id.clone(),
            payload: self.codec.encode(&outgoing.payload).map_err(wrong)?,
        };
        let value = self.codec.seal(&envelope).map_err(wrong)?;
        let about = About {
            event_type: envelope.event_type,
            event_version: envelope.event_version,
            content_type: self.codec.content_type(),
            trace: outgoing.trace,
        };
        let record = NewRecord::event(key, value, about);
        Ok((event_id, record))
    }

    async fn append(&self, records: Vec<NewRecord>, event_ids: &[String]) -> Result<(), PublishError> {
        let appended = self.log.append(records).await;
        let result = if appended.is_ok() { "accepted" } else { "failed" };
        self.metrics.published_events_total.with_label_values(&[result]).inc_by(event_ids.len() as u64);
        appended.map_err(|source| PublishError::Unacknowledged { event_ids: event_ids.to_vec(), source })
    }
}
