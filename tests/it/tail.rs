//! The live tail: why was my event refused? Over one process, over two that share a Redis, and on the command line.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::{Binary, Running, command};
use crate::support::doors::{Doors, SOON};
use crate::support::traffic::Load;
use crate::support::{self, Redis, Settings, eventually, unique};

/// What somebody who asks why has to wait at most.
const ANSWERED: Duration = Duration::from_secs(10);
const TOKEN: &str = "a-long-and-random-text";
const KEY: &str = "a-write-key-that-nobody-else-has";

/// With a site whose events need a key.
fn with_site(settings: Settings) -> Settings {
    let site: toml::Table = format!("name = \"shop\"\nwrite_keys = [\"{KEY}\"]").parse().unwrap();
    settings.with("sites", vec![toml::Value::Table(site)])
}

/// A listener, reading.
struct Tail {
    response: reqwest::Response,
    text: String,
    events: VecDeque<(String, Value)>,
}

impl Tail {
    async fn open(doors: &Doors, query: &str) -> Tail {
        let response = request(doors, query).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Tail { response, text: String::new(), events: VecDeque::new() }
    }

    /// The next event: its kind, and its data.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let bytes = self.response.chunk().await.expect("no error").expect("a stream that goes on");
            self.text.push_str(std::str::from_utf8(&bytes).expect("text"));
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let (Some(kind), Some(data)) = (field("event: "), field("data: ")) {
                    self.events.push_back((kind.to_owned(), serde_json::from_str(data).expect("JSON")));
                }
                self.text = rest.to_owned();
            }
        }
    }

    /// The next event of this kind that fits, which must come in time.
    async fn until(&mut self, within: Duration, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let search = async {
            loop {
                let (seen, data) = self.next().await;
                if seen == kind && fits(&data) {
                    return data;
                }
                last = json!({ seen: data });
            }
        };
        match tokio::time::timeout(within, search).await {
            Ok(found) => found,
            Err(_) => panic!("no such {kind} within {within:?}; the last event was {last}"),
        }
    }
}

fn request(doors: &Doors, query: &str) -> reqwest::RequestBuilder {
    // A stream has no end, so the client's time-out must not hold for it.
    doors
        .http()
        .get(doors.query_url(&format!("/api/v1/tail?{query}")))
        .timeout(Duration::from_secs(600))
        .bearer_auth(TOKEN)
}

/// An event that is refused for its `user_id`, of a site, with marks that must not be seen.
async fn refused_event(doors: &Doors, event_type: &str) {
    let event = json!({"type": event_type, "id": "e1", "user_id": ["ann@example.com"], "session_id": "secret-session",
        "payload": {"card": "4111-1111", "amount": 12}});
    let good =
        json!({"type": format!("{event_type}_good"), "user_id": "ann@example.com", "payload": {"card": "4111-1111"}});
    let request = doors.events("application/json", json!([event, good]).to_string()).header("x-write-key", KEY);
    assert_eq!(doors.send(request).await.expect(202)["rejected"], 1);
}

