//! The live page: served so that a browser runs nothing but it, and true in a real one.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::app::Running;
use crate::support::doors::SOON;
use crate::support::process::Process;
use crate::support::{Settings, eventually};

/// Longest time that a browser may take for a page.
const LOADED: Duration = Duration::from_secs(20);

/// What a browser may be called.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

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
async fn a_browser_shows_what_is_counted_as_text_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let hostile = "<img src=x onerror=\"document.title='taken over'\">";
    gauge
        .post(&json!([
            {"type": "page_view", "payload": {"path": "/shown/in/the/browser"}},
            {"type": "page_view", "payload": {"path": hostile}},
            {"type": hostile},
        ]))
        .await;
    gauge.until_consumed(3).await;
    let images = gauge.get("/").await.text().matches("<img").count();
    let escaped = "&lt;img src=x onerror=\"document.title='taken over'\"&gt;";
    for (counter, shown) in
        [("page_views", vec!["/shown/in/the/browser", escaped]), ("events", vec!["page_view", escaped])]
    {
        let url = gauge.query_url(&format!("/?counter={counter}&window=1h"));
        let dom = eventually(2 * SOON, "the page shows the counts", async || {
            let dom = dump(&url).await?;
            if shown.iter().all(|text| dom.contains(text)) { Ok(dom) } else { Err(dom) }
        })
        .await;
        assert_eq!(dom.matches("<img").count(), images, "{dom}");
        assert!(dom.contains("<title>") && !dom.contains("<title>taken over"), "{dom}");
    }
    gauge.stop().await;
}

/// The page as a browser has it after some seconds of its own time.
async fn dump(url: &str) -> Result<String, String> {
    let browser = BROWSERS.into_iter().find(|browser| is_there(browser));
    let mut command = Command::new(browser.expect("a browser; run make test, which installs it"));
    let process = Process::new("browser");
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"])
        .args(["--virtual-time-budget=4000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", process.dir().join("profile").display()))
        .arg(url);
    process.spawn(command);
    // On a busy machine it now and then hangs by itself.
    match tokio::time::timeout(LOADED, process.ended(2 * LOADED)).await {
        Ok(status) if status.success() => Ok(process.output()),
        Ok(status) => Err(format!("the browser ended with {status}: {}", process.output())),
        Err(_) => Err(format!("no page after {LOADED:?}: {}", process.output())),
    }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
