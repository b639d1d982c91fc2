//! The API against its own document: requests, valid and not, made from /openapi.json, sent to the program; each answer
//! must have a status, headers and a body that the document gives it.

use std::collections::HashMap;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::StreamBody;
use hyper::body::Frame;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

use streamgauge::telemetry::Role;

use crate::support::app::Running;
use crate::support::doors::Reply;
use crate::support::{self, Redis, Settings, now_ms, unique};

const CASES: u32 = 600;
const TOKEN: &str = "read-all-of-it";
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// A request to be.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    method: &'static str,
    /// Parameters by name, in percent escapes already.
    query: Vec<(String, String)>,
    /// What the place holder of the path becomes, in percent escapes.
    name: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Whether nothing is wrong with it.
    valid: bool,
}

impl Asked {
    fn target(&self) -> String {
        let query: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let path = self.path.replace("{name}", &self.name);
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }
}

/// The document, read, and its schemas made ready to check with.
struct Document {
    json: Value,
}

impl Document {
    async fn of(gauge: &Running) -> Document {
        let request = gauge.http().get(gauge.query_url("/openapi.json")).bearer_auth(TOKEN);
        Document { json: gauge.send(request).await.expect(200) }
    }

    fn paths(&self) -> Vec<String> {
        self.json["paths"].as_object().unwrap().keys().cloned().collect()
    }

    fn operation(&self, asked: &Asked) -> &Value {
        &self.json["paths"][&asked.path][asked.method.to_lowercase()]
    }

    /// What a reference stands for, or the value itself.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        self.json.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference} is nowhere"))
    }

    /// Complains unless a value is as a schema says.
    fn matches(&self, schema: &Value, value: &Value) -> Result<(), String> {
        // References in a schema are to the document, so the schema goes with its components.
        let schema = json!({"allOf": [schema], "components": self.json["components"]});
        let validator = jsonschema::draft202012::new(&schema).map_err(|e| format!("the schema is none: {e}"))?;
        let wrong: Vec<_> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Complains unless an answer is one that the document gives to the request.
    fn allows(&self, asked: &Asked, reply: &Reply) -> Result<(), String> {
        let operation = self.operation(asked);
        let response = if operation.is_null() {
            // The token is asked for first.
            let name = match reply.status {
                405 => "MethodNotAllowed",
                401 => "Unauthorized",
                status => return Err(format!("a method that is not documented was answered with {status}")),
            };
            &self.json["components"]["responses"][name]
        } else {
            match &operation["responses"][reply.status.to_string()] {
                Value::Null => return Err(format!("status {} is not documented: {}", reply.status, reply.text())),
                response => self.resolved(response),
            }
        };
        if asked.valid && !operation.is_null() && ![200, 304].contains(&reply.status) {
            return Err(format!("nothing is wrong with it, but: {} {}", reply.status, reply.text()));
        }
        self.headers_match(response, reply)?;
        if asked.method == "HEAD" || reply.status == 304 {
            return if reply.body.is_empty() { Ok(()) } else { Err("there is a body".into()) };
        }
        self.body_matches(response, reply)
    }

    fn headers_match(&self, response: &Value, reply: &Reply) -> Result<(), String> {
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            match reply.headers.get(name) {
                None if header["required"] == true => return Err(format!("no header {name}")),
                None => {}
                Some(sent) => self.matches(&header["schema"], &json!(sent.to_str().unwrap()))?,
            }
        }
        Ok(())
    }

    fn body_matches(&self, response: &Value, reply: &Reply) -> Result<(), String> {
        let sent = reply.headers["content-type"].to_str().unwrap().split(';').next().unwrap();
        let content = &response["content"][sent];
        if content.is_null() {
            return Err(format!("content type {sent} is not documented"));
        }
        match sent {
            "application/json" => self.matches(&content["schema"], &reply.json()),
            "text/csv" => self.matches(&content["schema"], &json!(reply.text())),
            _ => Ok(()),
        }
    }
}

fn escaped(bytes: &[u8]) -> String {
    percent_encode(bytes, NON_ALPHANUMERIC).to_string()
}

