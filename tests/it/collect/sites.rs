//! Write keys and origins.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{BY_SITE, stored};
use crate::support::app::{Binary, Running, finish_text};
use crate::support::doors::Reply;
use crate::support::{Settings, now_ms};

const SITES: &str = r#"
[[sites]]
name = "shop"
write_keys = ["shop-key-1", "shop-key-2"]
allowed_origins = ["https://shop.example", "https://*.shop.example"]

[[sites]]
name = "api"
write_keys = ["api-key"]
"#;

const EVENT: &str = r#"{"type":"page_view","context_free":true}"#;

async fn post(gauge: &Running, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let request = gauge.http().post(gauge.ingest_url(path)).body(body.to_owned());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    gauge.send(request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_comes_in_each_way_and_says_whose_event_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).counting(BY_SITE).with_sites(SITES);
    let gauge = Running::start(&settings).await;
    let wrapped = |key: &str| json!({"write_key": key, "events": [{"type": "page_view"}]}).to_string();
    for (path, headers, body) in [
        ("/events", &[("x-write-key", "shop-key-1")][..], EVENT.to_owned()),
        ("/events", &[("authorization", "Bearer shop-key-2")], EVENT.to_owned()),
        ("/events?write_key=shop-key-1", &[("content-type", "text/plain")], EVENT.to_owned()),
        ("/events", &[("content-type", "text/plain;charset=UTF-8")], wrapped("shop-key-2")),
        ("/events", &[("x-write-key", "api-key")], wrapped("shop-key-1")),
    ] {
        assert_eq!(post(&gauge, path, headers, &body).await.expect(202)["accepted"], 1, "{path} {headers:?}");
    }
    let site_in_event = r#"{"type":"page_view","context":{"site":"shop"}}"#;
    let forged = post(&gauge, "/events", &[("x-write-key", "api-key")], site_in_event).await.expect(400);
    assert_eq!(forged["field"], "context", "{forged}");

    for (path, headers, body, named) in [
        ("/events", &[][..], EVENT.to_owned(), "a write key is needed"),
        ("/events", &[("content-type", "application/x-ndjson")], EVENT.to_owned(), "a write key is needed"),
        ("/events", &[("content-type", "text/html")], EVENT.to_owned(), "a write key is needed"),
        ("/events", &[], "no JSON".to_owned(), "a write key is needed"),
        ("/events", &[("x-write-key", "shop-key")], EVENT.to_owned(), "not known"),
        ("/events?write_key=SHOP-KEY-1", &[], EVENT.to_owned(), "not known"),
        ("/events?dry_run=1", &[], EVENT.to_owned(), "a write key is needed"),
        ("/events", &[], wrapped("other"), "not known"),
    ] {
        let reply = post(&gauge, path, headers, &body).await;
        let answer = reply.expect(401);
        assert!(answer["error"].as_str().unwrap().contains(named), "{path} {headers:?}: {answer}");
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
    }
    gauge.until_consumed(5).await;
    let sites: Vec<_> = stored(&settings).iter().map(|record| record["context"].clone()).collect();
    assert_eq!(sites, ["shop", "shop", "shop", "shop", "api"].map(|site| json!({"site": site})));
    let hour = now_ms() / 3_600_000 * 3_600;
    let answer = gauge.counter("by_site", &format!("from={}", hour - 3_600)).await;
    let buckets = answer["buckets"].as_array().unwrap();
    let count = |site: &str| -> u64 {
        let keys = buckets.iter().flat_map(|bucket| bucket["keys"].as_array().unwrap());
        keys.filter(|key| key["key"] == site).map(|key| key["count"].as_u64().unwrap()).sum()
    };
    assert_eq!((count("shop"), count("api"), count("")), (4, 1, 0), "{answer}");
    assert_eq!(refused(&gauge, "no_key").await + refused(&gauge, "unknown_key").await, 8);
    gauge.stop().await;
}

/// Requests that were refused for this reason.
async fn refused(gauge: &Running, reason: &str) -> u64 {
    let metrics = gauge.admin("/metrics").await.text();
    let line = format!("streamgauge_ingest_refused_requests_total{{reason=\"{reason}\"}} ");
    let value = metrics.lines().find_map(|at| at.strip_prefix(&line)).unwrap_or_else(|| panic!("no {reason}"));
    value.parse().unwrap()
}

