//! How it looks: both themes, a narrow screen, many keys, and an address that shows the same to others.

use serde_json::{Value, json};

use crate::support::app::Running;
use crate::support::browser::Browser;
use crate::support::{Settings, now_ms};

/// The colour of the ground, as red + green + blue.
const GROUND: &str = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)\
                      .reduce((a, b) => a + b)";
/// By how many pixels the page is wider than the screen.
const OVERFLOW: &str = "document.documentElement.scrollWidth - document.documentElement.clientWidth";

/// Page views of some pages, over the last ten minutes.
async fn fill(gauge: &Running) -> u64 {
    let now = now_ms();
    let event = |n: i64| {
        let path = format!("/products/{}", (n * n) % 17);
        json!({"type": "page_view", "timestamp": now - (n % 600) * 1_000, "payload": {"path": path}})
    };
    let events: Vec<Value> = (0..3_000).map(event).collect();
    gauge.post(&json!(events)).await;
    gauge.until_consumed(3_000).await;
    3_000
}

async fn shown(browser: &mut Browser) {
    browser.until("document.querySelectorAll('#keys td.key').length > 3").await;
    browser.until("document.querySelector('#pulse').dataset.state === 'live'").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_fits_both_themes_and_a_narrow_screen() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    fill(&gauge).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/")).await;
    shown(&mut browser).await;
    for (theme, is_dark) in [("light", false), ("dark", true)] {
        browser.theme(theme).await;
        let ground = browser.eval(GROUND).await.as_i64().unwrap();
        assert_eq!(ground < 200, is_dark, "{theme}: {ground}");
        for (width, height) in [(1280, 1600), (768, 1000), (360, 2600)] {
            browser.size(width, height).await;
            browser
                .until(&format!(
                    "innerWidth === {width} && document.querySelector('#chart canvas').clientWidth < {width}"
                ))
                .await;
            assert_eq!(browser.eval(OVERFLOW).await, 0, "{theme} at {width} px");
            browser.picture(&format!("{theme}-{width}")).await;
        }
    }
    browser.assert_content();
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_keys_are_shown_by_their_top_and_found_by_a_filter() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    for batch in 0..10 {
        let event = |n: u32| json!({"type": "page_view", "payload": {"path": format!("/k/{n:05}")}});
        let events: Vec<Value> = (batch * 1_000..(batch + 1) * 1_000).map(event).collect();
        gauge.post(&json!(events)).await;
    }
    gauge.until_consumed(10_000).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1h")).await;
    browser.until("document.querySelector('#keys').innerText.includes('all other keys (9,980)')").await;
    assert_eq!(browser.eval("document.querySelectorAll('#keys tr').length").await, 21);
    browser.set("#filter", "k/098").await;
    browser.until("document.querySelector('#keys-note').innerText === '100 of the 10,000 highest keys match.'").await;
    assert_eq!(browser.text("#keys tr:first-child td").await, "/k/09800");
    // The same is shown to whoever gets the address.
    let address = browser.eval("location.href").await.as_str().unwrap().to_owned();
    assert!(address.contains("filter=k%2F098"), "{address}");
    browser.open("about:blank").await;
    browser.open(&address).await;
    browser.until("document.querySelector('#keys-note')?.innerText === '100 of the 10,000 highest keys match.'").await;
    browser.set("#filter", "no such key").await;
    browser.until("document.querySelector('#keys-note').innerText === '0 of the 10,000 highest keys match.'").await;
    browser.assert_content();
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_the_address_pick_a_window_and_a_table_tells_what_the_chart_does() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let total = fill(&gauge).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1m&range=1800")).await;
    shown(&mut browser).await;
    browser.click("#twin summary").await;
    browser.until("document.querySelectorAll('#windows tr').length === 30").await;
    let column = "[...document.querySelectorAll('#windows td.n')].reduce((sum, c) => sum + Number(c.innerText.replace(',', '')), 0)";
    assert_eq!(browser.eval(column).await, total);
    let newest = browser.text("#readout").await;
    browser.eval("document.querySelector('#chart').focus()").await;
    for _ in 0..3 {
        browser.press("ArrowLeft").await;
    }
    browser.until("new URLSearchParams(location.search).has('at')").await;
    let picked = browser.text("#readout").await;
    assert_ne!(picked, newest);
    browser.until("document.querySelector('#keys').innerText.includes('/products/')").await;
    let title = browser.text("#keys-title").await;
    let address = browser.eval("location.href").await.as_str().unwrap().to_owned();
    let mut other = Browser::start().await;
    other.open(&address).await;
    shown(&mut other).await;
    assert_eq!((other.text("#keys-title").await, other.text("#readout").await), (title, picked));
    other.click("#follow").await;
    other.until("!new URLSearchParams(location.search).has('at')").await;
    other.set("#counter", "events").await;
    other.until("document.querySelector('#keys').innerText.includes('page_view')").await;
    browser.assert_content();
    other.assert_content();
    gauge.stop().await;
}
