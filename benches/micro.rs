//! What each step costs per event, one after the other and without any other program: `make bench-micro`.
//!
//! A change of the whole (`make bench`) shows here where it comes from. Events are those of the other benchmarks: about 300
//! bytes, 10,000 pages of which few are visited often, 50,000 sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement that fails, fails")]

mod shared;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use std::sync::Arc;
use streamgauge::counter::{Counters, Counting, Dedupe, Fingerprint, Segment, Spec, Timing, WindowSpec};
use streamgauge::event::{Dimensions, Door, Event, Stamp};

const EVENTS: usize = 10_000;
const FIRST_MS: i64 = 1_760_000_000_000;

fn main() {
    divan::main();
}

/// Keys and values of records.
fn records() -> Vec<(String, String)> {
    (0..EVENTS as u64).map(|i| shared::event(i, FIRST_MS)).collect()
}

fn each<R>(bencher: Bencher<'_, '_>, step: impl Fn(&[u8]) -> R + Sync) {
    let records = records();
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| {
        for (_, value) in &records {
            black_box(step(value.as_bytes()));
        }
    });
}

fn counters() -> Arc<Counters> {
    let window = |size: &str, keep: &str| WindowSpec { size: size.into(), keep: keep.into() };
    let spec = Spec {
        name: "page_views".into(),
        event: vec!["page_view".into()],
        by: vec!["payload.path".into()],
        windows: vec![window("10s", "1d"), window("1m", "1d"), window("1h", "30d")],
        max_keys: 10_000,
        ..Spec::default()
    };
    Arc::new(Counters::new(vec![spec]).unwrap())
}

fn counting() -> Counting {
    Counting::new(counters(), Timing { lateness_ms: 5_000, max_ahead_ms: 60_000 })
}

/// A segment of these records.
fn counted(records: &[(String, String)], dedupe: &mut Dedupe, from: i64) -> Segment {
    let (mut counting, mut segment) = (counting(), Segment::starting_at(from));
    for (offset, (_, value)) in (from..).zip(records) {
        segment.consume(offset);
        counting.count(Some(FIRST_MS), Some(value.as_bytes()), dedupe, &mut segment);
    }
    segment
}

/// A record of the topic, read and checked.
#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    each(bencher, |value| Event::parse(value, Door::Topic).is_ok());
}

/// An event as it was posted, read, checked and brought into its canonical form.
#[divan::bench]
fn validate(bencher: Bencher<'_, '_>) {
    each(bencher, |value| {
        let event = Event::parse(value, Door::Http).unwrap();
        let received_at_ms = Some(FIRST_MS);
        event.canonical(&Stamp { event_id: "an-id", timestamp_ms: FIRST_MS, received_at_ms, context: None })
    });
}

/// The key of an event that was read.
#[divan::bench]
fn key(bencher: Bencher<'_, '_>) {
    let (records, by) = (records(), Dimensions::parse(&["payload.path".to_owned()]).unwrap());
    let events: Vec<_> =
        records.iter().map(|(_, value)| Event::parse(value.as_bytes(), Door::Topic).unwrap()).collect();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut key = String::new();
        for event in &events {
            key.clear();
            by.write_key(event, &mut key);
            black_box(&key);
        }
    });
}

/// What tells a record from any other.
#[divan::bench]
fn fingerprint(bencher: Bencher<'_, '_>) {
    each(bencher, |value| Fingerprint::of(1, FIRST_MS, Some(b"sess-00001234"), Some(value)));
}

/// An id is looked for among 200,000, and remembered.
#[divan::bench]
fn dedupe(bencher: Bencher<'_, '_>) {
    let mut dedupe = Dedupe::new(200_000);
    let mut next = 0_i64;
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut id = String::new();
        for _ in 0..EVENTS {
            id.clear();
            std::fmt::Write::write_fmt(&mut id, format_args!("bench-{next:026}")).unwrap();
            black_box(dedupe.repeats(next, Some(FIRST_MS), Some(&id)));
            next += 1;
        }
    });
}

/// All of a record: read, checked and added to three windows of one counter.
#[divan::bench]
fn window(bencher: Bencher<'_, '_>) {
    let records = records();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| counted(&records, &mut Dedupe::new(0), 0));
}

/// A batch of records that was counted is added to a segment of as many.
#[divan::bench]
fn merge(bencher: Bencher<'_, '_>) {
    let records = records();
    let first = counted(&records, &mut Dedupe::new(0), 0);
    let second = counted(&records, &mut Dedupe::new(0), EVENTS as i64);
    let both = || (first.clone(), second.clone());
    bencher.counter(ItemsCount::new(EVENTS)).with_inputs(both).bench_values(|(mut first, second)| {
        first.append(second);
        first
    });
}