/// A value for a parameter: valid by its schema and example, or anything.
fn value(name: &str, schema: &Value) -> BoxedStrategy<(String, bool)> {
    let texts: Vec<String> = match (name, schema["type"].as_str()) {
        ("counter", _) => ["views", "plain"].map(String::from).into(),
        ("window", _) => ["1s", "10s"].map(String::from).into(),
        ("from", _) => {
            let seconds = now_ms() / 1_000;
            vec!["-15m".into(), "-1m".into(), (seconds - 30).to_string(), "2000-01-01T00:00:00Z".into()]
        }
        ("outcome", _) => ["accepted", "refused"].map(String::from).into(),
        ("to", _) => vec!["now".into(), (now_ms() / 1_000 + 30).to_string()],
        (_, Some("integer")) => vec![schema["minimum"].to_string(), "7".into(), schema["maximum"].to_string()],
        _ => vec!["/a".into(), String::new(), "\u{0}\"ü\n".into()],
    };
    let near =
        ["-1", "10001", "9e99", "1760000000000", "-99999999999999999999", "99999999999", "2s", "yesterday", "%ff"];
    let good = prop::sample::select(texts).prop_map(|text| (escaped(text.as_bytes()), true));
    let near = prop::sample::select(near.to_vec()).prop_map(|text| (text.to_owned(), false));
    let any = prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| (escaped(&bytes), false));
    prop_oneof![6 => good, 1 => near, 1 => any].boxed()
}

/// Parameters of an operation, some left out, and now and then one that it does not have or has twice.
fn query(parameters: &[Value]) -> BoxedStrategy<(Vec<(String, String)>, bool)> {
    let wanted = parameters.iter().filter(|parameter| parameter["in"] == "query");
    let each: Vec<_> = wanted
        .map(|parameter| {
            let name = parameter["name"].as_str().unwrap().to_owned();
            let value = value(&name, &parameter["schema"]);
            let is_required = parameter["required"] == true;
            let value = value.prop_map(move |(value, valid)| (name.clone(), value, valid));
            prop::option::of(value).prop_map(move |value| (value.is_some() || !is_required, value))
        })
        .collect();
    let extra = prop_oneof![
        12 => Just(None),
        1 => prop::sample::select(vec!["widow=1", "top=1&top=1", "a%00=", "=", "%ff=1", "key"]).prop_map(Some),
    ];
    (each, extra)
        .prop_map(|(parameters, extra)| {
            let mut valid = extra.is_none();
            let mut query = Vec::new();
            for (complete, parameter) in parameters {
                valid &= complete;
                if let Some((name, value, good)) = parameter {
                    valid &= good;
                    query.push((name, value));
                }
            }
            let extra = extra.map(|extra| extra.split_once('=').unwrap_or((extra, "")));
            query.extend(extra.map(|(name, value)| (name.to_owned(), value.to_owned())));
            (query, valid)
        })
        .boxed()
}

fn headers() -> impl Strategy<Value = (Vec<(&'static str, String)>, bool)> {
    let token = prop_oneof![
        12 => Just((Some(format!("Bearer {TOKEN}")), true)),
        1 => prop::sample::select(vec!["Bearer ", "Basic cmVhZA==", TOKEN]).prop_map(|sent| (Some(sent.to_owned()), false)),
        1 => Just((None, false)),
    ];
    let accept =
        prop::sample::select(vec!["", "*/*", "text/csv", "application/json", "text/csv;q=0.3, */*;q=0.1", ";;,q=x"]);
    let tag = prop::sample::select(vec!["", "*", "W/\"0\"", "\"", "a, b"]);
    // Of a remote read; elsewhere it means nothing, and is a mistake all the same.
    let sent = prop_oneof![
        5 => Just(("", true)),
        5 => Just(("application/x-protobuf", true)),
        1 => prop::sample::select(vec!["application/json", "application/x-protobufs", "?"]).prop_map(|sent| (sent, false)),
    ];
    (token, accept, tag, sent).prop_map(|((token, known), accept, tag, (sent, right))| {
        let valid = known && right;
        let mut headers = vec![("content-type", sent.to_owned())];
        headers.extend(token.map(|token| ("authorization", token)));
        headers.extend([("accept", accept.to_owned()), ("if-none-match", tag.to_owned())]);
        headers.retain(|(_, value)| !value.is_empty());
        (headers, valid)
    })
}

/// Bodies for remote read: the one that asks for nothing, and what is none.
fn body() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let snappy = |bytes: Vec<u8>| snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
    prop_oneof![
        1 => Just((snappy(Vec::new()), true)),
        1 => Just((snappy(vec![0; 300_000]), false)),
        1 => Just((vec![7; 70_000], false)),
        2 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| (bytes, false)),
        2 => prop::collection::vec(any::<u8>(), 0..40).prop_map(move |bytes| (snappy(bytes), false)),
    ]
}

