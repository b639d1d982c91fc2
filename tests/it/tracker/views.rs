//! What counts as a page view, and what is said of it.

use serde_json::{Value, json};

use super::Stage;
use super::stage::payloads;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_view_says_where_and_from_where_and_nothing_else() {
    let mut stage = Stage::new().await;
    stage.page("/pricing", "", "");
    let target = stage.url("/pricing?utm_source=news&mail=ann%40example.com&utm_medium=mail%20out#top");
    stage.door.page("/from", &format!("<a id=go href=\"{target}\">go</a>"));
    stage.browser.open(&stage.door.url("other.localhost", "/from")).await;
    stage.browser.click("#go").await;
    stage.loaded().await;
    stage.until_kept(0).await;
    let events = stage.sent_once(&[("page_view", 1)]).await;
    let url = stage.url("/pricing?utm_source=news&utm_medium=mail%20out");
    let referrer = stage.door.url("other.localhost", "");
    assert_eq!(payloads(&events, "page_view"), [json!({"path": "/pricing", "url": url, "referrer": referrer})]);
    assert_eq!((&events[0]["session_id"], &events[0]["user_id"]), (&Value::Null, &Value::Null));
    // One request: nobody was asked first, and nothing was said that the page did not say.
    let came = stage.door.came();
    assert_eq!(came.len(), 1, "{came:?}");
    assert_eq!((came[0].method.as_str(), came[0].has_cookie), ("POST", false));
    assert!(came[0].content_type.starts_with("text/plain"), "{}", came[0].content_type);
    assert_eq!(stage.run("document.cookie").await, "");
    // From a page of its own it comes from nowhere.
    stage.run("setTimeout(() => location.assign('/inner?utm=1&autm_x=2')), 0").await;
    stage.browser.until("location.pathname === '/inner' && document.referrer !== ''").await;
    stage.loaded().await;
    stage.until_kept(0).await;
    let events = stage.sent_once(&[("page_view", 2)]).await;
    assert_eq!(payloads(&events, "page_view")[1], json!({"path": "/inner", "url": stage.url("/inner")}));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_page_app_has_a_view_for_each_path() {
    let mut stage = Stage::new().await;
    stage.page("/", "", "");
    stage.visit("/").await;
    stage.run("history.pushState({}, '', '/shoes'), 0").await;
    // The same path is the same page, whatever stands behind it.
    stage.run("history.replaceState({}, '', '/shoes?size=42'), location.hash = 'big', 0").await;
    stage.run("history.pushState({}, '', '/shoes?size=43'), 0").await;
    stage.run("history.replaceState({}, '', '/cart'), 0").await;
    stage.run("history.go(-3), 0").await;
    stage.browser.until("location.pathname === '/'").await;
    stage.run("history.go(1), 0").await;
    stage.browser.until("location.pathname === '/shoes'").await;
    let events = stage.sent_once(&[("page_view", 5)]).await;
    let paths: Vec<_> = payloads(&events, "page_view").iter().map(|payload| payload["path"].clone()).collect();
    assert_eq!(paths, ["/", "/shoes", "/cart", "/", "/shoes"]);
    // What the page gets of its own history is what it would get without the tracker.
    let thrown = stage.run("(() => { try { history.pushState(() => {}, '') } catch (e) { return e.name } })()").await;
    assert_eq!(thrown, "DataCloneError");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_viewed_once_however_the_tracker_got_there() {
    let mut stage = Stage::new().await;
    stage.page("/once", "", "");
    stage.page("/twice", "", &stage.tag("data-key=other"));
    stage.page("/module", "type=module", "");
    let url = stage.door.url("127.0.0.1", "/streamgauge.js?v=2");
    let inject = format!(
        "<script>document.head.append(Object.assign(document.createElement('script'), {{src: '{url}', type: 'module'}}))</script>"
    );
    stage.door.page("/injected", &format!("<!doctype html><title>shop</title>{inject}"));
    stage.page("/element", "", "<p id=streamgauge></p>");
    stage.page("/by-hand", "data-manual", "");
    for path in ["/once", "/twice", "/module", "/injected", "/element", "/by-hand"] {
        stage.visit(path).await;
        stage.run("history.pushState({}, '', location.pathname + '/more'), 0").await;
        stage.run("streamgauge('hello', {from: location.pathname}), 0").await;
        stage.until_kept(0).await;
    }
    let events = stage.sent_once(&[("page_view", 10), ("hello", 6)]).await;
    assert_eq!(payloads(&events, "hello")[5]["from"], "/by-hand/more");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_is_a_view_and_a_page_that_nobody_looked_at_is_none() {
    let mut stage = Stage::new().await;
    stage.page("/a", "", "");
    stage.visit("/a").await;
    stage.until_kept(0).await;
    stage.visit("/b").await;
    stage.until_kept(0).await;
    stage.run("setTimeout(() => history.back()), 0").await;
    stage.browser.until("location.pathname === '/a'").await;
    stage.loaded().await;
    stage.counted(&[("page_view", 3)]).await;
    // A page that is rendered before anybody goes there.
    let ahead = "window.ahead = true; Object.defineProperty(document, 'prerendering', {get: () => window.ahead})";
    stage.browser.before_pages(ahead).await;
    stage.visit("/ahead").await;
    stage.send(&["meanwhile"]).await;
    stage.until_kept(0).await;
    stage.counted(&[("page_view", 3), ("meanwhile", 1)]).await;
    stage.run("window.ahead = false, document.dispatchEvent(new Event('prerenderingchange')), 0").await;
    stage.counted(&[("page_view", 4), ("meanwhile", 1)]).await;
    stage.end().await;
}
