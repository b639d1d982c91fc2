//! Clients that mean no good, all of them at once: each is answered as it has to be, nothing of it is stored that must
//! not be, the memory stays bounded, and a client that means well is served all along.

mod case;
mod client;
mod driver;
mod encodings;
mod fields;
mod framing;
mod heads;
mod idle;
pub(crate) mod json;
mod noise;
mod sites;
mod smuggling;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::support::Settings;
use crate::support::app::Binary;
use crate::support::doors::sum;
use crate::support::oracle::{Recount, records_of};
use crate::support::traffic::COUNTERS;
use case::{Case, Door, End, Step};
use client::Client;

/// Cases that are under way at a time.
const AT_A_TIME: usize = 64;
/// What the process may have at its peak. Most of it are bombs that grow side by side: each may become 8 MiB, and its
/// records and the buffers on the way as much again.
const MOST_MEMORY: u64 = 400 << 20;

fn cases() -> Vec<Case> {
    let mut cases = [
        heads::cases(),
        framing::cases(),
        smuggling::cases(),
        noise::cases(),
        encodings::cases(),
        json::cases(),
        fields::cases(),
        sites::cases(),
    ]
    .concat();
    // What takes as long as a time-out begins first.
    let waits = |case: &Case| {
        case.steps.iter().any(|step| matches!(step, Step::Drip(_))) || case.answers.iter().any(|a| a.status == 408)
    };
    cases.sort_by_key(|case| !waits(case));
    cases
}

/// Runs all of them, and returns what went wrong.
async fn run_all(cases: &[Case], open: &Binary, sites: &Binary) -> Vec<String> {
    let address = |gauge: &Binary| gauge.ingest_url("").replace("http://", "");
    let (open, sites) = (address(open), address(sites));
    let running = cases.iter().enumerate().map(|(at, case)| {
        let address = if case.door == Door::Open { &open } else { &sites };
        async move { driver::run(case, address, &probe(at)).await.err() }
    });
    stream::iter(running).buffer_unordered(AT_A_TIME).filter_map(async |wrong| wrong).collect().await
}

fn probe(at: usize) -> String {
    format!("probe-{at}")
}

/// What has to be stored behind a door, by id.
fn expected(cases: &[Case], door: Door) -> BTreeMap<String, Value> {
    let mut expected = BTreeMap::new();
    for (at, case) in cases.iter().enumerate().filter(|(_, case)| case.door == door) {
        let probe = (case.end == End::GoesOn).then(|| serde_json::json!({"event_id": probe(at)}));
        for record in case.stored.iter().cloned().chain(probe) {
            let id = record["event_id"].as_str().expect("an id").to_owned();
            assert!(expected.insert(id.clone(), record).is_none(), "two cases store {id}");
        }
    }
    expected
}

/// Fails unless what the cases say is stored, each once, and nothing else but `others`.
fn assert_stored(settings: &Settings, cases: &[Case], door: Door, others: &BTreeSet<String>) {
    let expected = expected(cases, door);
    let mut unknown: BTreeSet<&str> = cases.iter().filter_map(|case| case.unknown).collect();
    let mut missing: BTreeSet<&str> = expected.keys().chain(others).map(String::as_str).collect();
    for record in records_of(settings.text_of("embedded.path").as_ref()) {
        let text = String::from_utf8(record.value.expect("a value")).expect("text");
        // Not all numbers in them are such that this process could read.
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&text).expect("an event");
        let read =
            |field: &str| fields.get(field).map(|value| serde_json::from_str::<Value>(value.get()).expect("JSON"));
        let id = read("event_id");
        let id = id.as_ref().and_then(Value::as_str).expect("an id");
        assert!(missing.remove(id) || unknown.remove(id), "this must not be stored, or not again: {text}");
        for (field, value) in expected.get(id).and_then(Value::as_object).into_iter().flatten() {
            assert_eq!(read(field).as_ref(), Some(value), "{text}");
        }
    }
    assert!(missing.is_empty(), "not stored: {missing:?}");
}

/// Fails if a client can make a line of the log, or colour it.
fn assert_clean(output: &str) {
    for line in output.lines() {
        assert!(!line.starts_with("FORGED"), "a client wrote {line:?}");
        assert!(!line.chars().any(|c| c.is_control() && c != '\t'), "{line:?}");
    }
}

async fn start(settings: &Settings) -> Binary {
    let binary = Binary::prepare(&[], "run", settings);
    binary.spawn_with(&[("STREAMGAUGE_LOG", "trace")]);
    binary.until_ready().await;
    binary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_request_is_answered_and_nobody_else_is_harmed() {
    let cases = cases();
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "each has a name of its own");
    let (of_open, of_sites) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let impatient = |settings: Settings| settings.with("ingest.header_timeout", "4s").with("ingest.body_timeout", "4s");
    let open_settings = impatient(Settings::embedded(of_open.path()).counting(COUNTERS));
    let sites_settings = impatient(Settings::embedded(of_sites.path()).with_sites(sites::SITES));
    let (open, sites) = (start(&open_settings).await, start(&sites_settings).await);

    let quiet = Client::start(&open, "quiet", 100).done().await;
    let before = open.memory();
    let client = Client::start(&open, "good", usize::MAX);
    let begun = Instant::now();
    let wrong = run_all(&cases, &open, &sites).await;
    let took = begun.elapsed();
    let meanwhile = client.stop().await;

    println!("{} hostile requests in {took:.1?}", cases.len());
    println!("a good client: before: {}", quiet.latency());
    println!("a good client: meanwhile: {}", meanwhile.latency());
    let (after, peak) = (open.memory(), open.peak_memory());
    println!("memory: before {} MiB, after {} MiB, at most {} MiB", before >> 20, after >> 20, peak >> 20);
    assert!(wrong.is_empty(), "{} of {} went wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(quiet.refused.is_empty() && meanwhile.refused.is_empty(), "{:?}", meanwhile.refused);
    assert!(peak < MOST_MEMORY, "{} MiB", peak >> 20);

    let good: BTreeSet<_> = quiet.ids.into_iter().chain(meanwhile.ids).collect();
    assert_stored(&open_settings, &cases, Door::Open, &good);
    assert_stored(&sites_settings, &cases, Door::Sites, &BTreeSet::new());
    let records_of_sites = records_of(sites_settings.text_of("embedded.path").as_ref()).len() as u64;
    assert_eq!(sum(&sites.until_consumed(records_of_sites).await, "counted"), records_of_sites);
    let records = records_of(open_settings.text_of("embedded.path").as_ref());
    open.until_consumed(records.len() as u64).await;
    Recount::of_records(&open_settings, &records).assert_in_api(&open).await;
    for binary in [&open, &sites] {
        binary.assert_alive();
        assert_clean(&binary.output());
    }
}