fn asked(document: &Document) -> impl Strategy<Value = Asked> + use<> {
    let mut operations = Vec::new();
    for path in document.paths() {
        for method in METHODS {
            let item = &document.json["paths"][&path];
            let operation = &item[method.to_lowercase()];
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            // What is documented is asked for much more often than what is not, and most often what has most to it.
            let (has_parameters, has_body) = (!parameters.is_empty(), !operation["requestBody"].is_null());
            let weight = 4 + 12 * u32::from(has_parameters) + 28 * u32::from(has_body);
            let weight = if operation.is_null() { 1 } else { weight };
            let path = path.clone();
            let name = prop_oneof![
                8 => prop::sample::select(vec!["views", "plain"]).prop_map(|name| (name.to_owned(), true)),
                1 => prop::sample::select(vec!["view", "VIEWS", "views/", "%00", "plain%20"]).prop_map(|name| (name.to_owned(), false)),
                1 => prop::collection::vec(1_u8.., 3..20).prop_map(|bytes| (escaped(&bytes), false)),
            ];
            let made = (query(&parameters), name, headers(), body()).prop_map(move |(query, name, headers, body)| {
                let named = path.contains("{name}");
                let posts = method == "POST";
                // A counter without keys takes no `key`.
                let no_key = name.0 == "plain" && query.0.iter().any(|(name, _)| name == "key");
                let valid = query.1 && (!named || name.1 && !no_key) && headers.1 && (!posts || body.1);
                let body = if posts { body.0 } else { Vec::new() };
                let (path, query, name, headers) = (path.clone(), query.0, name.0, headers.0);
                Asked { path, method, query, name, headers, body, valid }
            });
            operations.push((weight, made.boxed()));
        }
    }
    prop::strategy::Union::new_weighted(operations)
}

async fn send(gauge: &Running, asked: &Asked) -> Reply {
    let method = Method::from_bytes(asked.method.as_bytes()).unwrap();
    let mut request = gauge.http().request(method, gauge.query_url(&asked.target())).body(asked.body.clone());
    for (name, value) in &asked.headers {
        request = request.header(*name, value);
    }
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    // A stream of events does not end.
    let endless = headers.get("content-type").is_some_and(|sent| sent.as_bytes().starts_with(b"text/event-stream"));
    let body = if endless { Vec::new() } else { response.bytes().await.expect("a body").to_vec() };
    Reply { status, headers, body }
}

/// One file with a few counts in it, under a token.
async fn start(dir: &std::path::Path) -> Running {
    let settings = Settings::embedded(dir).with("query.token", TOKEN).with("pipeline.lateness", "500ms").counting(
        "[[counters]]\nname = \"views\"\nby = [\"payload.path\"]\nwindows = [{ size = \"1s\", keep = \"1h\" }, \
         { size = \"10s\", keep = \"1h\" }]\n\
         [[counters]]\nname = \"plain\"\nwindows = [{ size = \"1s\", keep = \"1h\" }, { size = \"10s\", keep = \"1h\" }]",
    );
    let gauge = Running::start(&settings).await;
    let at = now_ms();
    let event =
        |n: i64| json!({"type": "v", "timestamp": at - n * 700, "payload": {"path": format!("/a\",\n{}", n % 5)}});
    gauge.post(&json!((0..60).map(event).collect::<Vec<_>>())).await;
    gauge
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_one_that_the_document_gives() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = start(dir.path()).await;
    let document = Document::of(&gauge).await;
    assert_eq!(document.json["openapi"], "3.1.0");

    let mut seen: HashMap<(String, &str, u16), u32> = HashMap::new();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let handle = tokio::runtime::Handle::current();
    let strategy = asked(&document);
    let seen_by = std::cell::RefCell::new(&mut seen);
    let ran = tokio::task::block_in_place(|| {
        let ran = runner.run(&strategy, |asked| {
            let reply = handle.block_on(send(&gauge, &asked));
            *seen_by.borrow_mut().entry((asked.path.clone(), asked.method, reply.status)).or_default() += 1;
            document
                .allows(&asked, &reply)
                .map_err(|why| TestCaseError::fail(format!("{} {}: {why}", asked.method, asked.target())))
        });
        ran.map_err(|failed| failed.to_string())
    });
    ran.unwrap_or_else(|failed| panic!("{failed}"));

    // It would be no test if it never got so far.
    let of = |path: &str, status: u16| seen.iter().filter(|((p, _, s), _)| p == path && *s == status).count();
    for (path, status) in [
        ("/api/v1/counters/{name}", 200),
        ("/api/v1/counters/{name}", 400),
        ("/api/v1/counters/{name}", 401),
        ("/api/v1/counters/{name}", 404),
        ("/api/v1/status", 200),
        ("/api/v1/live", 200),
        ("/api/v1/live", 400),
        ("/api/v1/live", 401),
        ("/api/v1/live", 404),
        ("/api/v1/live", 405),
        ("/api/v1/tail", 200),
        ("/api/v1/tail", 400),
        ("/api/v1/tail", 401),
        ("/api/v1/prometheus/read", 200),
        ("/api/v1/prometheus/read", 400),
        ("/api/v1/prometheus/read", 413),
        ("/api/v1/prometheus/read", 415),
        ("/openapi.json", 405),
    ] {
        assert!(of(path, status) > 0, "{path} was never answered with {status}: {seen:?}");
    }
    too_many_wrong_tokens(&gauge, &document).await;
    gauge.stop().await;
}

