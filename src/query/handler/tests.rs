use super::*;
use crate::counter::default_specs;
use crate::query::fake::Fake;
use crate::telemetry::Role;
use http_body_util::BodyExt;
use hyper::header::AUTHORIZATION;
use serde_json::Value;
use std::sync::atomic::Ordering;

const NOW_MS: i64 = 1_760_000_005_000;
const VISIT: Visit = Visit { peer: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), now_ms: NOW_MS };

fn query(toml: &str, store: &Arc<Fake>) -> Query {
    let counters = Arc::new(Counters::new(default_specs()).unwrap());
    let metrics = Arc::new(Metrics::new().unwrap());
    let readiness = Arc::new(Readiness::new(&[Role::Query]));
    let store = Arc::clone(store) as Arc<dyn CounterStore>;
    Query::new(toml::from_str(toml).unwrap(), store, counters, "t", metrics, readiness, Duration::from_secs(2)).unwrap()
}

fn open() -> Query {
    query("", &Arc::new(Fake::default()))
}

async fn send(query: &Query, method: Method, uri: &str, authorization: Option<&str>) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(value) = authorization {
        request = request.header(AUTHORIZATION, value);
    }
    query.answer(request.body(Body::empty()).unwrap(), VISIT).await
}

async fn get(query: &Query, uri: &str) -> Response<Body> {
    send(query, Method::GET, uri, None).await
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

async fn body(response: Response<Body>) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn every_path_answers() {
    let query = open();
    for (uri, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/?counter=clicks", "text/html; charset=utf-8"),
        ("/assets/app.js", "text/javascript; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/api/v1/counters", "application/json"),
        ("/api/v1/counters/clicks?window=1m&from=-5m&top=3", "application/json"),
        ("/api/v1/status", "application/json"),
        ("/api/v1/live?counter=clicks&window=1m", "text/event-stream"),
        ("/api/v1/tail?site=shop&outcome=refused&reason=field", "text/event-stream"),
    ] {
        let response = get(&query, uri).await;
        assert_eq!((response.status(), header(&response, "content-type")), (StatusCode::OK, content_type), "{uri}");
    }
    assert_eq!(query.metrics.query_requests_total.with_label_values(&["200"]).get(), 9);
    assert_eq!(query.metrics.query_request_seconds.get_sample_count(), 9);
}

#[tokio::test]
async fn every_answer_tells_the_browser_what_to_refuse() {
    let query = open();
    for (uri, cache) in [("/", "no-cache"), ("/api/v1/status", "no-store"), ("/nowhere", "no-store")] {
        let response = get(&query, uri).await;
        assert!(header(&response, "content-security-policy").starts_with("default-src 'self';"));
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        assert_eq!(header(&response, "cache-control"), cache, "{uri}");
    }
}

#[tokio::test]
async fn a_refusal_is_json_that_names_the_field() {
    let query = open();
    for (uri, status, field) in [
        ("/api/v1/nothing", 404, None),
        ("/api/v1/counters/", 404, None),
        ("/assets/../app.js", 404, None),
        ("/api/v1/counters/page_view", 404, None),
        ("/api/v1/counters?top=1", 400, Some("top")),
        ("/api/v1/status?a", 400, Some("a")),
        ("/api/v1/counters/clicks?window=2s", 400, Some("window")),
        ("/api/v1/counters/clicks?from=x", 400, Some("from")),
        ("/api/v1/counters/clicks?to=1760000000000", 400, Some("to")),
        ("/api/v1/counters/clicks?top=x", 400, Some("top")),
        ("/api/v1/counters/clicks?key=%C3", 400, None),
        ("/api/v1/live", 400, Some("counter")),
        ("/api/v1/tail?outcome=rejected", 400, Some("outcome")),
        ("/api/v1/tail?counter=clicks", 400, Some("counter")),
        ("/api/v1/live?counter=click", 404, None),
        ("/api/v1/live?counter=clicks&window=2s", 400, Some("window")),
    ] {
        let response = get(&query, uri).await;
        assert_eq!(response.status().as_u16(), status, "{uri}");
        let body = body(response).await;
        assert!(!body["error"].as_str().unwrap().is_empty());
        assert_eq!(body["field"].as_str(), field, "{uri}");
    }
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let query = open();
    assert_eq!(send(&query, Method::HEAD, "/api/v1/status", None).await.status(), StatusCode::OK);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = send(&query, method, "/api/v1/status", None).await;
        assert_eq!((response.status(), header(&response, "allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
    }
}

#[tokio::test]
async fn with_a_token_nothing_is_told_without_it() {
    let query = query(r#"token = "s3cret""#, &Arc::new(Fake::default()));
    for uri in ["/assets/app.js", "/api/v1/status", "/api/v1/live?counter=clicks", "/api/v1/tail", "/nowhere"] {
        for wrong in [None, Some("s3cret"), Some("Bearer s3cre"), Some("Bearer "), Some("Basic s3cret")] {
            let response = send(&query, Method::GET, uri, wrong).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{uri} {wrong:?}");
            assert!(header(&response, "www-authenticate").starts_with("Bearer"));
        }
    }
    for right in ["Bearer s3cret", "bearer  s3cret"] {
        assert_eq!(send(&query, Method::GET, "/api/v1/status", Some(right)).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn with_a_token_the_page_leads_to_the_form_and_only_that_is_told() {
    let query = query(r#"token = "s3cret""#, &Arc::new(Fake::default()));
    let response = get(&query, "/?counter=clicks&filter=%2Fa").await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&response, "location"), "/login?next=counter%3Dclicks%26filter%3D%252Fa");
    for uri in ["/login?next=counter%3Dclicks", "/assets/style.css", "/assets/icon.svg"] {
        assert_eq!(get(&query, uri).await.status(), StatusCode::OK, "{uri}");
    }
    assert_eq!(send(&query, Method::GET, "/", Some("Bearer wrong")).await.status(), StatusCode::UNAUTHORIZED);
    let asked_by_a_proxy = send(&query, Method::GET, "/", Some("Basic cHJveHk6cGFzc3dvcmQ=")).await;
    assert_eq!(asked_by_a_proxy.status(), StatusCode::SEE_OTHER);
    assert_eq!(send(&query, Method::GET, "/", Some("Bearer s3cret")).await.status(), StatusCode::OK);
    assert_eq!(get(&query, "/logout").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_form_that_another_site_sends_is_not_even_read() {
    let query = query(r#"token = "s3cret""#, &Arc::new(Fake::default()));
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 401), ("none", 401)] {
        let answer = ask(&query, Method::POST, "/login", &[("sec-fetch-site", site)]).await;
        assert_eq!(answer.status().as_u16(), status, "{site}");
        assert!(!answer.headers().contains_key("set-cookie"));
    }
    assert_eq!(query.metrics.logins_total.with_label_values(&["refused"]).get(), 2);
}

#[tokio::test]
async fn a_store_that_is_away_is_said_to_be() {
    let fake = Arc::new(Fake::default());
    fake.away.store(true, Ordering::Relaxed);
    let query = query("", &fake);
    for uri in ["/api/v1/counters", "/api/v1/counters/clicks", "/api/v1/status"] {
        let response = get(&query, uri).await;
        assert_eq!((response.status(), header(&response, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        assert!(body(response).await["error"].as_str().unwrap().contains("it is away"));
    }
    assert_eq!(get(&query, "/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn questions_give_back_what_they_were_lent() {
    let query = open();
    for _ in 0..3 {
        get(&query, "/api/v1/counters/clicks").await;
    }
    assert!(query.budget.is_whole());
}

async fn ask(query: &Query, method: Method, uri: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    query.answer(request.body(Body::empty()).unwrap(), VISIT).await
}

/// All of the 10 minutes before NOW is final.
fn settled() -> Query {
    let fake = Fake::default();
    fake.put(0, crate::query::fake::row(1, NOW_MS, NOW_MS));
    fake.fill("clicks", "10s", 1_759_999_990, 1, &[("a,\"b", 2)]);
    query("allowed_origins = [\"https://app.example.com\"]", &Arc::new(fake))
}

#[tokio::test]
async fn what_only_a_late_event_can_change_has_a_tag() {
    let query = settled();
    let past = "/api/v1/counters/clicks?from=1759999980&to=1760000000";
    let first = get(&query, past).await;
    let tag = header(&first, "etag").to_owned();
    assert!(tag.starts_with("W/\"") && header(&first, "cache-control") == "private, no-cache");
    for same in [tag.as_str(), &tag[2..], "*", &format!("\"x\", {tag}")] {
        let again = ask(&query, Method::GET, past, &[("if-none-match", same)]).await;
        assert_eq!((again.status(), header(&again, "etag")), (StatusCode::NOT_MODIFIED, tag.as_str()), "{same}");
        assert_eq!(http_body_util::BodyExt::collect(again.into_body()).await.unwrap().to_bytes().len(), 0);
    }
    assert_eq!(ask(&query, Method::GET, past, &[("if-none-match", "\"x\"")]).await.status(), StatusCode::OK);
    let as_csv = ask(&query, Method::GET, past, &[("accept", "text/csv"), ("if-none-match", &tag)]).await;
    assert_eq!(as_csv.status(), StatusCode::OK, "another form is another answer");
    assert!(header(&as_csv, "content-type").starts_with("text/csv"));
    // Not final yet; cut by retention; nothing at all.
    for fresh in ["", "?from=0&to=1760000000", "?from=1760000000&to=1760000000"] {
        let answer =
            ask(&query, Method::GET, &format!("/api/v1/counters/clicks{fresh}"), &[("if-none-match", "*")]).await;
        assert_eq!((answer.status(), header(&answer, "cache-control")), (StatusCode::OK, "no-store"), "{fresh}");
        assert!(!answer.headers().contains_key("etag"));
    }
}

#[tokio::test]
async fn only_configured_origins_may_read_and_never_with_cookies() {
    let query = settled();
    let (uri, own) = ("/api/v1/status", ("origin", "https://app.example.com"));
    let preflight = ("access-control-request-method", "GET");
    let allowed = ask(&query, Method::OPTIONS, uri, &[own, preflight]).await;
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&allowed, "access-control-allow-origin"), "https://app.example.com");
    assert!(header(&allowed, "access-control-allow-headers").contains("authorization"));
    let read = ask(&query, Method::GET, uri, &[own]).await;
    assert_eq!(header(&read, "access-control-allow-origin"), "https://app.example.com");
    assert_eq!(header(&read, "vary"), "origin");
    for other in ["https://app.example.com.evil", "http://app.example.com", "null", "*", ""] {
        let read = ask(&query, Method::GET, uri, &[("origin", other)]).await;
        assert_eq!((read.status(), header(&read, "vary")), (StatusCode::OK, "origin"));
        assert!(read.headers().keys().all(|name| !name.as_str().starts_with("access-control")), "{other}");
        let asked = ask(&query, Method::OPTIONS, uri, &[("origin", other), preflight]).await;
        assert_eq!(asked.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    for answer in [allowed, read] {
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
    }
    let closed = open();
    assert_eq!(ask(&closed, Method::OPTIONS, uri, &[own, preflight]).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    let read = ask(&closed, Method::GET, uri, &[own]).await;
    assert!(!read.headers().contains_key("access-control-allow-origin") && !read.headers().contains_key("vary"));
}

#[tokio::test]
async fn a_name_of_another_site_is_told_nothing_on_any_path() {
    let query = open();
    for uri in ["/", "/assets/app.js", "/openapi.json", "/api/v1/status", "/api/v1/live?counter=clicks", "/nowhere"] {
        let answer = ask(&query, Method::GET, uri, &[("host", "evil.example:8080")]).await;
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{uri}");
        let error = body(answer).await["error"].as_str().unwrap().to_owned();
        assert!(error.contains("`evil.example`") && error.contains("query.allowed_hosts"), "{error}");
    }
    assert_eq!(ask(&query, Method::GET, "/", &[("host", "localhost:8080")]).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn whoever_is_lost_is_told_every_path_of_the_document() {
    let query = open();
    let document = body(get(&query, "/openapi.json").await).await;
    let hint = body(get(&query, "/api/v1").await).await["error"].as_str().unwrap().to_owned();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(hint.contains(&path.replace("{name}", "NAME")), "{path} is not in: {hint}");
    }
}

#[tokio::test]
async fn the_nearest_counter_is_named() {
    let query = open();
    let error = async |name: &str| {
        let answer = get(&query, &format!("/api/v1/counters/{name}")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        body(answer).await["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(error("click").await, "unknown counter `click`: did you mean `clicks`?");
    assert!(error(&"x".repeat(9_000)).await.ends_with("the configured ones are page_views, clicks, searches, events"));
}
