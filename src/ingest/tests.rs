//! The door as a client sees it: what is posted, and what is answered.

use super::{Config, Counts, Ingest, Site};
use crate::counter::{Counters, Timing, default_specs};
use crate::event::{Door, Event};
use crate::http::{Body, Limits, Server};
use crate::log::testing::FakeLog;
use crate::log::{LogError, NewRecord};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

struct World {
    ingest: Ingest,
    log: Arc<FakeLog>,
    metrics: Arc<Metrics>,
}

#[derive(serde::Deserialize)]
struct Sites {
    #[serde(default)]
    sites: Vec<Site>,
}

struct Answer {
    status: u16,
    headers: hyper::HeaderMap,
    body: Value,
}

impl World {
    fn new() -> World {
        World::with(Config::default(), FakeLog::default())
    }

    fn with(config: Config, log: FakeLog) -> World {
        World::of(config, "", log)
    }

    /// The same with these `[[sites]]`.
    fn of(config: Config, sites: &str, log: FakeLog) -> World {
        let sites: Sites = toml::from_str(sites).unwrap();
        config.validate(&sites.sites).unwrap();
        let (log, metrics) = (Arc::new(log), Arc::new(Metrics::new().unwrap()));
        let timing = Timing { lateness_ms: 5_000, max_ahead_ms: 60_000 };
        let counts = Counts { counters: Arc::new(Counters::new(default_specs()).unwrap()), timing };
        let ingest = Ingest::new(config, &sites.sites, counts, log.clone(), metrics.clone()).unwrap();
        World { ingest, log, metrics }
    }

    async fn send<B>(&self, request: Request<B>) -> Answer
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let answer = read(self.ingest.answer(request).await).await;
        assert_eq!(self.metrics.ingest_in_flight_bytes.get(), 0, "nothing is held after the answer");
        answer
    }

    async fn post(&self, content_type: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::post("/events").header("content-type", content_type);
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    async fn post_json(&self, body: impl Into<Bytes>) -> Answer {
        self.post("application/json", body).await
    }

    fn records(&self) -> Vec<NewRecord> {
        self.log.records.lock().unwrap().clone()
    }

    fn events(&self, result: &str) -> u64 {
        self.metrics.ingest_events_total.with_label_values(&[result]).get()
    }

    fn requests(&self, code: &str) -> u64 {
        self.metrics.ingest_requests_total.with_label_values(&[code]).get()
    }
}