fn assert_redacted(entry: &Value) {
    let text = entry.to_string();
    for secret in ["ann@", "secret-session", "4111", KEY, "127.0.0.1"] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// Refuses an event and a request, and asks why.
async fn ask_why(ingest: &Doors, query: &Doors, event_type: &str) {
    refused_event(ingest, event_type).await;
    let unknown = ingest.events("application/json", "{\"type\":\"a\"}").header("x-write-key", "nobodys");
    assert_eq!(ingest.send(unknown).await.status, 401);
    let mut tail = Tail::open(query, "").await;
    let entry = tail.until(ANSWERED, "entry", |entry| entry["event"]["event_type"] == event_type).await;
    assert_eq!(
        (&entry["outcome"], &entry["site"], &entry["reason"]),
        (&json!("refused"), &json!("shop"), &json!("field"))
    );
    assert_eq!(entry["field"], "user_id");
    assert!(entry["error"].as_str().unwrap().contains("`user_id` must be a string"), "{entry}");
    let mut fields: Vec<_> =
        entry["event"]["fields"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["id", "payload", "session_id", "type", "user_id"]);
    assert_eq!(entry["event"]["payload"], json!({"amount": "number", "card": "string(9)"}));
    assert_redacted(&entry);
    // What was refused together with it, and what was not.
    let mut tail = Tail::open(query, "site=&outcome=refused").await;
    let entry = tail.until(ANSWERED, "entry", |entry| entry["reason"] == "unknown_key").await;
    assert_eq!((&entry["status"], &entry["site"], &entry["event"]), (&json!(401), &Value::Null, &Value::Null));
    assert_redacted(&entry);
    let mut tail = Tail::open(query, "site=shop").await;
    let counts = |counts: &Value| counts["counts"].as_array().unwrap().iter().any(|row| row["reason"] == "field");
    let counts = tail.until(ANSWERED, "counts", counts).await;
    assert!(counts["counts"].as_array().unwrap().iter().all(|row| row["site"] == "shop"), "{counts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_says_why_an_event_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let settings = with_site(Settings::embedded(dir.path())).with("query.token", TOKEN);
    let gauge = Running::start(&settings).await;
    for wrong in [None, Some("wrong")] {
        let request = gauge.http().get(gauge.query_url("/api/v1/tail"));
        let request = wrong.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        assert_eq!(gauge.send(request).await.status, 401);
    }
    ask_why(&gauge, &gauge, "buy").await;
    // A sample of what is accepted, once somebody looks.
    let mut tail = Tail::open(&gauge, "outcome=accepted&site=shop").await;
    let sample = tail.until(ANSWERED, "entry", |entry| entry["event"]["event_type"] == "buy_good").await;
    assert_eq!((&sample["outcome"], &sample["reason"]), (&json!("accepted"), &Value::Null));
    assert_redacted(&sample);
    // A dry run leaves no trace.
    let dry = gauge.http().post(gauge.ingest_url("/events?dry_run=1")).header("x-write-key", KEY);
    gauge.send(dry.body(json!([{"type": "dry", "user_id": 7}, {"type": "dry"}]).to_string())).await.expect(200);
    refused_event(&gauge, "after").await;
    let mut tail = Tail::open(&gauge, "outcome=refused").await;
    tail.until(ANSWERED, "entry", |entry| {
        assert_ne!(entry["event"]["event_type"], "dry");
        entry["event"]["event_type"] == "after"
    })
    .await;
    gauge.stop().await;
}

/// Ingest and query side as processes of their own, and the settings that they share.
async fn two_processes(redis: &Redis) -> (Binary, Binary) {
    let (topic, prefix) = (unique("tail"), unique("tail"));
    let settings =
        with_site(Settings::kafka(support::kafka().await, redis, &topic, &prefix)).with("query.token", TOKEN);
    let (ingest, query) = (Binary::start("ingest", &settings).await, Binary::start("query", &settings).await);
    ingest.until_ready().await;
    query.until_ready().await;
    (ingest, query)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_process_says_why_an_ingest_process_refused_an_event() {
    let (ingest, query) = two_processes(support::redis().await).await;
    ask_why(&ingest, &query, "buy").await;
    // It says so of what comes while somebody looks, too.
    let mut tail = Tail::open(&query, "outcome=refused").await;
    tail.until(ANSWERED, "counts", |counts| counts["sources"] == 1).await;
    refused_event(&ingest, "later").await;
    tail.until(ANSWERED, "entry", |entry| entry["event"]["event_type"] == "later").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_that_is_said_and_events_are_taken() {
    let redis = Redis::start().await;
    let (ingest, query) = two_processes(&redis).await;
    let mut tail = Tail::open(&query, "").await;
    tail.until(ANSWERED, "counts", |counts| counts["sources"] == 1).await;
    redis.kill();
    let trouble = tail.until(SOON, "trouble", |_| true).await;
    assert!(trouble["error"].as_str().unwrap().contains("not available"), "{trouble}");
    refused_event(&ingest, "away").await;
    eventually(SOON, "ingest notes that it cannot publish", async || {
        let errors = ingest.metric("streamgauge_tail_publish_errors_total").await;
        if errors > 0.0 { Ok(()) } else { Err("no error yet") }
    })
    .await;
    ingest.until_admin("/readyz/ingest", 200).await;
    redis.restart().await;
    tail.until(SOON, "entry", |entry| entry["event"]["event_type"] == "away").await;
    refused_event(&ingest, "back").await;
    tail.until(SOON, "entry", |entry| entry["event"]["event_type"] == "back").await;
    let said = ingest.output().matches("the live tail cannot be published").count();
    assert_eq!(said, 1, "{}", ingest.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_never_reads_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    // They send their request, and take no byte of the answer.
    let silent: Vec<_> = (0..20).map(|_| tokio::spawn(request(&gauge, "").send())).collect();
    let mut answers = Vec::new();
    for task in silent {
        answers.push(task.await.unwrap().expect("an answer"));
    }
    let load = Load::start(&gauge, "tail-silent");
    let mut tail = Tail::open(&gauge, "").await;
    for round in 0..5 {
        let wrong = json!({"type": format!("round{round}"), "user_id": 7}).to_string();
        assert_eq!(gauge.send(gauge.events("application/json", wrong)).await.status, 400);
        tail.until(ANSWERED, "entry", |entry| entry["event"]["event_type"] == format!("round{round}")).await;
        load.until_acknowledged(200).await;
    }
    let listeners = gauge.admin("/metrics").await.text();
    assert!(listeners.contains("streamgauge_tail_listeners 21"), "{listeners}");
    load.stop().await;
    drop((tail, answers));
    eventually(SOON, "nobody listens any more", async || {
        let text = gauge.admin("/metrics").await.text();
        if text.contains("streamgauge_tail_listeners 0") { Ok(()) } else { Err("somebody does") }
    })
    .await;
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let settings = with_site(Settings::embedded(dir.path())).with("query.token", TOKEN);
    let gauge = Running::start(&settings).await;
    refused_event(&gauge, "buy").await;
    let url = gauge.query_url("/");
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let with = |more: &[&str]| {
        let arguments = ["tail", "--url", &url, "--token-file", file.to_str().unwrap()];
        arguments.into_iter().chain(more.iter().copied()).map(str::to_owned).collect::<Vec<_>>()
    };
    let told = until_told(&with(&["--refused", "--site", "shop"]), "-- refused in the last 10 minutes").await;
    for part in [
        "refused   shop          field           `user_id` must be a string",
        "buy \"e1\"",
        "payload.card: string(9)",
        "1  shop          field",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("4111") && !told.contains("buy_good"), "{told}");

    let told = until_told(&with(&["--json"]), "\"sources\":1").await;
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let why = lines.iter().find(|line| line["reason"] == "field").unwrap_or_else(|| panic!("{told}"));
    assert_eq!(why["event"]["event_type"], "buy");
    assert!(lines.last().unwrap()["counts"].is_array(), "{told}");

    let told = command(&with(&["--for", "1s"])).finished().await;
    assert_eq!(told.code, 0, "it ends by itself: {}", told.output);
    wrong_questions(&gauge, &url).await;
    gauge.stop().await;
}

/// Waits until the command has said this, ends it as Ctrl-C does, and returns all that it said.
async fn until_told(arguments: &[String], awaited: &str) -> String {
    let running = command(arguments);
    eventually(SOON, &format!("it says {awaited}"), async || {
        let output = running.output();
        if output.contains(awaited) { Ok(()) } else { Err(output) }
    })
    .await;
    running.interrupt();
    let told = running.finished().await;
    assert_eq!(told.code, 0, "a clean end: {}", told.output);
    told.output
}

/// What cannot be answered is said in a way that helps.
async fn wrong_questions(gauge: &Running, url: &str) {
    let [port] = support::free_ports();
    let nobody = format!("http://127.0.0.1:{port}");
    let ingest = gauge.ingest_url("");
    for (arguments, complaint) in [
        (vec!["--url", url], "asks for a token"),
        (vec!["--url", url, "--token", "wrong"], "does not know this token"),
        (vec!["--url", &nobody], "nobody answers at"),
        (vec!["--url", &ingest], "has no live tail"),
        (vec!["--url", "https://127.0.0.1:1"], "https is not spoken here"),
        (vec!["--url", "nonsense"], "write it like http://127.0.0.1:8080"),
        (vec!["--url", url, "--token-file", "/nowhere/token"], "/nowhere/token"),
    ] {
        let arguments: Vec<_> = ["tail"].into_iter().chain(arguments).map(str::to_owned).collect();
        let told = command(&arguments).finished().await;
        assert_eq!(told.code, 1, "{arguments:?}: {}", told.output);
        assert!(told.output.contains(complaint), "{complaint} in {}", told.output);
    }
}
