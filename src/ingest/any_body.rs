//! What holds for any bytes whatever that are sent as a body: for the tests and for the fuzzer.
#![allow(clippy::expect_used, reason = "it is here to fail")]

use super::batch::Batch;
use super::intake::Intake;
use super::{Config, Counts};
use crate::counter::{Counters, Timing, default_specs};
use crate::event::{Door, Event, RawJson, Stamp};
use crate::units::ByteSize;
use hyper::Request;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

const NOW: i64 = 1_760_000_000_000;
const TYPES: [&str; 3] = ["application/json", "application/x-ndjson", "text/plain"];
const ENCODINGS: [&str; 4] = ["identity", "gzip", "deflate", "zstd"];
const MOST_INFLATED: u64 = 256 * 1024;
const MOST_EVENTS: usize = 500;
/// What a record has beside what was sent: the fields that ingest adds, under their full names.
const ADDED_BYTES: usize = 400;

/// What became of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was refused as a whole.
    Refused,
    /// So many events of it were accepted.
    Accepted(usize),
}

static INTAKE: LazyLock<Intake> = LazyLock::new(|| {
    let config = Config {
        max_inflated: ByteSize(MOST_INFLATED),
        max_events: MOST_EVENTS,
        max_event: ByteSize::kib(16),
        ..Config::default()
    };
    let timing = Timing { lateness_ms: 5_000, max_ahead_ms: 60_000 };
    let counters = Counters::new(default_specs()).expect("the documented counters");
    Intake::new(config, &[], Counts { counters: Arc::new(counters), timing }).expect("no sites")
});

/// Inflates, takes apart and accepts a body as ingest does, without storing anything. The first byte says how it is
/// called; the rest is the body.
///
/// # Panics
/// When what comes of it is not bounded by what was sent, or cannot be read back.
pub fn any_body(bytes: &[u8]) -> Became {
    let Some((choice, body)) = bytes.split_first() else { return Became::Refused };
    let choice = usize::from(*choice);
    let request = Request::post("/events")
        .header(CONTENT_TYPE, TYPES[choice % TYPES.len()])
        .header(CONTENT_ENCODING, ENCODINGS[choice / TYPES.len() % ENCODINGS.len()]);
    let (head, ()) = request.body(()).expect("a request").into_parts();
    let asked = INTAKE.head(&head, None).expect("nothing is wrong with the head");
    let inflated = match asked.encoding {
        None => body.to_vec(),
        Some(encoding) => match at_once(encoding.inflate(body, MOST_INFLATED, |_| true)) {
            Ok(inflated) => inflated.into(),
            Err(_) => return Became::Refused,
        },
    };
    assert!(asked.encoding.is_none() || inflated.len() as u64 <= MOST_INFLATED);
    let Ok(batch) = INTAKE.body(&inflated, &asked, NOW) else { return Became::Refused };
    check(&batch, inflated.len());
    let accepted = batch.records.len();
    let rehearsal = serde_json::to_vec(&INTAKE.rehearse(batch, NOW)).expect("a dry run's answer");
    assert!(!rehearsal.is_empty());
    Became::Accepted(accepted)
}

/// What was accepted is bounded, and reads back as what it is said to be.
fn check(batch: &Batch, sent: usize) {
    let Batch { records, event_ids, faults, .. } = batch;
    assert!(!records.is_empty() && records.len() == event_ids.len());
    assert!(records.len() + faults.len() <= MOST_EVENTS);
    assert!(faults.is_sorted_by(|a, b| a.index < b.index));
    assert!(faults.iter().all(|fault| (5..400).contains(&fault.error.len())), "{faults:?}");
    let stored: usize = records.iter().map(|record| record.value.as_ref().map_or(0, Vec::len)).sum();
    assert!(stored <= sent + ADDED_BYTES * records.len(), "{stored} bytes of {sent}");
    for (record, id) in records.iter().zip(event_ids) {
        let value = record.value.as_deref().expect("a value");
        let event = Event::parse(value, Door::Topic).expect("an event that was stored can be read");
        assert_eq!((event.event_id.as_deref(), event.received_at_ms), (Some(&**id), Some(NOW)));
        assert!((1..=128).contains(&id.len()) && record.key.as_ref().is_some_and(|key| key.len() <= 256));
        let stamp = Stamp {
            event_id: id,
            timestamp_ms: event.time_ms(NOW),
            received_at_ms: event.received_at_ms,
            context: event.context.map(RawJson::get),
        };
        assert_eq!(event.canonical(&stamp).as_bytes(), value, "the canonical form is the canonical form of itself");
    }
}

/// Runs what only ever waits for others to have their turn.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}

#[cfg(test)]
mod tests;
