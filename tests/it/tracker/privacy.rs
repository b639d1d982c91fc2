//! Who does not want to be followed is not; and storage that is blocked, full, or holds anything.

use super::{Mood, Stage};

const BLOCKED: &str =
    "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('blocked', 'SecurityError') }})";

/// Fills the storage to the last character.
const FILL: &str = "for (let size = 1 << 22; size; size >>= 1) try { for (;;) localStorage['full' + Math.random()] = 'x'.repeat(size) } catch {}";

/// Opens a page whose tracker does nothing.
async fn visit_privately(stage: &mut Stage, path: &str) {
    let url = stage.url(path);
    stage.browser.open(&url).await;
    stage
        .browser
        .until("document.readyState === 'complete' && window.streamgauge && String(streamgauge).length < 20")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn global_privacy_control_is_always_heeded_and_do_not_track_where_the_site_wants() {
    let mut stage = Stage::new().await;
    stage.page("/", "data-key=w", "<button data-streamgauge=click>a</button>");
    stage.page("/dnt", "data-key=w data-dnt", "");
    stage.browser.before_pages("Object.defineProperty(navigator, 'doNotTrack', {get: () => '1'})").await;
    visit_privately(&mut stage, "/dnt").await;
    stage.send(&["no"]).await;
    stage.visit("/").await;
    stage.send(&["yes"]).await;
    stage.until_kept(0).await;
    stage.sent_once(&[("page_view", 1), ("yes", 1)]).await;
    // What waited when the user changed their mind is gone, and nothing comes on top.
    stage
        .run(
            "localStorage['streamgauge:w:1-2-3-4'] = '[\"streamgauge:w:1-2-3-4\",{},0,100]', localStorage.other = 1, 0",
        )
        .await;
    stage.browser.before_pages("Object.defineProperty(navigator, 'globalPrivacyControl', {get: () => true})").await;
    visit_privately(&mut stage, "/?private").await;
    stage.send(&["no"]).await;
    stage.browser.click("button").await;
    stage.run("history.pushState({}, '', '/more'), dispatchEvent(new Event('pagehide')), 0").await;
    assert_eq!(stage.run("Object.keys(localStorage)").await, serde_json::json!(["other"]));
    stage.sent_once(&[("page_view", 1), ("yes", 1)]).await;
    assert_eq!(
        stage.run("performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/events')).length").await,
        0
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_storage_everything_works_that_needs_none() {
    let mut stage = Stage::new().await;
    stage.page("/", "", "");
    let frame = format!("<!doctype html>{}<script>streamgauge('framed')</script>", stage.tag("data-manual"))
        .replace('"', "&quot;");
    stage.door.page(
        "/frame",
        &format!(
            "<!doctype html>{}<iframe sandbox=allow-scripts srcdoc=\"{frame}\"></iframe>",
            stage.tag("data-manual")
        ),
    );
    stage.browser.before_pages(BLOCKED).await;
    stage.door.becomes(&[Mood::Answer(503, None), Mood::Lose, Mood::Pass]);
    stage.visit("/").await;
    stage.send(&["a", "b"]).await;
    stage.counted(&[("page_view", 1), ("a", 1), ("b", 1)]).await;
    stage.visit("/frame").await;
    stage.counted(&[("page_view", 1), ("a", 1), ("b", 1), ("framed", 1)]).await;
    let tab = stage.browser.tab();
    stage.browser.open_tab().await;
    stage.browser.go_on_in(&tab);
    stage.send(&["last"]).await;
    stage.browser.close(&tab).await;
    stage.counted(&[("page_view", 1), ("a", 1), ("b", 1), ("framed", 1), ("last", 1)]).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_that_is_full_or_holds_anything_does_no_harm() {
    let mut stage = Stage::new().await;
    stage.page("/", "data-key=w", "");
    stage.page("/blank", "data-key=w data-manual", "");
    stage.visit("/blank").await;
    let url = stage.url("/blank");
    let junk = "['null', '5', '{}', '[', '[1]', '[null,null,null,null]', '[\"streamgauge:w:x\",null,0,1]', ''].map((junk, n) => localStorage['streamgauge:w:' + n] = junk), 0";
    stage.run(junk).await;
    stage.visit("/").await;
    stage.until_kept(0).await;
    stage.sent_once(&[("page_view", 1)]).await;
    // Full to the last byte.
    stage.browser.open(&url).await;
    stage.loaded().await;
    stage.run(FILL).await;
    stage.door.becomes(&[Mood::Answer(503, None), Mood::Lose, Mood::Pass]);
    stage.visit("/").await;
    stage.send(&["a", "b"]).await;
    stage.until_kept(0).await;
    stage.counted(&[("page_view", 2), ("a", 1), ("b", 1)]).await;
    // What was kept as new and cannot be kept as tried is not kept: tomorrow it would be taken for new.
    stage.run("localStorage.clear(), 0").await;
    let came = stage.door.came().len();
    stage.door.becomes(&[Mood::Answer(429, Some(2)), Mood::Answer(503, Some(3)), Mood::Pass]);
    stage.send(&["c"]).await;
    stage.until_came(came + 1).await;
    stage.until_tried(0).await;
    assert_eq!(stage.kept().await, 1);
    stage.run(FILL).await;
    stage.until_came(came + 2).await;
    assert_eq!(stage.kept().await, 0);
    stage.counted(&[("page_view", 2), ("a", 1), ("b", 1), ("c", 1)]).await;
    stage.end().await;
}
