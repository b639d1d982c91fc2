//! Clocks that are wrong by years, and clocks that are set while a page is there.

use super::{Mood, Stage};
use crate::support::now_ms;

/// How far the time of an event may be from its receipt, where it was not kept waiting.
const CLOSE_MS: i64 = 90_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_years_off_counts_now() {
    let mut stage = Stage::new().await;
    stage.own_clock().await;
    stage.page("/", "", "");
    stage.visit("/").await;
    stage.until_kept(0).await;
    let year = 365 * 86_400_000_i64;
    let mut views = 1;
    // Among them: the first of January 1970, and a year that the server does not take.
    for skew in [-20 * year, 30 * year, 120 * year, -now_ms() + 5_000, 2 * 86_400_000] {
        stage.set_clock(skew).await;
        stage.visit("/").await;
        stage.send(&["hello"]).await;
        stage.until_kept(0).await;
        views += 1;
        let events = stage.sent_once(&[("page_view", views), ("hello", views - 1)]).await;
        for event in &events[events.len() - 2..] {
            let off = event["timestamp"].as_i64().unwrap() - event["received_at"].as_i64().unwrap();
            assert!(off.abs() < CLOSE_MS, "{off} ms with a clock that is {skew} ms off: {event}");
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_neither_loses_nor_keeps_what_waits() {
    let mut stage = Stage::new().await;
    stage.own_clock().await;
    stage.page("/", "", "");
    stage.visit("/").await;
    stage.until_kept(0).await;
    let mut count = 0;
    for jump in [-400, 400, -1, 1] {
        // They wait on the same page: its clock is not the one that is set.
        stage.door.becomes(&[Mood::Answer(429, Some(1)), Mood::Pass]);
        stage.send(&["waits"]).await;
        stage.until_tried(0).await;
        stage.set_clock(jump * 86_400_000).await;
        stage.until_kept(0).await;
        count += 1;
        let events = stage.sent_once(&[("page_view", 1), ("waits", count)]).await;
        let off = events[events.len() - 1]["timestamp"].as_i64().unwrap() - now_ms();
        assert!(off.abs() < CLOSE_MS, "{off}");
    }
    // On the next page only the stored times are left: what seems to come from the future is taken for new.
    stage.set_clock(0).await;
    stage.visit("/").await;
    stage.until_kept(0).await;
    stage.door.becomes(&[Mood::Answer(429, Some(3_600)), Mood::Pass]);
    stage.send(&["left"]).await;
    stage.until_came(stage.door.came().len()).await;
    stage
        .browser
        .until("performance.getEntriesByType('resource').filter((e) => e.responseStatus == 429).length == 1")
        .await;
    stage.until_tried(0).await;
    stage.set_clock(-40 * 86_400_000).await;
    stage.visit("/").await;
    stage.until_kept(0).await;
    let events = stage.sent_once(&[("page_view", 3), ("waits", count), ("left", 1)]).await;
    let left = events.iter().find(|event| event["event_type"] == "left").unwrap();
    let off = left["timestamp"].as_i64().unwrap() - left["received_at"].as_i64().unwrap();
    assert!(off.abs() < CLOSE_MS, "{left}");
    stage.end().await;
}
