//! `streamgauge demo`: everything in one process, and nothing else needed.

use std::time::Duration;

use serde_json::json;

use crate::support::app::Demo;
use crate::support::browser::Browser;
use crate::support::doors::{Doors, SOON};
use crate::support::eventually;

/// What the README says: counts on the page within 10 s.
const COUNTS: Duration = Duration::from_secs(10);

/// The addresses that the demo tells its user.
async fn told(demo: &Demo) -> Doors {
    let (ingest, query) = eventually(SOON, "the demo prints its addresses", async || {
        let output = demo.output();
        let urls = || output.split(|c: char| c.is_whitespace() || c == '\'').filter_map(|w| w.strip_prefix("http://"));
        let ingest = urls().find_map(|url| url.strip_suffix("/events"));
        let query = urls().find_map(|url| url.strip_suffix('/'));
        let both = ingest.zip(query).map(|(ingest, query)| (ingest.to_owned(), query.to_owned()));
        both.ok_or(output.clone())
    })
    .await;
    Doors::new(Some(ingest), Some(query), None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_counts_takes_events_and_ends_cleanly() {
    let demo = Demo::start(&[]);
    let doors = told(&demo).await;
    eventually(COUNTS, "page views are counted", async || {
        let answer = doors.counter("page_views", "window=1m&from=-5m").await;
        let counted = answer["buckets"].as_array().unwrap().iter().any(|bucket| bucket["total"].as_u64() > Some(0));
        if counted { Ok(()) } else { Err(answer) }
    })
    .await;
    assert_eq!(doors.get("/").await.status, 200);

    let mine = json!({"type": "page_view", "session_id": "me", "payload": {"path": "/hello"}});
    assert_eq!(doors.post(&mine).await["accepted"], 1);
    eventually(COUNTS, "an event of one's own is counted", async || {
        let answer = doors.counter("page_views", "window=10s&from=-1m&key=/hello").await;
        let buckets = answer["buckets"].as_array().unwrap();
        let count: u64 = buckets.iter().map(|bucket| bucket["keys"][0]["count"].as_u64().unwrap()).sum();
        if count == 1 { Ok(()) } else { Err(answer) }
    })
    .await;
    assert_eq!(doors.status().await["unaccounted"], 0);

    assert_eq!(demo.interrupt().await, 0);
    let left: Vec<_> = std::fs::read_dir(demo.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["log"], "it leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_in_a_given_folder_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for _ in 0..2 {
        let demo = Demo::start(&["--dir", dir.path().to_str().unwrap()]);
        let doors = told(&demo).await;
        let consumed = eventually(COUNTS, "events are counted", async || {
            let status = doors.status().await;
            let consumed = crate::support::doors::consumed(&status);
            if consumed > before { Ok(consumed) } else { Err(status) }
        })
        .await;
        assert_eq!(demo.interrupt().await, 0);
        before = consumed;
    }
}

/// What a click does in the shop, seen on the live page; and what the shop looks like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_in_the_shop_is_seen_on_the_live_page() {
    // Few visitors, so that the new keys are among those that are shown.
    let demo = Demo::start(&["--rate", "1"]);
    let doors = told(&demo).await;
    let output = demo.output();
    let shop = output.lines().find(|line| line.contains("be a visitor")).and_then(|line| {
        let address = line.split_whitespace().find(|word| word.starts_with("http://"))?;
        Some(address.trim_end_matches(',').to_owned())
    });
    let shop = shop.unwrap_or_else(|| panic!("no shop in {output}"));
    let mut browser = Browser::start().await;
    let live = browser.tab();
    browser.open(&doors.query_url("/?counter=clicks&window=1h")).await;
    let visitor = browser.open_tab().await;
    browser.size(1280, 900).await;
    browser.open(&format!("{shop}products/item-0003")).await;
    browser.until("document.querySelectorAll('.actions button').length === 5 && streamgauge.loaded === 1").await;
    browser.eval("document.querySelector('.actions button').dataset.streamgaugeTarget = 'mine', 0").await;
    browser.click(".actions button").await;
    browser.show(&live).await;
    browser.until("document.querySelector('#keys').innerText.includes('mine')").await;

    browser.show(&visitor).await;
    browser.click(".text > button").await;
    browser.click("nav a[href='/cart']").await;
    browser.until("document.querySelector('main a')?.innerText === 'Buy for 59 €'").await;
    browser.click("main a").await;
    browser.until("document.querySelector('#sent').innerText.includes('purchase 59 €')").await;
    browser.click("header .name").await;
    browser.until("document.querySelectorAll('.card').length === 12").await;
    browser.set("#search input", "Zebra").await;
    browser.click("#search button").await;
    browser.until("document.querySelector('h1').innerText === 'Search: zebra'").await;
    let counted = [
        ("page_views", "/products/item-0003"),
        ("page_views", "/search"),
        ("searches", "zebra"),
        ("events", "purchase"),
    ];
    for (counter, key) in counted {
        eventually(COUNTS, key, async || {
            let answer = doors.counter(counter, &format!("window=1h&from=-2h&key={key}")).await;
            let buckets = answer["buckets"].as_array().unwrap();
            let count: u64 = buckets.iter().map(|bucket| bucket["keys"][0]["count"].as_u64().unwrap()).sum();
            if count >= 1 { Ok(()) } else { Err(answer) }
        })
        .await;
    }
    for (path, name) in [("", "home"), ("products/item-0003", "product"), ("search?query=e", "search")] {
        browser.open(&format!("{shop}{path}")).await;
        for theme in ["light", "dark"] {
            browser.theme(theme).await;
            for width in [1280, 390] {
                browser.size(width, 900).await;
                browser.until(&format!("innerWidth === {width} && document.querySelector('h1') !== null")).await;
                let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
                assert_eq!(browser.eval(overflow).await, 0, "{path} at {width} px");
                browser.picture(&format!("shop-{name}-{theme}-{width}")).await;
            }
        }
    }
    browser.assert_content();
    assert_eq!(demo.interrupt().await, 0);
}
