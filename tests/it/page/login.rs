//! The form that stands before the page where a token is asked for.

use serde_json::json;

use crate::support::Settings;
use crate::support::app::Running;
use crate::support::browser::Browser;

const TOKEN: &str = "a+long&random=text";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_a_browser_logs_in_looks_and_logs_out() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path()).with("query.token", TOKEN)).await;
    gauge.post(&json!({"type": "page_view", "payload": {"path": "/behind/the/door"}})).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1h")).await;
    browser.until("location.pathname === '/login' && document.querySelector('#token') !== null").await;
    browser.picture("login").await;
    browser.set("#token", "a wrong one").await;
    browser.click("button").await;
    browser.until("document.querySelector('.banner.bad')?.innerText === 'This is not the token.'").await;
    assert_eq!(browser.eval("document.cookie").await, "");
    browser.set("#token", TOKEN).await;
    browser.click("button").await;
    browser.until("document.querySelector('#keys')?.innerText.includes('/behind/the/door')").await;
    assert!(browser.eval("location.search").await.as_str().unwrap().contains("counter=page_views&window=1h"));
    assert_eq!(browser.eval("document.cookie").await, "", "scripts cannot read the session");
    browser.click(".log-out button").await;
    browser.until("location.pathname === '/login'").await;
    assert_eq!(browser.eval("fetch('/api/v1/status').then((r) => r.status)").await, 401);
    browser.assert_content();
    let metrics = gauge.admin("/metrics").await.text();
    for line in ["streamgauge_logins_total{result=\"accepted\"} 1", "streamgauge_logins_total{result=\"refused\"} 1"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_is_slowed_down() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path()).with("query.token", TOKEN)).await;
    let guess = || gauge.http().post(gauge.query_url("/login")).body("token=guess");
    let mut codes = Vec::new();
    for _ in 0..25 {
        codes.push(gauge.send(guess()).await.status);
    }
    assert!(codes.starts_with(&[401; 20]) && codes.ends_with(&[429]), "{codes:?}");
    let bearer = gauge.http().get(gauge.query_url("/api/v1/status")).bearer_auth("guess");
    let refused = gauge.send(bearer).await;
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains_key("retry-after"));
    let large = gauge.http().post(gauge.query_url("/login")).body("x".repeat(20_000));
    assert_eq!(gauge.send(large).await.status, 413);
    gauge.stop().await;
}
