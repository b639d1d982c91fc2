//! What one client may take, over real sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::stored;
use crate::support::Settings;
use crate::support::app::Running;
use crate::support::doors::Reply;

const EVENT: &str = r#"{"type":"page_view"}"#;

async fn post(gauge: &Running, headers: &[(&str, &str)]) -> Reply {
    let request = gauge.events("application/json", EVENT);
    gauge.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

/// Posts until one is refused for its rate, and returns that answer.
async fn until_limited(gauge: &Running, headers: &[(&str, &str)]) -> Reply {
    for _ in 0..1_000 {
        let reply = post(gauge, headers).await;
        if reply.status == 429 {
            let wait: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
            assert!(reply.json()["error"].as_str().unwrap().contains("try again"), "{}", reply.text());
            return reply;
        }
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    panic!("1,000 requests were taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_asks_too_often_waits_and_the_others_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let sites = "[[sites]]\nname = \"a\"\nwrite_keys = [\"one\", \"two\"]\nrate_limit = 1\n\
                 [[sites]]\nname = \"b\"\nwrite_keys = [\"three\"]\n";
    let gauge = Running::start(&Settings::embedded(dir.path()).with_sites(sites)).await;
    let limited = until_limited(&gauge, &[("x-write-key", "one")]).await;
    assert!(limited.text().contains("write key"), "{}", limited.text());
    for other in ["two", "three"] {
        assert_eq!(post(&gauge, &[("x-write-key", other)]).await.status, 202, "{other}");
    }
    let text = gauge.admin("/metrics").await.text();
    assert!(text.contains("streamgauge_ingest_refused_requests_total{reason=\"key_rate\"} 1"), "{text}");
    gauge.stop().await;
}

/// Whether requests that say that they come from different addresses are counted together.
async fn is_one_client(gauge: &Running, header: &str, says: impl Fn(u32) -> String) -> bool {
    let mut limited = false;
    for n in 0..100 {
        limited |= post(gauge, &[(header, &says(n))]).await.status == 429;
    }
    limited
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_asks_too_often_waits_and_only_our_proxies_say_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path()).with("ingest.rate_limit", 1);
    // Nobody is trusted: whatever a client says, it is one client.
    let gauge = Running::start(&settings).await;
    assert!(is_one_client(&gauge, "x-forwarded-for", |n| format!("198.51.100.{n}")).await);
    assert!(is_one_client(&gauge, "forwarded", |n| format!("for=198.51.100.{n}")).await);
    gauge.stop().await;

    let dir = tempfile::tempdir().unwrap();
    let trusted = toml::Value::try_from(["127.0.0.0/8", "10.0.0.0/8"]).unwrap();
    let settings = Settings::embedded(dir.path()).with("ingest.rate_limit", 1).with("ingest.trusted_proxies", trusted);
    let gauge = Running::start(&settings).await;
    until_limited(&gauge, &[("x-forwarded-for", "198.51.100.1")]).await;
    until_limited(&gauge, &[("forwarded", "for=\"[2001:db8::1]:80\"")]).await;
    for (name, value) in [
        ("x-forwarded-for", "198.51.100.1, 198.51.100.2, 10.1.2.3"),
        ("forwarded", "for=198.51.100.1, for=198.51.100.3;proto=https"),
        ("forwarded", "for=\"[2001:db8:0:1::1]\""),
    ] {
        assert_eq!(post(&gauge, &[(name, value)]).await.status, 202, "{value}");
    }
    // What a client makes up on the left helps nobody, nor another address of the same network.
    assert!(is_one_client(&gauge, "x-forwarded-for", |n| format!("203.0.113.{n}, 198.51.100.1")).await);
    assert!(is_one_client(&gauge, "forwarded", |n| format!("for=\"[2001:db8::{n}]\"")).await);
    assert!(!is_one_client(&gauge, "forwarded", |n| format!("for=192.0.2.{n}")).await);
    let stored = serde_json::to_string(&stored(&settings)).unwrap();
    assert!(!stored.contains("198.51") && !stored.contains("2001:db8"), "addresses are not kept");
    gauge.stop().await;
}

/// Sends all of it at once and reads until the server closes, or is silent for long.
fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answers = Vec::new();
    // A close with bytes unread is a reset.
    let _ = stream.read_to_end(&mut answers);
    String::from_utf8_lossy(&answers).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_is_configured_and_answers_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path())
        .with("ingest.max_body", "2KiB")
        .with("ingest.max_inflated", "4KiB")
        .with("ingest.max_event", "1KiB")
        .with("ingest.max_events", 3)
        .with("ingest.max_header", "2KiB")
        .with("ingest.header_timeout", "300ms")
        .with("ingest.body_timeout", "300ms");
    let gauge = Running::start(&settings).await;
    let send = async |body: Vec<u8>, encoding: &str| {
        // The server closes what is silent for long: each request has a connection of its own.
        let request = gauge.events("application/json", body).header("connection", "close");
        let reply = gauge.send(request.header("content-encoding", encoding)).await;
        (reply.status, reply.json()["error"].as_str().unwrap_or_default().to_owned())
    };
    for (body, encoding, status, named) in [
        (vec![b' '; 2_049], "identity", 413, "2048 bytes"),
        (super::gzip(&[b' '; 4_097]), "gzip", 413, "4096 bytes"),
        (super::gzip(&[b' '; 4_096]), "gzip", 400, "is empty"),
        (format!("[{}]", [EVENT; 4].join(",")).into_bytes(), "identity", 413, "at most 3"),
        (format!("{{\"type\":\"{}\"}}", "x".repeat(1_024)).into_bytes(), "identity", 400, "at most 1024"),
    ] {
        let (found, error) = send(body, encoding).await;
        assert!(found == status && error.contains(named), "{named}: {found} {error}");
    }
    let address = gauge.ingest_url("").replace("http://", "");
    let large_head = format!("POST /events HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "a".repeat(3_000));
    let half_head = "POST /events HTTP/1.1\r\nhost:".to_owned();
    let half_body = "POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n{".to_owned();
    for (bytes, status) in [(large_head, Some("431")), (half_head, None), (half_body, Some("408"))] {
        let address = address.clone();
        let answers = tokio::task::spawn_blocking(move || exchange(&address, bytes.as_bytes())).await.unwrap();
        let found = statuses(&answers);
        assert!(found.first().copied() == status || status.is_none() && found == ["408"], "{status:?}: {answers}");
    }
    let text = gauge.admin("/metrics").await.text();
    assert!(text.contains("streamgauge_connections_refused_total{listener=\"ingest\"} 2"), "{text}");
    assert!(text.contains("streamgauge_ingest_refused_requests_total{reason=\"incomplete\"} 1"), "{text}");
    assert!(text.contains("streamgauge_ingest_refused_requests_total{reason=\"too_large\"} 3"), "{text}");
    assert!(text.contains("streamgauge_ingest_refused_events_total{reason=\"event_too_large\"} 1"), "{text}");
    assert_eq!(post(&gauge, &[("connection", "close")]).await.status, 202);
    gauge.stop().await;
}
