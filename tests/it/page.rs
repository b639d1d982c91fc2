//! The live page: served so that a browser runs nothing but it, and true in a real one.

mod access;
mod asking;
mod hops;
mod login;
mod looks;
mod measured;
mod outage;
mod trouble;

use serde_json::json;

use crate::support::Settings;
use crate::support::app::Running;
use crate::support::browser::Browser;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_what_it_loads_are_served_and_nothing_of_it_is_inline() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let page = gauge.get("/").await;
    assert_eq!((page.status, &page.headers["content-type"]), (200, &"text/html; charset=utf-8".parse().unwrap()));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let html = page.text();
    for script in html.split("<script").skip(1) {
        let (tag, rest) = script.split_once('>').unwrap();
        assert!(tag.contains("src=") && rest.starts_with("</script>"), "{tag}");
    }
    let loaded: Vec<_> = html.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert!(loaded.len() >= 2, "{loaded:?}");
    for path in loaded {
        let asset = gauge.get(path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert!(asset.headers.contains_key("content-security-policy"), "{path}");
        assert_eq!(asset.headers["x-content-type-options"], "nosniff");
    }
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_what_is_counted_and_what_comes_in_while_it_looks() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let view = |path: &str| json!({"type": "page_view", "payload": {"path": path}});
    gauge.post(&json!([view("/first"), view("/first"), view("/second")])).await;
    gauge.until_consumed(3).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1h")).await;
    browser.until("document.querySelector('#keys')?.innerText.includes('/first')").await;
    browser.until("document.querySelector('#rate-note').innerText === '3 in all'").await;
    browser.until("document.querySelector('#pulse').dataset.state === 'live'").await;
    assert!(browser.text("#keys tr:first-child").await.contains("66.7"), "the share of the first of two keys");
    assert_eq!(browser.eval("document.querySelectorAll('#pipeline > li').length").await, 4);
    assert!(browser.text("#partitions").await.contains("running"));
    assert!(browser.eval("document.querySelectorAll('#chart canvas').length > 0").await == true);
    assert_eq!(browser.text("#banners").await, "");

    gauge.post(&json!([view("/while/it/looks")])).await;
    browser.until("document.querySelector('#keys').innerText.includes('/while/it/looks')").await;
    browser.until("document.querySelector('#rate-note').innerText === '4 in all'").await;

    browser.click("#pause").await;
    browser.until("document.querySelector('#banners').innerText.includes('Paused')").await;
    gauge.post(&json!([view("/during/the/pause")])).await;
    gauge.until_consumed(5).await;
    assert_eq!(browser.text("#rate-note").await, "4 in all");
    browser.click("#pause").await;
    browser.until("document.querySelector('#keys').innerText.includes('/during/the/pause')").await;
    browser.assert_content();
    // With the page still open: a stream must not hold up the drain.
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_events_are_text_whatever_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let hostile = [
        "<img src=x onerror=\"document.title='taken over'\">",
        "</table><script>document.title='taken over'</script>",
        "{{constructor.constructor('document.title=1')()}}",
        "javascript:document.title='taken over'",
        "\u{202e}desrever \u{0}\u{feff}",
    ];
    let events: Vec<_> = hostile.iter().map(|path| json!({"type": "page_view", "payload": {"path": path}})).collect();
    gauge.post(&json!(events)).await;
    gauge.until_consumed(hostile.len() as u64).await;
    let mut browser = Browser::start().await;
    let filter = "%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D1%22%3E";
    browser.open(&gauge.query_url("/?counter=page_views&window=1h")).await;
    browser.until("document.querySelectorAll('#keys td.key').length === 5").await;
    let shown = browser.eval("[...document.querySelectorAll('#keys td.key')].map((c) => c.textContent)").await;
    for text in hostile {
        assert!(shown.as_array().unwrap().contains(&text.into()), "{text} in {shown}");
    }
    for url in
        ["/?counter=page_views&window=1h".to_owned(), format!("/?counter={filter}&window={filter}&filter={filter}")]
    {
        browser.open(&gauge.query_url(&url)).await;
        browser.until("document.querySelector('#pulse')?.dataset.state === 'live'").await;
        assert_eq!(browser.eval("document.title").await, "streamgauge");
        assert_eq!(browser.eval("document.querySelectorAll('main img, main script').length").await, 0);
    }
    browser.assert_content();
    gauge.stop().await;
}