/// What a browser is told: whose pages may read the answer.
fn told(headers: &HeaderMap) -> Option<&str> {
    assert!(!headers.contains_key("access-control-allow-credentials"), "{headers:?}");
    headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_send_from_their_own_origins_only() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path()).with_sites(SITES)).await;
    let send = async |key: &str, origin: &str| {
        post(&gauge, "/events", &[("x-write-key", key), ("origin", origin)], EVENT).await
    };
    for origin in ["https://shop.example", "https://www.shop.example"] {
        let reply = send("shop-key-1", origin).await;
        assert_eq!((reply.status, told(&reply.headers)), (202, Some(origin)));
        assert_eq!(reply.headers["vary"], "origin");
        // An answer that refuses can be read as well.
        let reply = send("wrong", origin).await;
        assert_eq!((reply.status, told(&reply.headers)), (401, Some(origin)));
    }
    for (key, origin) in [
        ("shop-key-1", "https://evil.example"),
        ("shop-key-1", "http://shop.example"),
        ("shop-key-1", "https://shop.example.evil"),
        ("shop-key-1", "null"),
        ("api-key", "https://shop.example"),
    ] {
        let reply = send(key, origin).await;
        assert_eq!((reply.status, told(&reply.headers)), (403, None), "{key} {origin}");
        assert!(reply.json()["error"].as_str().unwrap().contains("origin"), "{}", reply.text());
    }
    let in_body = json!({"write_key": "shop-key-1", "events": [{"type": "page_view"}]}).to_string();
    let reply = post(&gauge, "/events", &[("origin", "https://evil.example")], &in_body).await;
    assert_eq!((reply.status, told(&reply.headers)), (403, None));

    for (origin, allowed) in [("https://a.shop.example", true), ("https://evil.example", false)] {
        let preflight = gauge.http().request(Method::OPTIONS, gauge.ingest_url("/events")).header("origin", origin);
        let preflight = preflight.header("access-control-request-method", "POST");
        let reply = gauge.send(preflight.header("access-control-request-headers", "x-write-key")).await;
        assert_eq!((reply.status, told(&reply.headers)), (204, allowed.then_some(origin)));
        assert_eq!(reply.headers["vary"], "origin");
        let headers = reply.headers["access-control-allow-headers"].to_str().unwrap();
        for header in ["content-type", "content-encoding", "authorization", "x-write-key", "x-sent-at"] {
            assert!(headers.split(", ").any(|name| name == header), "{header} in {headers}");
        }
    }
    gauge.until_consumed(2).await;
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_takes_events_without_a_key_as_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).with_sites(SITES).with("ingest.open", true);
    let gauge = Running::start(&settings).await;
    let reply = post(&gauge, "/events", &[("origin", "https://evil.example")], EVENT).await;
    assert_eq!((reply.status, told(&reply.headers)), (202, Some("*")));
    post(&gauge, "/events", &[("x-write-key", "api-key")], EVENT).await.expect(202);
    post(&gauge, "/events", &[("x-write-key", "api-kay")], EVENT).await.expect(401);
    let sites: Vec<_> = stored(&settings).iter().map(|record| record["context"]["site"].clone()).collect();
    assert_eq!(sites, [Value::Null, json!("api")]);
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_keys_stand_in_no_output_and_read_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    std::fs::write(&file, "hunter2-in-a-file\n").unwrap();
    let sites = format!("{SITES}write_keys_file = {file:?}\n");
    let settings = Settings::embedded(dir.path()).with_sites(&sites).with("query.token", "a-token-of-readers");
    let binary = Binary::prepare(&[], "run", &settings);
    binary.spawn_with(&[("STREAMGAUGE_LOG", "trace")]);
    binary.until_ready().await;
    for key in ["shop-key-1", "hunter2-in-a-file", "hunter2-of-nobody"] {
        let status = if key.ends_with("nobody") { 401 } else { 202 };
        for request in [
            binary.events("application/json", EVENT).header("x-write-key", key),
            binary.http().post(binary.ingest_url(&format!("/events?write_key={key}"))).body(EVENT),
            binary.events("text/plain", json!({"write_key": key, "events": [{"type": "a"}]}).to_string()),
        ] {
            assert_eq!(binary.send(request).await.status, status, "{key}");
        }
        let reading = binary.http().get(binary.query_url("/api/v1/status")).bearer_auth(key);
        assert_eq!(binary.send(reading).await.status, 401);
    }
    let output = binary.output();
    assert!(output.contains("request refused"), "{output}");
    for secret in ["shop-key", "api-key", "hunter2"] {
        assert!(!output.contains(secret), "{secret} in {output}");
    }
}

#[tokio::test]
async fn sites_that_share_a_key_or_a_name_do_not_start() {
    let two = |name: &str, key: &str| {
        format!(
            "[[sites]]\nname = \"a\"\nwrite_keys = [\"hunter2\"]\n[[sites]]\nname = \"{name}\"\nwrite_keys = [\"{key}\"]\n"
        )
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2\n").unwrap();
    let in_file = format!("{}write_keys_file = {:?}\n", two("b", "other"), file.path());
    for (toml, named) in [
        (two("a", "other"), ":5:1: site `a` is defined twice"),
        (two("b", "hunter2"), ":5:1: site `b` has a write key in common with `a`"),
        (two("b", "hunter 2"), ":5:1: site `b`: a write key has"),
        (in_file, "site `b` has a write key in common with `a`"),
        (two("b", "k") + "write_keys_file = \"no/such/file\"\n", "no/such/file"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let toml = format!("{toml}{}", Settings::embedded(dir.path()).to_toml());
        let finished = finish_text(&["run"], &toml).await;
        assert!(finished.code != 0 && finished.output.contains(named), "{named}: {}", finished.output);
        assert!(!finished.output.contains("hunter2"), "{}", finished.output);
    }
}