async fn read(response: Response<Body>) -> Answer {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

#[tokio::test]
async fn good_events_are_stored_and_bad_ones_are_named() {
    let world = World::new();
    let body =
        r#"[{"type":"view","id":"a","session_id":"s"}, {"type":"view","timestamp":"now"}, {"event_type":"click"}]"#;
    let answer = world.post_json(body).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let made = answer.body["event_ids"][1].as_str().unwrap().to_owned();
    assert_eq!(
        answer.body,
        json!({"accepted": 2, "rejected": 1, "stored": "disk", "event_ids": ["a", made], "errors": [{
            "index": 1, "field": "timestamp", "error": answer.body["errors"][0]["error"],
        }]})
    );
    assert!(answer.body["errors"][0]["error"].as_str().unwrap().contains("RFC 3339"));
    let records = world.records();
    let key = |index: usize| records[index].key.as_deref();
    assert_eq!([key(0), key(1)], [Some(&b"s"[..]), Some(made.as_bytes())]);
    let event = Event::parse(records[1].value.as_deref().unwrap(), Door::Topic).unwrap();
    assert_eq!(event.event_id.as_deref(), Some(&*made));
    assert!(event.received_at_ms.is_some() && event.timestamp_ms == event.received_at_ms);
    assert_eq!((world.events("accepted"), world.events("rejected"), world.requests("202")), (2, 1, 1));
    assert_eq!(world.metrics.ingest_request_seconds.get_sample_count(), 1);
}

#[tokio::test]
async fn each_form_and_content_type_is_taken() {
    let world = World::new();
    let one = r#"{"type":"view"}"#;
    for (content_type, body, events) in [
        ("application/json", one.to_owned(), 1),
        ("application/json; charset=utf-8", format!(r#"{{"events":[{one},{one}]}}"#), 2),
        ("application/x-ndjson", format!("{one}\n\n{one}\n"), 2),
        ("text/plain;charset=UTF-8", one.to_owned(), 1),
        ("text/plain", format!("[{one},{one},{one}]"), 3),
        ("text/plain", format!("{one}\n{one}"), 2),
    ] {
        let answer = world.post(content_type, body).await;
        assert_eq!((answer.status, answer.body["accepted"].as_u64()), (202, Some(events)), "{content_type}");
    }
    let answer = world.send(Request::post("/events?v=1").body(Full::from(one)).unwrap()).await;
    assert_eq!(answer.status, 202, "without a content type it is JSON");
    assert_eq!(world.records().len(), 12);
}

#[tokio::test]
async fn the_configured_key_decides() {
    let config = toml::from_str("key = \"payload.shop\"").unwrap();
    let world = World::with(config, FakeLog::default());
    world.post_json(r#"{"type":"buy","session_id":"s","payload":{"shop":7}}"#).await;
    assert_eq!(world.records()[0].key.as_deref(), Some(&b"7"[..]));
}

#[tokio::test]
async fn every_bad_body_has_a_clear_answer() {
    let world = World::new();
    let deep = |levels: usize| "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
    for (body, field, message) in [
        (&b""[..], Value::Null, "the body is empty"),
        (b" \n", Value::Null, "the body is empty"),
        (b"[]", Value::Null, "no events"),
        (b"{\"events\":[]}", Value::Null, "no events"),
        (b"{\"events\":{}}", json!("events"), "must be an array"),
        (b"hello", Value::Null, "not valid JSON: expected value"),
        (b"[{\"type\":\"view\"},", Value::Null, "not valid JSON: EOF while parsing a value at line 1 column 17"),
        (b"{\"type\":\"view\"", Value::Null, "EOF"),
        (b"{\"type\":\"view\"}{\"type\":\"view\"}", Value::Null, "trailing characters"),
        (b"17", Value::Null, "this is a number"),
        (b"\0\0\0", Value::Null, "not valid JSON"),
        (b"{\"type\":\"a\0\"}", json!("type"), "control character"),
        (b"{\"type\":\"a\\u0000\"}", json!("type"), "control character"),
        (b"{\"type\":\"\xff\"}", Value::Null, "not UTF-8: the byte at 9"),
        (b"[{\"type\":\"\xff\"}]", Value::Null, "not UTF-8: the byte at 10"),
        (b"{}", json!("event_type"), "is missing"),
        (b"{\"event_type\":7}", json!("event_type"), "must be a string"),
        (b"{\"type\":\"a\",\"type\":\"b\"}", json!("type"), "twice"),
        (b"{\"type\":\"a\",\"timestamp\":9e15}", json!("timestamp"), "integer milliseconds"),
        (b"{\"type\":\"a\",\"timestamp\":99999999999999}", json!("timestamp"), "years 2000 to 2100"),
        (b"{\"type\":\"a\",\"context\":{}}", json!("context"), "set by ingest"),
        (b"{\"type\":\"a\",\"payload\":{\"x\":\"\\ud800\"}}", Value::Null, "surrogate"),
        (format!("{{\"type\":\"a\",\"payload\":{}}}", deep(1_000)).as_bytes(), json!("payload"), "deeper than 32"),
        (deep(10_000).as_bytes(), json!("event_type"), "is missing"),
        ("[".repeat(100_000).as_bytes(), Value::Null, "not valid JSON: EOF"),
        (format!("{{\"type\":\"{}\"}}", "x".repeat(1 << 19)).as_bytes(), Value::Null, "at most 65536"),
        (b"[{},{}]", Value::Null, "none of the 2 events"),
    ] {
        let shown: String = String::from_utf8_lossy(body).chars().take(60).collect();
        let answer = world.post_json(body.to_vec()).await;
        assert_eq!(answer.status, 400, "{shown}");
        assert_eq!(answer.body["field"], field, "{shown}: {}", answer.body);
        let error = answer.body["error"].as_str().unwrap();
        assert!(error.contains(message) && error.len() < 200, "{shown}: {error}");
    }
    assert_eq!(world.records(), []);
}

#[tokio::test]
async fn when_nothing_is_accepted_each_event_is_named() {
    let world = World::new();
    let answer = world.post("application/x-ndjson", "{}\nnot json\n\n{\"type\":\"\"}").await;
    assert_eq!(answer.status, 400);
    assert_eq!((&answer.body["accepted"], &answer.body["rejected"]), (&json!(0), &json!(3)));
    assert_eq!(answer.body["event_ids"], json!([]));
    let places: Vec<_> = answer.body["errors"].as_array().unwrap().iter().map(|e| (&e["index"], &e["field"])).collect();
    assert_eq!(places, [(&json!(0), &json!("event_type")), (&json!(1), &Value::Null), (&json!(2), &json!("type"))]);
    assert_eq!((world.events("rejected"), world.requests("400")), (3, 1));
}

#[tokio::test]
async fn a_broken_event_does_not_lose_the_good_ones() {
    let world = World::new();
    let lines = "{\"type\":\"a\"}\n{\"type\":\n{\"type\":\"\u{1f600}\"}\n".as_bytes().to_vec();
    let lines = [&lines[..], b"{\"type\":\"\xff\"}\n", b"{\"type\":\"b\"}"].concat();
    let answer = world.post("application/x-ndjson", lines).await;
    assert_eq!((answer.status, &answer.body["accepted"], &answer.body["rejected"]), (202, &json!(3), &json!(2)));
    let large = format!(r#"[{{"type":"a"}},{{"type":"b","payload":{{"x":"{}"}}}}]"#, "x".repeat(65_536));
    let answer = world.post_json(large).await;
    assert_eq!((answer.status, &answer.body["errors"][0]["index"]), (202, &json!(1)));
    assert!(answer.body["errors"][0].get("field").is_none());
    let types: Vec<_> = world
        .records()
        .into_iter()
        .map(|record| String::from_utf8(record.headers[0].value.clone().unwrap().into_owned()).unwrap())
        .collect();
    assert_eq!(types, ["a", "\u{1f600}", "b", "a"]);
}

#[tokio::test]
async fn what_is_not_an_event_request_is_refused_by_its_head() {
    let world = World::new();
    let request = |method: &str, path: &str| Request::builder().method(method).uri(path);
    let empty = Full::<Bytes>::default;
    let answer = world.send(request("GET", "/events").body(empty()).unwrap()).await;
    assert_eq!((answer.status, &answer.headers["allow"]), (405, &"POST, OPTIONS".parse().unwrap()));
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    for path in ["/", "/event", "/events/", "/events/x"] {
        let answer = world.send(request("POST", path).body(Full::from("{}")).unwrap()).await;
        assert_eq!(answer.status, 404);
        assert!(answer.body["error"].as_str().unwrap().contains("POST events to /events"));
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    let answer = world.post("application/xml", "<event/>").await;
    assert_eq!(answer.status, 415);
    assert!(answer.body["error"].as_str().unwrap().contains("application/x-ndjson"));
    for (encoding, message) in [("br", "gzip, deflate or zstd"), ("gzip, zstd", "compress once")] {
        let request = Request::post("/events").header("content-encoding", encoding).body(Full::from("x")).unwrap();
        let answer = world.send(request).await;
        assert_eq!(answer.status, 415);
        assert!(answer.body["error"].as_str().unwrap().contains(message), "{}", answer.body);
    }
    let plain = Request::post("/events").header("content-encoding", "Identity");
    assert_eq!(world.send(plain.body(Full::from(r#"{"type":"a"}"#)).unwrap()).await.status, 202);
    assert_eq!((world.requests("404"), world.requests("405"), world.requests("415")), (4, 1, 3));
}

#[tokio::test]
async fn browsers_are_let_in() {
    let world = World::new();
    let preflight = Request::options("/events")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let answer = world.send(preflight.body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!((answer.status, answer.body), (204, Value::Null));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "POST"),
        (
            "access-control-allow-headers",
            "content-type, content-encoding, authorization, x-write-key, x-sent-at, traceparent",
        ),
        ("access-control-max-age", "86400"),
    ] {
        assert_eq!(answer.headers[name], value);
    }
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
}

type Piece = Result<Frame<Bytes>, io::Error>;

fn streamed(pieces: Vec<Piece>, then_silence: bool) -> impl hyper::body::Body<Data = Bytes, Error = io::Error> + Unpin {
    use futures_util::{FutureExt, StreamExt};
    let silence = std::future::pending::<Piece>().into_stream().take(usize::from(then_silence));
    StreamBody::new(Box::pin(stream::iter(pieces).chain(silence)))
}

fn pieces(number: usize, bytes: usize) -> Vec<Piece> {
    (0..number).map(|_| Ok(Frame::data(Bytes::from(vec![b' '; bytes])))).collect()
}

#[tokio::test]
async fn a_body_is_held_to_its_size_time_and_memory() {
    let text = "max_body = \"8KiB\"\nmax_inflated = \"8KiB\"\nmax_event = \"1KiB\"\nmax_in_flight = \"8KiB\"\n\
                body_timeout = \"30ms\"\nmax_events = 2";
    let world = World::with(toml::from_str(text).unwrap(), FakeLog::default());
    let post = |body| Request::post("/events").body(body).unwrap();

    let mut parts: Vec<_> = [r#"[{"type":"#, r#""a"},"#, r#"{"type":"b"}]"#].map(|p| Ok(Frame::data(p.into()))).into();
    parts.push(Ok(Frame::trailers(hyper::HeaderMap::new())));
    assert_eq!(world.send(post(streamed(parts, false))).await.status, 202);

    assert_eq!(world.post_json(vec![b' '; 8 * 1024 + 1]).await.status, 413);
    let answer = world.send(post(streamed(pieces(9, 1024), false))).await;
    assert_eq!(answer.status, 413);
    assert!(answer.body["error"].as_str().unwrap().contains("8192 bytes"));
    assert_eq!(world.post_json("[1,2,3]").await.status, 413);

    let answer = world.send(post(streamed(pieces(1, 10), true))).await;
    assert_eq!((answer.status, &answer.headers["connection"]), (408, &"close".parse().unwrap()));
    let broken = vec![Err(io::Error::other("reset"))];
    assert_eq!(world.send(post(streamed(broken, false))).await.status, 400);

    let slow = world.ingest.answer(post(streamed(pieces(5, 1024), true)));
    let other = async {
        tokio::task::yield_now().await;
        assert_eq!(world.metrics.ingest_in_flight_bytes.get(), 5 * 1024);
        read(world.ingest.answer(post(streamed(pieces(4, 1024), false))).await).await
    };
    let (slow, other) = tokio::join!(slow, other);
    assert_eq!((slow.status(), other.status), (StatusCode::REQUEST_TIMEOUT, 503));
    assert!(other.headers.contains_key("retry-after"));
    assert_eq!(world.metrics.ingest_in_flight_bytes.get(), 0);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_never_answered_with_success() {
    let away: fn() -> LogError = || LogError::NoTopic("secret-topic".into());
    for (failing, silent) in [(Some(away), false), (None, true)] {
        let mut world = World::with(Config::default(), FakeLog { failing, silent, ..FakeLog::default() });
        world.ingest.append_timeout = Duration::from_millis(20);
        let answer = world.post_json(r#"[{"type":"a"},{}]"#).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.headers["retry-after"], "5");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        let error = answer.body["error"].as_str().unwrap();
        assert!(error.contains("same event_id") && !error.contains("secret-topic"), "{error}");
        assert_eq!((world.events("failed"), world.events("accepted"), world.events("rejected")), (1, 0, 1));
        assert_eq!(world.records(), []);
    }
}

#[tokio::test]
async fn an_event_that_the_log_can_never_take_is_not_sent_again() {
    let world = World::with(Config::default(), FakeLog { failing: Some(|| LogError::TooLarge), ..FakeLog::default() });
    let answer = world.post_json(r#"{"type":"a"}"#).await;
    assert_eq!((answer.status, answer.headers.contains_key("retry-after")), (413, false));
    assert_eq!(world.events("failed"), 1);
}

#[tokio::test]
async fn a_request_that_goes_away_gives_back_what_it_held() {
    let world = World::with(Config::default(), FakeLog { silent: true, ..FakeLog::default() });
    let request = Request::post("/events").body(Full::<Bytes>::from(r#"{"type":"a"}"#)).unwrap();
    let answer = tokio::time::timeout(Duration::from_millis(10), world.ingest.answer(request)).await;
    assert!(answer.is_err());
    assert_eq!(world.metrics.ingest_in_flight_bytes.get(), 0);
}

/// Serves on a real socket and hands the address to the client.
async fn serving<F: Future<Output = ()>>(client: impl FnOnce(SocketAddr) -> F) {
    let world = World::new();
    let listen = Config::default().listen;
    let any_port = SocketAddr::new(listen.ip(), 0);
    let server = Server::bind(any_port, "ingest", Limits::default(), world.metrics.clone()).await.unwrap();
    let (addr, shutdown) = (server.local_addr(), Shutdown::new());
    let running = tokio::spawn(server.run(Arc::new(world.ingest), shutdown.clone()));
    client(addr).await;
    shutdown.begin();
    running.await.unwrap();
}

/// Sends this and returns what comes back first.
async fn exchange(addr: SocketAddr, head: &'static str) -> String {
    let exchange = move || {
        let mut connection = TcpStream::connect(addr)?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        connection.write_all(head.as_bytes())?;
        let mut answer = vec![0; 64 * 1024];
        let read = connection.read(&mut answer)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer[..read]).into_owned())
    };
    tokio::task::spawn_blocking(exchange).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_client_that_sends_too_much_sees_the_answer() {
    serving(|addr| async move {
        let client = reqwest::Client::new();
        let url = format!("http://{addr}/events");
        let answer = client.post(&url).body(vec![b'x'; 12 << 20]).send().await.unwrap();
        assert_eq!(answer.status(), 413);
        let answer = client.post(&url).header("content-type", "image/png").body(vec![b'x'; 4 << 20]).send().await;
        assert_eq!(answer.unwrap().status(), 415);
        let answer = client.post(&url).body(r#"{"type":"view"}"#).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_before_it_sends() {
    serving(|addr| async move {
        let head = "POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\nexpect: 100-continue\r\n\r\n";
        let answer = exchange(addr, head).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    })
    .await;
}
