//! A topic from outside: records in, all of it out, by clients that share no code with the program's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
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
}

/// Produces all of them and waits until each is acknowledged.
pub(super) fn produce(client: &ClientConfig, topic: &str, records: &[(String, Vec<u8>)]) {
    let failed = Failed::default();
    let producer: BaseProducer<Failed> = client.create_with_context(failed.clone()).expect("settings of a producer");
    for (key, value) in records {
        let mut record = BaseRecord::to(topic).key(key).payload(value);
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
    let consumer: BaseConsumer = client
        .clone()
        .set("group.id", "reader")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE)?;
    let mut from = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        from.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&from)?;

    let mut records = Vec::new();
    let mut ends = 0;
    while ends < from.count() {
        match consumer.poll(DEADLINE) {
            Some(Ok(message)) => records.push(Record {
                partition: message.partition(),
                offset: message.offset(),
                timestamp: message.timestamp().to_millis(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
            }),
            Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
            Some(Err(error)) => return Err(error),
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
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
