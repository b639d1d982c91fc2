//! No network, an ingest that has no time, answers that get lost, and pages that end: nothing is lost that was never sent,
//! and nothing counts twice.

use serde_json::{Value, json};

use super::{Mood, Stage};
use crate::support::doors::sum;

const HOUR_MS: i64 = 3_600_000;

/// How many events the requests had that came, and by which ids.
fn ids(stage: &Stage) -> Vec<Vec<Value>> {
    let events = |came: &super::door::Came| came.body["events"].as_array().expect("events").clone();
    stage.door.came().iter().map(|came| events(came).iter().map(|event| event["id"].clone()).collect()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_last_is_sent_when_the_tab_is_closed() {
    let mut stage = Stage::new().await;
    stage.own_clock().await;
    stage.page("/", "", "");
    stage.visit("/").await;
    stage.until_kept(0).await;
    let first = stage.browser.tab();
    let second = stage.browser.open_tab().await;
    stage.own_clock().await;
    stage.browser.go_on_in(&first);
    // Before the time is over for which it collects events.
    stage.send(&["last", "very_last"]).await;
    stage.browser.go_on_in(&second);
    stage.browser.close(&first).await;
    stage.sent_once(&[("page_view", 1), ("last", 1), ("very_last", 1)]).await;
    assert!(stage.door.came()[1].content_type.starts_with("text/plain"));
    // Nobody saw the answer: the next page asks once more, and the server tells that they are the same.
    stage.visit("/next").await;
    // Its own view is answered before it ends, or that would be asked for once more, too.
    stage.until_kept(2).await;
    stage.set_clock(6_000).await;
    stage.visit("/after").await;
    stage.until_kept(0).await;
    stage.counted(&[("page_view", 3), ("last", 1), ("very_last", 1)]).await;
    assert_eq!(sum(&stage.gauge.status().await, "duplicate"), 2);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_network_events_wait_on_this_page_and_the_next() {
    let mut stage = Stage::new().await;
    // The network of the page itself stays, so that it can be loaded again: only the browser says that there is none, and
    // nothing gets through to ingest.
    stage.own_clock().await;
    let network = "Object.defineProperty(Navigator.prototype, 'onLine', {get: () => !localStorage.away})";
    stage.browser.before_pages(network).await;
    stage.page("/", "", "");
    stage.visit("/").await;
    stage.until_kept(0).await;
    stage.door.becomes(&[Mood::Cut]);
    stage.run("localStorage.away = 1, 0").await;
    stage.send(&["a", "b", "c"]).await;
    stage.until_came(2).await;
    stage.until_tried(0).await;
    assert_eq!(stage.kept().await, 3);
    // Twelve hours later, on another page.
    stage.set_clock(12 * HOUR_MS).await;
    stage.visit("/again").await;
    stage.until_kept(4).await;
    stage.until_came(3).await;
    stage.until_tried(0).await;
    stage.door.becomes(&[Mood::Pass]);
    stage.run("delete localStorage.away, dispatchEvent(new Event('online')), 0").await;
    stage.until_kept(0).await;
    stage.sent_once(&[("page_view", 2), ("a", 1), ("b", 1), ("c", 1)]).await;
    // A day is too long.
    stage.door.becomes(&[Mood::Cut]);
    stage.run("localStorage.away = 1, 0").await;
    stage.send(&["old"]).await;
    stage.until_came(5).await;
    stage.until_tried(0).await;
    stage.set_clock(36 * HOUR_MS + 60_000).await;
    stage.visit("/tomorrow").await;
    stage.until_kept(1).await;
    stage.door.becomes(&[Mood::Pass]);
    stage.run("delete localStorage.away, dispatchEvent(new Event('online')), 0").await;
    stage.until_kept(0).await;
    stage.sent_once(&[("page_view", 3), ("a", 1), ("b", 1), ("c", 1)]).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_goes_offline_sends_when_it_is_back() {
    let mut stage = Stage::new().await;
    stage.page("/", "", "");
    stage.visit("/").await;
    stage.until_kept(0).await;
    stage.browser.offline(true).await;
    stage.browser.until("!navigator.onLine").await;
    stage.send(&["a", "b"]).await;
    stage
        .browser
        .until("performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/events')).length > 1")
        .await;
    stage.until_tried(0).await;
    stage.send(&["c"]).await;
    assert_eq!((stage.kept().await, stage.door.came().len()), (3, 1));
    stage.browser.offline(false).await;
    stage.until_kept(0).await;
    stage.sent_once(&[("page_view", 1), ("a", 1), ("b", 1), ("c", 1)]).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_as_long_as_it_is_told_and_finds_out_with_one_event() {
    let mut stage = Stage::new().await;
    stage.page("/", "", "");
    stage.door.becomes(&[Mood::Answer(503, Some(2)), Mood::Answer(503, None), Mood::Answer(429, Some(1)), Mood::Pass]);
    stage.visit("/").await;
    stage.until_came(1).await;
    let refused = stage.run("performance.now()").await.as_f64().unwrap();
    // New events, a network and a tab that is hidden are no reasons to come earlier.
    stage.send(&["a", "b", "c"]).await;
    stage.run("dispatchEvent(new Event('online')), dispatchEvent(new Event('pagehide')), 0").await;
    stage.until_came(2).await;
    let again = stage.run("performance.now()").await.as_f64().unwrap();
    assert!(again - refused > 1_500.0, "it came after {} ms", again - refused);
    stage.until_kept(0).await;
    stage.sent_once(&[("page_view", 1), ("a", 1), ("b", 1), ("c", 1)]).await;
    let ids = ids(&stage);
    assert_eq!(ids.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 1, 3], "one at a time while it fails");
    assert!(ids[1] == ids[0] && ids[3] == ids[0], "by the same ids: {ids:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_of_the_site_delays_and_loses_nothing() {
    let site = "[[sites]]\nname = \"shop\"\nwrite_keys = [\"w1\"]\nallowed_origins = [\"*\"]\nrate_limit = 1";
    let mut stage = Stage::with_sites(site).await;
    stage.page("/", "data-key=w1", "");
    stage.visit("/").await;
    stage.until_kept(0).await;
    for (requests, event_type) in (2..).zip(["a", "b", "c"]) {
        stage.send(&[event_type]).await;
        stage.until_came(requests).await;
    }
    stage.until_kept(0).await;
    let events = stage.sent_once(&[("page_view", 1), ("a", 1), ("b", 1), ("c", 1)]).await;
    assert!(events.iter().all(|event| event["context"]["site"] == "shop"), "{events:#?}");
    let metrics = stage.gauge.admin("/metrics").await.text();
    assert!(!metrics.contains("streamgauge_ingest_requests_total{code=\"429\"} 0"), "nothing was refused");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_without_an_answer_counts_once() {
    let mut stage = Stage::new().await;
    stage.page("/", "", "");
    stage.door.becomes(&[Mood::Lose, Mood::Lose, Mood::Cut, Mood::Pass]);
    stage.visit("/").await;
    stage.send(&["a", "b"]).await;
    stage.until_kept(0).await;
    stage.counted(&[("page_view", 1), ("a", 1), ("b", 1)]).await;
    let sent = ids(&stage);
    assert!(sent.len() >= 4 && sent[1..3].iter().all(|again| sent[0].starts_with(again)), "{sent:?}");
    assert!(stage.events().len() > 3, "nothing came twice, so nothing was tried");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_arrived_is_given_up_after_two_minutes() {
    let mut stage = Stage::new().await;
    stage.own_clock().await;
    stage.page("/", "", "");
    stage.door.becomes(&[Mood::Lose, Mood::Cut]);
    stage.visit("/").await;
    stage.until_tried(1).await;
    stage.send(&["new"]).await;
    stage.until_came(3).await;
    stage.counted(&[("page_view", 1)]).await;
    stage.set_clock(121_000).await;
    stage.door.becomes(&[Mood::Pass]);
    stage.until_kept(0).await;
    let events = stage.sent_once(&[("page_view", 1), ("new", 1)]).await;
    // The same on another page: what one left behind is not sent by the next.
    stage.door.becomes(&[Mood::Lose, Mood::Cut]);
    stage.send(&["left"]).await;
    stage.until_tried(1).await;
    stage.counted(&[("page_view", 1), ("new", 1), ("left", 1)]).await;
    stage.set_clock(243_000).await;
    stage.door.becomes(&[Mood::Pass]);
    stage.visit("/next").await;
    stage.until_kept(0).await;
    stage.sent_once(&[("page_view", 2), ("new", 1), ("left", 1)]).await;
    assert_eq!(events.len(), 2);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_share_what_waits_and_count_it_once() {
    let mut stage = Stage::new().await;
    stage.own_clock().await;
    stage.page("/", "", "");
    let first = stage.browser.tab();
    stage.visit("/").await;
    stage.until_kept(0).await;
    // The first one is told to wait, and the second one does not know of that.
    stage.door.becomes(&[Mood::Answer(429, Some(15)), Mood::Pass]);
    stage.send(&["a", "b"]).await;
    stage.until_came(2).await;
    stage.until_tried(0).await;
    stage.send(&["c"]).await;
    let second = stage.browser.open_tab().await;
    stage.own_clock().await;
    stage.visit("/second").await;
    stage.send(&["d"]).await;
    stage.set_clock(6_000).await;
    stage.visit("/third").await;
    stage.until_kept(0).await;
    let all = [("page_view", 3), ("a", 1), ("b", 1), ("c", 1), ("d", 1)];
    stage.counted(&all).await;
    // The first one still has in mind what the second one has sent for it.
    stage.browser.go_on_in(&first);
    stage.browser.close(&second).await;
    let came = stage.door.came().len();
    stage.send(&["e"]).await;
    stage.until_came(came + 1).await;
    stage.until_kept(0).await;
    stage.counted(&[("page_view", 3), ("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)]).await;
    let sent: Vec<_> = ids(&stage)[came..].iter().map(Vec::len).collect();
    assert_eq!(sent, [1], "it sent what another one had sent");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_all_is_not_the_end_of_each() {
    let mut stage = Stage::new().await;
    stage.page("/", "", "");
    for status in [413, 400] {
        stage.visit("/").await;
        stage.until_kept(0).await;
        let came = stage.door.came().len();
        stage.door.becomes(&[Mood::Answer(status, None), Mood::Pass]);
        stage.send(&["a", "b", "c"]).await;
        stage.until_kept(0).await;
        assert_eq!(ids(&stage)[came..].iter().map(Vec::len).collect::<Vec<_>>(), [3, 1, 2], "{status}");
    }
    stage.sent_once(&[("page_view", 2), ("a", 2), ("b", 2), ("c", 2)]).await;
    // Where the page is at fault nothing is tried again.
    stage.door.becomes(&[Mood::Answer(401, None), Mood::Pass]);
    stage.send(&["unknown"]).await;
    stage.until_kept(0).await;
    stage.send(&["known"]).await;
    stage.until_kept(0).await;
    stage.sent_once(&[("page_view", 2), ("a", 2), ("b", 2), ("c", 2), ("known", 1)]).await;
    assert!(stage.browser.warnings().join(" ").contains("of the door"), "{:?}", stage.browser.warnings());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_minutes_loses_only_what_may_have_arrived() {
    let mut stage = Stage::new().await;
    stage.own_clock().await;
    stage.page("/", "", "");
    stage.visit("/").await;
    stage.until_kept(0).await;
    stage.door.becomes(&[Mood::Cut]);
    stage.send(&["probe"]).await;
    stage.until_tried(1).await;
    stage.run("for (let n = 0; n < 30; n++) streamgauge('waits', {n}), 0").await;
    stage.until_came(4).await;
    assert_eq!(stage.kept().await, 31);
    stage.until_tried(1).await;
    stage.set_clock(600_000).await;
    stage.door.becomes(&[Mood::Pass]);
    stage.until_kept(0).await;
    let events = stage.sent_once(&[("page_view", 1), ("waits", 30)]).await;
    assert_eq!(events[30]["payload"], json!({"n": 29}));
    stage.end().await;
}
