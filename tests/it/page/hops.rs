//! The way of an event, hop by hop: what is seen where, and what is said of what is seen elsewhere.

use serde_json::json;
use streamgauge::telemetry::Role;

use crate::support::app::Running;
use crate::support::browser::Browser;
use crate::support::doors::SOON;
use crate::support::topic::Raw;
use crate::support::{self, Settings, eventually, unique};

/// What a hop says beside a word.
fn fact(hop: &str, label: &str) -> String {
    format!(
        "[...document.querySelectorAll('#pipeline > li')].find((li) => li.querySelector('h3').textContent.startsWith('{hop}'))\
         ?.querySelectorAll('dl div').values().find((row) => row.querySelector('dt').textContent === '{label}')\
         ?.querySelector('dd').textContent"
    )
}

fn state(hop: &str) -> String {
    format!(
        "[...document.querySelectorAll('#pipeline > li')].find((li) => li.querySelector('h3').textContent.startsWith('{hop}'))\
         ?.dataset.state"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hop_tells_its_errors_and_what_became_of_the_rest() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = unique("hops");
    let gauge = Running::start(&Settings::kafka(kafka, redis, &topic, &unique("hops"))).await;
    let view = |id: &str, at: i64| json!({"type": "page_view", "id": id, "session_id": "s", "timestamp": at});
    gauge.post(&json!([view("once", support::now_ms()), view("once", support::now_ms())])).await;
    gauge.until_consumed(2).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1h")).await;
    browser.until(&format!("{} === '2'", fact("Ingest", "accepted"))).await;
    browser.until(&format!("{} === '1'", fact("Processor", "duplicates"))).await;
    for (hop, label) in [("Ingest", "errors"), ("Log", "lost"), ("Store", "errors"), ("Store", "unaccounted")] {
        assert_eq!(browser.eval(&fact(hop, label)).await, "0", "{hop}: {label}");
    }

    // What goes wrong while somebody looks is told as new.
    let bad = json!([{"type": "page_view"}, {"type": ""}, {"kind": "none"}]);
    gauge.send(gauge.events("application/json", bad.to_string())).await.expect(202);
    gauge.send(gauge.events("application/json", "no JSON")).await.expect(400);
    gauge.post(&json!(view("of old", 1_000_000_000_000))).await;
    kafka.produce(&topic, [Raw { value: Some(b"no event".to_vec()), ..Raw::default() }]).await;
    for (hop, label, told) in [
        ("Ingest", "accepted", "4"),
        ("Ingest", "rejected", "3 (+3)"),
        ("Ingest", "refused", "1 (+1)"),
        ("Processor", "too late", "1 (+1)"),
        ("Processor", "dead letters", "1 (+1)"),
    ] {
        browser.until(&format!("{} === '{told}'", fact(hop, label))).await;
    }
    assert_eq!(browser.eval(&state("Processor")).await, "warn", "dead letters have just come");
    let title = "document.querySelector('#pipeline dl div').title";
    assert!(browser.eval(title).await.as_str().unwrap().contains("stored in the log"));
    browser.assert_content();
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_sees_is_said_to_be_elsewhere_and_not_zero() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = Settings::kafka(kafka, redis, &unique("hops"), &unique("hops"));
    let front = Running::start_roles(&settings, &[Role::Ingest, Role::Process]).await;
    front.until_ready().await;
    front.post(&json!({"type": "page_view"})).await;
    let query = Running::start_roles(&settings, &[Role::Query]).await;
    eventually(SOON, "it is counted", async || {
        let status = query.try_send(query.http().get(query.query_url("/api/v1/status"))).await;
        let text = status.map_err(|e| e.to_string())?.text();
        if text.contains("\"counted\":1") { Ok(()) } else { Err(text) }
    })
    .await;
    let mut browser = Browser::start().await;
    browser.open(&query.query_url("/?counter=page_views&window=1h")).await;
    browser.until(&format!("{} === '0'", fact("Processor", "duplicates"))).await;
    assert_eq!(browser.eval(&fact("Ingest", "errors")).await, "not in this process – see Grafana's Overview");
    for (hop, label) in [("Log", "errors"), ("Store", "conflicts"), ("Store", "errors")] {
        assert_eq!(browser.eval(&fact(hop, label)).await, "–", "{hop}: {label}");
    }
    assert!(browser.text("#pipeline-note").await.contains("not in this process"));
    assert_eq!(browser.text("#banners").await, "");
    browser.assert_content();
    query.stop().await;
    front.stop().await;
}
