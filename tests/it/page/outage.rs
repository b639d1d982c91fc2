//! What is away is said on the page, and goes from it once it is back.

use serde_json::json;

use crate::support::app::{Binary, Running};
use crate::support::browser::Browser;
use crate::support::{self, Redis, Settings, unique};

const SAYS: &str = "document.querySelector('#banners').innerText";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_away_is_named_until_it_is_back() {
    let (kafka, redis) = (support::kafka().await, Redis::start().await);
    let gauge = Running::start(&Settings::kafka(kafka, &redis, &unique("page"), &unique("page"))).await;
    let view = |path: &str| json!({"type": "page_view", "payload": {"path": path}});
    gauge.post(&view("/before")).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1h")).await;
    browser.until("document.querySelector('#keys')?.innerText.includes('/before')").await;
    redis.kill();
    browser.until(&format!("{SAYS}.includes('The store cannot be read')")).await;
    browser.until("document.querySelector('#pulse').dataset.state === 'lost'").await;
    assert!(browser.text("#keys").await.contains("/before"), "what was seen stays");
    browser.picture("outage").await;
    gauge.post(&view("/meanwhile")).await;
    redis.restart().await;
    browser.until(&format!("{SAYS} === '' && document.querySelector('#pulse').dataset.state === 'live'")).await;
    browser.until("document.querySelector('#keys').innerText.includes('/meanwhile')").await;
    browser.assert_content();
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_said_and_comes_back_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Binary::start("run", &Settings::embedded(dir.path())).await;
    gauge.until_ready().await;
    gauge.post(&json!({"type": "page_view", "payload": {"path": "/before"}})).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1h")).await;
    browser.until("document.querySelector('#keys')?.innerText.includes('/before')").await;
    gauge.kill();
    browser.until(&format!("{SAYS}.includes('The connection to streamgauge is lost')")).await;
    gauge.restart().await;
    browser
        .until(&format!("!{SAYS}.includes('lost') && document.querySelector('#pulse').dataset.state === 'live'"))
        .await;
    // Frozen, so that the connection stays and nothing comes: only the page's own watch can notice.
    gauge.freeze();
    browser.until(&format!("{SAYS}.includes('The connection to streamgauge is lost')")).await;
    gauge.thaw();
    browser
        .until(&format!("!{SAYS}.includes('lost') && document.querySelector('#pulse').dataset.state === 'live'"))
        .await;
    browser.assert_content();
}
