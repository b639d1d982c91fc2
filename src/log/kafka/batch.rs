//! A consumer that hands records out in batches: the one place with `unsafe`, because the client library has no safe call
//! for it. By batches librdkafka takes 0.47 µs of CPU for a record instead of 0.74 µs.
//!
//! Its own queue carries the membership's events, which only a poll of that queue answers; a batch taken from there would
//! swallow them. So the records of each partition are forwarded to a second queue, which carries nothing else.
//!
//! librdkafka ends the forwarding when it stops reading a partition, on a thread of its own and after the call that asks
//! for it has returned. A partition that is started again at once may thus lose its new forwarding to its old end, and
//! would be silent for ever. So it is renewed at each batch until the partition's first record has come: librdkafka
//! starts no partition before it has stopped it.
#![allow(unsafe_code, reason = "rdkafka has no safe call for rd_kafka_consume_batch_queue")]

use crate::log::{Headers, LogRecord};
use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_message_destroy,
    rd_kafka_message_headers, rd_kafka_message_t, rd_kafka_message_timestamp, rd_kafka_queue_destroy,
    rd_kafka_queue_forward, rd_kafka_queue_get_partition, rd_kafka_queue_new, rd_kafka_queue_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use std::ffi::{CStr, CString, c_int};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A consumer with a queue of its own for the records of the partitions that are forwarded to it.
pub(super) struct BatchConsumer<C: ConsumerContext + 'static> {
    // In this order they are dropped: a queue must not outlive its client.
    renewed: Mutex<Vec<(i32, Queue)>>,
    records: Queue,
    client: BaseConsumer<C>,
}

/// One of librdkafka's queues. Whoever owns one owns its client, too, and drops it later.
struct Queue(NonNull<rd_kafka_queue_t>);

// SAFETY: librdkafka's functions may be called by any thread; what is reachable through the pointer is locked there.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: it came from librdkafka, is given back once, and its client still lives.
        unsafe { rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// The client, for everything but records.
impl<C: ConsumerContext + 'static> Deref for BatchConsumer<C> {
    type Target = BaseConsumer<C>;

    fn deref(&self) -> &BaseConsumer<C> {
        &self.client
    }
}

impl<C: ConsumerContext + 'static> BatchConsumer<C> {
    /// Adds the queue to a client. `None` when librdkafka has no memory for it.
    pub(super) fn of(client: BaseConsumer<C>) -> Option<BatchConsumer<C>> {
        // SAFETY: the client lives, and `records` is dropped before it.
        let records = unsafe { rd_kafka_queue_new(client.client().native_ptr()) };
        let records = Queue(NonNull::new(records)?);
        Some(BatchConsumer { renewed: Mutex::default(), records, client })
    }

    /// From now on the records of these partitions come in batches. To be called before each assignment that has them.
    /// Answers the first one that librdkafka does not know.
    pub(super) fn forward(&self, topic: &str, partitions: impl IntoIterator<Item = i32>) -> Result<(), i32> {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in partitions {
            let topic = CString::new(topic).map_err(|_| partition)?;
            // SAFETY: the client lives and the topic's name ends with a zero; the answer is ours to give back.
            let queue =
                unsafe { rd_kafka_queue_get_partition(self.client.client().native_ptr(), topic.as_ptr(), partition) };
            let queue = Queue(NonNull::new(queue).ok_or(partition)?);
            self.renew(&queue);
            renewed.retain(|(other, _)| *other != partition);
            renewed.push((partition, queue));
        }
        Ok(())
    }

    fn renew(&self, partition: &Queue) {
        // SAFETY: both queues live; librdkafka counts the reference that it keeps.
        unsafe { rd_kafka_queue_forward(partition.0.as_ptr(), self.records.0.as_ptr()) }
    }

    /// Up to `max` messages, in the order of each partition; waits at most `timeout` for the first. Records that were
    /// fetched before their partition was taken away or placed anew are not among them.
    pub(super) fn batch(&self, timeout: Duration, max: usize) -> Vec<Message> {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, queue) in renewed.iter() {
            self.renew(queue);
        }
        let mut messages = Vec::new();
        if !timeout.is_zero() {
            // A call waits until it has all that it is asked for.
            self.take(timeout, 1, &mut messages);
        }
        if timeout.is_zero() || !messages.is_empty() {
            self.take(Duration::ZERO, max - messages.len(), &mut messages);
        }
        if !renewed.is_empty() {
            renewed.retain(|(partition, _)| messages.iter().all(|message| message.partition() != *partition));
        }
        messages
    }

    fn take(&self, timeout: Duration, max: usize, messages: &mut Vec<Message>) {
        messages.reserve_exact(max);
        let ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        let room = messages.spare_capacity_mut().as_mut_ptr().cast::<*mut rd_kafka_message_t>();
        // SAFETY: there is room for `max` messages, each of which is nothing but a pointer (`Message` is transparent),
        // and librdkafka writes as many as it says, none of them null, and each of them ours to destroy.
        unsafe {
            let taken = rd_kafka_consume_batch_queue(self.records.0.as_ptr(), ms, room, max);
            // -1 is an error, of which librdkafka has none here.
            messages.set_len(messages.len() + usize::try_from(taken).unwrap_or(0));
        }
    }
}

/// What came of a partition: a record, or an error that concerns it.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Message(NonNull<rd_kafka_message_t>);

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: it came from librdkafka and is destroyed once.
        unsafe { rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

impl Message {
    fn raw(&self) -> &rd_kafka_message_t {
        // SAFETY: it is valid until it is destroyed, which takes `self`, and nobody else writes to it.
        unsafe { self.0.as_ref() }
    }

    /// Why there is no record.
    pub(super) fn error(&self) -> Option<RDKafkaErrorCode> {
        let error = self.raw().err;
        (error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
    }

    pub(super) fn partition(&self) -> i32 {
        self.raw().partition
    }

    /// The record, if there is no error.
    pub(super) fn record(&self) -> LogRecord<'_> {
        let raw = self.raw();
        // SAFETY: the message is valid, and the kind of the time need not be asked for. Key and value are its own, and
        // live as long.
        let (time_ms, key, value) = unsafe {
            let time_ms = rd_kafka_message_timestamp(self.0.as_ptr(), ptr::null_mut());
            (time_ms, bytes(raw.key.cast(), raw.key_len), bytes(raw.payload.cast(), raw.len))
        };
        let time_ms = (time_ms >= 0).then_some(time_ms);
        LogRecord { partition: raw.partition, offset: raw.offset, time_ms, key, value, headers: Some(self) }
    }
}

impl Headers for Message {
    fn each(&self, with: &mut dyn FnMut(&str, Option<&[u8]>)) {
        let mut headers: *mut rd_kafka_headers_t = ptr::null_mut();
        // SAFETY: the message is valid. What it answers is its own, and lives as long.
        let found = unsafe { rd_kafka_message_headers(self.0.as_ptr(), &raw mut headers) };
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            // SAFETY: `headers` is valid; an index behind the last one is answered by an error.
            let found =
                unsafe { rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut length) };
            if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            // SAFETY: a name ends with a zero, a value has that many bytes; both live as long as the message.
            let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value.cast(), length)) };
            if let Ok(name) = name.to_str() {
                with(name, value);
            }
        }
    }
}

/// SAFETY, for the caller: a pointer that is not null has that many bytes behind it, for the whole of `'a`.
unsafe fn bytes<'a>(pointer: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!pointer.is_null()).then(|| unsafe { slice::from_raw_parts(pointer, length) })
}