/// A request that nothing is wrong with, for what the document says is answered with this status.
fn plain(path: &str, method: &'static str) -> Asked {
    let query = if path == "/api/v1/live" { vec![("counter".to_owned(), "page_views".to_owned())] } else { Vec::new() };
    let headers = vec![("authorization", format!("Bearer {TOKEN}"))];
    let body = if method == "POST" { selector() } else { Vec::new() };
    Asked { path: path.to_owned(), method, query, name: "page_views".to_owned(), headers, body, valid: false }
}

/// A remote read that has to look at the store: the totals of the last hour.
fn selector() -> Vec<u8> {
    let varint = |value: i64| {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(value as u64, &mut bytes);
        bytes
    };
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let now = now_ms();
    let matcher = [field(2, b"__name__"), field(3, b"streamgauge_window_total")].concat();
    let query = [vec![1 << 3], varint(now - 3_600_000), vec![2 << 3], varint(now), field(3, &matcher)].concat();
    snap::raw::Encoder::new().compress_vec(&field(1, &query)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_is_answered_as_documented() {
    let (kafka, redis) = (support::kafka().await, Redis::start().await);
    let settings = Settings::kafka(kafka, &redis, &unique("document"), &unique("document")).with("query.token", TOKEN);
    let gauge = Running::start_roles(&settings, &[Role::Query]).await;
    gauge.until_ready().await;
    let document = Document::of(&gauge).await;
    redis.kill();
    gauge.until_admin("/readyz/query", 503).await;
    let mut away = Vec::new();
    for path in document.paths() {
        for method in METHODS {
            let asked = plain(&path, method);
            if document.operation(&asked).is_null() {
                continue;
            }
            let reply = send(&gauge, &asked).await;
            document.allows(&asked, &reply).unwrap_or_else(|why| panic!("{method} {path}: {why}"));
            let is_documented = !document.operation(&asked)["responses"]["503"].is_null();
            assert_eq!(reply.status == 503, is_documented, "{method} {path}: {}", reply.status);
            away.extend(is_documented.then_some(path.clone()));
        }
    }
    assert_eq!(away.len(), 7, "{away:?}");
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_answered_as_documented() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = start(dir.path()).await;
    let document = Document::of(&gauge).await;
    let asked = plain("/api/v1/prometheus/read", "POST");
    let begin = Ok::<_, Infallible>(Frame::data(Bytes::from(asked.body.clone())));
    let unfinished = StreamBody::new(stream::iter([begin]).chain(stream::pending()));
    let request = gauge.http().post(gauge.query_url(&asked.target())).bearer_auth(TOKEN);
    let reply = gauge.send(request.body(reqwest::Body::wrap(unfinished))).await;
    assert_eq!(reply.status, 408, "{}", reply.text());
    document.allows(&asked, &reply).unwrap_or_else(|why| panic!("{why}"));
    gauge.stop().await;
}

/// Whoever tries tokens is told to wait. Last, for then the address is out for a while.
async fn too_many_wrong_tokens(gauge: &Running, document: &Document) {
    let wrong = ("authorization", "Bearer wrong".to_owned());
    let (path, method) = ("/api/v1/status".to_owned(), "GET");
    let (query, name, body) = (Vec::new(), String::new(), Vec::new());
    let asked = Asked { path, method, query, name, headers: vec![wrong], body, valid: false };
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) && statuses.len() < 100 {
        let reply = send(gauge, &asked).await;
        document.allows(&asked, &reply).unwrap_or_else(|why| panic!("{why}"));
        statuses.push(reply.status);
    }
    assert_eq!((statuses.first(), statuses.last()), (Some(&401), Some(&429)), "{statuses:?}");
}
