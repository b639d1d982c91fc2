//! Counts that grow old and partitions that stop: said at the top of the page until it is over.

use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use streamgauge::telemetry::Role;

use crate::support::app::{Running, finish};
use crate::support::browser::Browser;
use crate::support::{self, Settings, unique};

const SAYS: &str = "document.querySelector('#banners').innerText";
const ALL_IS_WELL: &str = "document.querySelector('#banners').innerText === '' && document.querySelector('#verdict').innerText.includes('exactly once')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_that_nobody_writes_any_more_are_called_old_as_soon_as_the_server_says_so() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = Settings::kafka(kafka, redis, &unique("stale"), &unique("stale"));
    let counting = [Role::Ingest, Role::Process];
    let processor = Running::start_roles(&settings, &counting).await;
    processor.until_ready().await;
    processor.post(&json!({"type": "page_view"})).await;
    let query = Running::start_roles(&settings, &[Role::Query]).await;
    query.until_ready().await;
    query.until_consumed(1).await;
    let mut browser = Browser::start().await;
    browser.open(&query.query_url("/?counter=page_views&window=1h")).await;
    browser.until(ALL_IS_WELL).await;
    processor.stop().await;
    browser.until(&format!("{SAYS}.includes('Nothing was counted since')")).await;
    // Five flush intervals of 200 ms and the time for a hand-over, where it was 30 s for everybody.
    let age = "Number(document.querySelector('#as-of').innerText.split(' ')[0])";
    let age = browser.eval(age).await.as_f64().unwrap();
    assert!((11.0..20.0).contains(&age), "called old after {age} s");
    assert_eq!(browser.eval("document.querySelector('#verdict').hidden").await, true);
    assert_eq!(browser.eval("document.querySelector('#as-of').classList.contains('off')").await, true);
    assert!(browser.text("#partitions").await.contains("not heard of since"), "running, it said last");
    browser.picture("stale").await;
    let processor = Running::start_roles(&settings, &counting).await;
    browser.until(ALL_IS_WELL).await;
    browser.assert_content();
    query.stop().await;
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_stopped_is_named_with_its_reason_until_it_goes_on() {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let topic = kafka.topic("stopped", 1).await;
    let settings = Settings::kafka(kafka, redis, &topic, &unique("stopped"));
    let event = json!({"type": "page_view", "session_id": "s"});
    let gauge = Running::start(&settings).await;
    gauge.post(&json!([event, event])).await;
    gauge.until_consumed(2).await;
    gauge.stop().await;
    let front = Running::start_roles(&settings, &[Role::Ingest]).await;
    front.post(&json!([event, event, event])).await;
    front.stop().await;
    let mut below = TopicPartitionList::new();
    below.add_partition_offset(&topic, 0, Offset::Offset(4)).unwrap();
    kafka.admin().delete_records(&below, &AdminOptions::new()).await.unwrap();

    let gauge = Running::start_roles(&settings, &Role::ALL).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1h")).await;
    browser
        .until(&format!(
            "{SAYS}?.includes('Stopped: partition 0: offsets 2-3 of partition 0 are no longer in the topic')"
        ))
        .await;
    assert!(!browser.text("#banners").await.contains("Nothing is counted"), "one thing is said once");
    let reason = browser.text("#partitions .reason").await;
    assert!(reason.contains("accept-gap"), "{reason}");
    let processor =
        "[...document.querySelectorAll('#pipeline > li')].find((li) => li.innerText.startsWith('Processor'))";
    assert_eq!(browser.eval(&format!("{processor}.dataset.state")).await, "bad");
    browser.picture("stopped").await;
    assert_eq!(finish(&["accept-gap"], &settings).await.code, 0);
    browser.until(ALL_IS_WELL).await;
    assert!(
        browser.text("#verdict").await.contains("but for 2 that the log had lost"),
        "gaps that were accepted are told"
    );
    browser.assert_content();
    gauge.stop().await;
}

/// What no test can make a store say at will: the page's own modules are asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lag_that_is_not_known_is_not_taken_for_none() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/")).await;
    browser.until("document.querySelector('#pulse')?.dataset.state === 'live'").await;
    let lag = |records: &str, seconds: &str| format!("{{lag_records: {records}, lag_seconds: {seconds}}}");
    for (partitions, told) in [
        (vec![], json!({"seconds": null, "records": null, "unknown": 0})),
        (vec![lag("0", "0")], json!({"seconds": 0, "records": 0, "unknown": 0})),
        (vec![lag("0", "0"), lag("null", "null")], json!({"seconds": 0, "records": 0, "unknown": 1})),
        (vec![lag("3", "7.5"), lag("2", "1"), lag("9", "null")], json!({"seconds": 7.5, "records": 5, "unknown": 1})),
        (vec![lag("null", "null")], json!({"seconds": null, "records": null, "unknown": 1})),
    ] {
        let script = format!("import('/assets/rates.js').then((rates) => rates.lagOf([{}]))", partitions.join(","));
        assert_eq!(browser.eval(&script).await, told, "{partitions:?}");
    }
    gauge.stop().await;
}
