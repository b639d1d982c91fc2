//! `streamgauge load` against the real program: what was accepted is counted, and what is not is noticed.

mod faulty;

use faulty::{Fault, Faulty};
use serde_json::Value;

use crate::support::app::{Finished, Running, command};
use crate::support::doors::{Doors, SOON, sum};
use crate::support::{Settings, eventually, kafka, redis, unique};

/// `streamgauge load` with these arguments on top of the addresses.
fn arguments(ingest: &str, query: &Doors, more: &[&str]) -> Vec<String> {
    let given = ["load", "--url", ingest, "--query", &query.query_url("")].map(str::to_owned);
    given.into_iter().chain(more.iter().map(|word| (*word).to_owned())).collect()
}

async fn load(ingest: &str, query: &Doors, more: &[&str]) -> Finished {
    command(&arguments(ingest, query, more)).finished().await
}

/// The JSON object that stands on a line of its own.
fn outcome(finished: &Finished) -> Value {
    let line = finished.output.lines().find(|line| line.starts_with('{'));
    let line = line.unwrap_or_else(|| panic!("no JSON: {}", finished.output));
    serde_json::from_str(line).unwrap()
}

/// What was counted of how many accepted events, for all counters that were asked; each has to be exact.
fn exact(outcome: &Value) -> (u64, u64) {
    let counters = outcome["check"]["counters"].as_array().unwrap();
    assert!(counters.iter().all(|counter| counter["verdict"] == "exact"), "{outcome}");
    let sum = |name: &str| counters.iter().map(|counter| counter[name].as_u64().unwrap()).sum();
    (sum("counted"), sum("accepted"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_loads_at_a_time_are_counted_exactly_each_for_itself() {
    let (kafka, redis) = (kafka().await, redis().await);
    let prefix = unique("load");
    let app = Running::start(&Settings::kafka(kafka, redis, &prefix, &prefix)).await;
    let ingest = app.ingest_url("");
    let few = ["--rate", "400", "--for", "2s", "--connections", "8", "--json"];
    let many = ["--rate", "5000", "--for", "2s", "--connections", "4", "--batch", "50", "--keys", "200", "--json"];
    let (few, many) = tokio::join!(load(&ingest, &app, &few), load(&ingest, &app, &many));
    for (finished, events, requests) in [(&few, 800, 800), (&many, 10_000, 200)] {
        assert_eq!(finished.code, 0, "{}", finished.output);
        let outcome = outcome(finished);
        assert_eq!((&outcome["accepted"], &outcome["unknown"]), (&events.into(), &0.into()), "{outcome}");
        assert_eq!((&outcome["requests_due"], &outcome["answers"]["202"]), (&requests.into(), &requests.into()));
        assert_eq!((&outcome["stored_kafka"], &outcome["rejected"]), (&events.into(), &0.into()), "{outcome}");
        assert_eq!(exact(&outcome), (events, events), "{outcome}");
        let latency = &outcome["latency_ms"];
        assert!(latency["p50"].as_f64() > Some(0.0) && latency["p50"].as_f64() <= latency["max"].as_f64(), "{latency}");
    }
    assert_eq!(sum(&app.status().await, "counted"), 10_800);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_ingest_loses_or_stores_twice_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let app = Running::start(&Settings::embedded(dir.path())).await;
    let faulty = Faulty::start(&app).await;
    let arguments = ["--rate", "100", "--for", "1s", "--connections", "4", "--timeout", "2s", "--check-within", "5s"];
    let arguments = [&arguments[..], &["--mix", "page_view", "--json"]].concat();
    for (fault, code, verdict, counted, unknown) in [
        (Fault::None, 0, "exact", 100, 0),
        (Fault::Lose, 1, "missing", 99, 0),
        (Fault::Double, 1, "too_many", 101, 0),
        // It may be stored, and it is.
        (Fault::Hush, 0, "exact", 100, 1),
    ] {
        faulty.next(fault);
        let finished = load(faulty.url(), &app, &arguments).await;
        let outcome = outcome(&finished);
        let checked = &outcome["check"]["counters"][0];
        assert_eq!(checked["verdict"], verdict, "{fault:?}: {outcome}");
        assert_eq!((&checked["counted"], &checked["unknown"]), (&counted.into(), &unknown.into()), "{outcome}");
        assert_eq!(finished.code, code, "{outcome}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_a_load_with_what_it_did_so_far() {
    let dir = tempfile::tempdir().unwrap();
    let app = Running::start(&Settings::embedded(dir.path())).await;
    let more = ["--rate", "200", "--for", "1h", "--connections", "4", "--batch", "2"];
    let running = command(&arguments(&app.ingest_url(""), &app, &more));
    eventually(SOON, "events are counted", async || {
        let status = app.status().await;
        if sum(&status, "counted") >= 20 { Ok(()) } else { Err(status) }
    })
    .await;
    running.interrupt();
    let finished = running.finished().await;
    assert_eq!(finished.code, 0, "{}", finished.output);
    let counted = sum(&app.status().await, "counted");
    let said = format!("{counted} sent: {counted} accepted (kafka 0, disk {counted}), 0 rejected");
    for said in [said.as_str(), "200 events/s wanted", "everything accepted was counted exactly once"] {
        assert!(finished.output.contains(said), "{said}: {}", finished.output);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_said_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let by_type =
        "[[counters]]\nname = \"events\"\nby = [\"event_type\"]\nwindows = [{ size = \"10s\", keep = \"1h\" }]";
    let app = Running::start(&Settings::embedded(dir.path()).counting(by_type)).await;
    let ingest = app.ingest_url("");
    for (arguments, code, said) in [
        (&[][..], 1, "none of the counters splits page_view, click, search by a field"),
        (&["--no-check", "--url", "http://127.0.0.1:9"], 1, "cannot connect to ingest at 127.0.0.1:9"),
        (&["--query", "http://127.0.0.1:9"], 1, "--no-check to go without"),
        (&["--url", "https://shop.example"], 1, "write it like http://127.0.0.1:8081"),
        (&["--mix", "page_view=0"], 2, "like page_view=70,click=20,search=10"),
        (&["--batch", "100000", "--event-bytes", "100000"], 1, "take fewer of one of them"),
        (&["--zipf=-1"], 1, "from 0 (evenly) to 10"),
        (&["--for", "0s"], 1, "more than nothing"),
    ] {
        let given = ["--url", "--query"].iter().any(|name| arguments.contains(name));
        let finished = match given {
            true => command(&["load"].iter().chain(arguments).map(|word| (*word).to_owned()).collect::<Vec<_>>()),
            false => command(&self::arguments(&ingest, &app, arguments)),
        };
        let finished = finished.finished().await;
        assert!(finished.output.contains(said), "{said}: {}", finished.output);
        assert_eq!(finished.code, code, "{}", finished.output);
    }
    assert_eq!(sum(&app.status().await, "consumed"), 0);
    // What is sent without a check needs no counter, only somebody who takes it.
    let few = ["--no-check", "--rate", "50", "--for", "1s"];
    let finished = load(&ingest, &app, &few).await;
    assert!(finished.code == 0 && finished.output.contains("50 accepted"), "{}", finished.output);
    app.stop().await;
}
