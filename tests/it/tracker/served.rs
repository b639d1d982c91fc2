//! The files themselves, as a browser and a proxy get them.

use crate::support::Settings;
use crate::support::app::Running;
use crate::support::doors::Reply;

const SITE: &str =
    "[[sites]]\nname = \"shop\"\nwrite_keys = [\"w1\"]\nallowed_origins = [\"https://shop.example\"]\nrate_limit = 1";

async fn get(gauge: &Running, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = gauge.http().get(gauge.ingest_url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gauge.send(request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_are_for_everybody_and_no_events() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path()).with_sites(SITE)).await;
    // No key, a page that may not send, and more of them than a key may send events.
    let mut tag = String::new();
    for _ in 0..5 {
        let script =
            get(&gauge, "/streamgauge.js", &[("origin", "https://other.example"), ("accept-encoding", "gzip")]).await;
        assert_eq!((script.status, &script.headers["content-encoding"]), (200, &"gzip".parse().unwrap()));
        assert!(script.body.len() <= 2_048, "{} bytes", script.body.len());
        assert_eq!(script.headers["access-control-allow-origin"], "*");
        assert_eq!(script.headers["cache-control"], "public, max-age=3600, stale-while-revalidate=86400");
        script.headers["etag"].to_str().unwrap().clone_into(&mut tag);
    }
    let again = get(&gauge, "/streamgauge.js", &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = gauge.send(gauge.http().head(gauge.ingest_url("/streamgauge.js"))).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_ne!(head.headers["content-length"], "0");
    let types = get(&gauge, "/streamgauge.d.ts", &[]).await;
    assert!(types.text().contains("declare function streamgauge"), "{types:?}");
    let posted = gauge.send(gauge.http().post(gauge.ingest_url("/streamgauge.js")).body("x".repeat(100_000))).await;
    assert_eq!((posted.status, &posted.headers["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    let metrics = gauge.admin("/metrics").await.text();
    for (code, requests) in [("200", 7), ("304", 1), ("405", 1), ("429", 0)] {
        let line = format!("streamgauge_ingest_requests_total{{code=\"{code}\"}} {requests}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    let refused = metrics.lines().filter(|line| line.starts_with("streamgauge_ingest_refused_requests_total"));
    assert!(
        refused.clone().count() > 0 && refused.clone().all(|line| line.ends_with(" 0")),
        "{:?}",
        refused.collect::<Vec<_>>()
    );
    gauge.stop().await;
}
