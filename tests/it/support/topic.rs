//! A topic from outside: records in, all of it out, by clients that share no code with the program's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

const DEADLINE: Duration = Duration::from_secs(60);

/// A record as the topic holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The text of a header; fails when there is none, or it is no text.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        let (_, value) = found.unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers));
        std::str::from_utf8(value).expect("a header's text")
    }
}

/// A record to be, exactly as it is to stand in the topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl From<(String, Vec<u8>)> for Raw {
    fn from((key, value): (String, Vec<u8>)) -> Raw {
        Raw { key: Some(key.into_bytes()), value: Some(value), ..Raw::default() }
    }
}

/// Produces all of them and waits until each is acknowledged.
pub(crate) fn produce(client: &ClientConfig, topic: &str, records: impl Iterator<Item = Raw>) {
    let failed = Failed::default();
    let mut client = client.clone();
    // Java's partitioner, and records larger than librdkafka's own limit: the broker is to decide.
    client.set("partitioner", "murmur2_random").set("message.max.bytes", "20000000").set("linger.ms", "5");
    let producer: BaseProducer<Failed> = client.create_with_context(failed.clone()).expect("settings of a producer");
    for raw in records {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic);
        record.key = raw.key.as_deref();
        record.payload = raw.value.as_deref();
        record.partition = raw.partition;
        record.timestamp = raw.timestamp;
        record.headers = (!raw.headers.is_empty()).then(|| {
            let pair = |headers: OwnedHeaders, (key, value): &(String, Vec<u8>)| {
                headers.insert(Header { key, value: Some(value) })
            };
            raw.headers.iter().fold(OwnedHeaders::new(), pair)
        });
        while let Err((error, refused)) = producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
    }
    producer.flush(DEADLINE).expect("all acknowledged in time");
    let failed = failed.0.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(failed.is_empty(), "refused: {:?}", *failed);
}

/// Everything that the topic holds now: by partition, in order.
pub(super) fn read(client: &ClientConfig, topic: &str) -> KafkaResult<Vec<Record>> {
    let mut records = Vec::new();
    for_each(client, topic, |record| records.push(record))?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Hands everything that the topic holds now to `each`, each partition in its order, and keeps nothing. Returns
/// where the partitions end.
pub(super) fn for_each(
    client: &ClientConfig,
    topic: &str,
    mut each: impl FnMut(Record),
) -> KafkaResult<BTreeMap<i32, i64>> {
    let consumer: BaseConsumer = client
        .clone()
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE)?;
    let mut from = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        from.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&from)?;

    let mut ends = BTreeMap::new();
    while ends.len() < from.count() {
        match consumer.poll(DEADLINE) {
            Some(Ok(message)) => each(Record {
                partition: message.partition(),
                offset: message.offset(),
                timestamp: message.timestamp().to_millis(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: headers(&message),
            }),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                let (_, end) = consumer.fetch_watermarks(topic, partition, DEADLINE)?;
                ends.insert(partition, end);
            }
            Some(Err(error)) => return Err(error),
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
    Ok(ends)
}

fn headers(message: &impl Message) -> Vec<(String, Vec<u8>)> {
    let Some(headers) = message.headers() else { return Vec::new() };
    headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
}

/// What the broker did not take, from the delivery reports.
#[derive(Clone, Default)]
struct Failed(Arc<Mutex<Vec<KafkaError>>>);

impl ClientContext for Failed {}

impl ProducerContext for Failed {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = report {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(error.clone());
        }
    }
}

/// A group's committed offset and the end of each partition of a topic.
pub(super) fn positions(client: &ClientConfig, topic: &str, group: &str) -> KafkaResult<Vec<(Option<i64>, i64)>> {
    let consumer: BaseConsumer = client.clone().set("group.id", group).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE)?;
    let mut all = TopicPartitionList::new();
    (0..metadata.topics()[0].partitions().len()).for_each(|partition| _ = all.add_partition(topic, partition as i32));
    let committed = consumer.committed_offsets(all, DEADLINE)?;
    let mut elements = committed.elements();
    elements.sort_by_key(rdkafka::topic_partition_list::TopicPartitionListElem::partition);
    let position = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        let (_, end) = consumer.fetch_watermarks(topic, element.partition(), DEADLINE)?;
        Ok((if let Offset::Offset(offset) = element.offset() { Some(offset) } else { None }, end))
    };
    elements.iter().map(position).collect()
}
