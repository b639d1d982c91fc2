//! Write keys of nobody, and origins that are not what they look like.

use serde_json::json;

use super::case::{Case, event, post, post_with, raw, request};

/// A key that may be used from these pages, and one of services.
pub(super) const SITES: &str = r#"
[[sites]]
name = "shop"
write_keys = ["shop-key", "shop-key-2"]
allowed_origins = ["https://shop.example", "https://*.shop.example"]

[[sites]]
name = "api"
write_keys = ["api-key"]
"#;

/// What a good request needs where there are sites.
pub(super) const KEY: &str = "x-write-key: api-key\r\n";

pub(super) fn cases() -> Vec<Case> {
    let cases = [keys(), keys_elsewhere(), origins(), good()].concat();
    cases.into_iter().map(Case::at_sites).collect()
}

fn keys() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, key) in [
        ("empty", ""),
        ("nobody's", "nobody"),
        ("in large letters", "API-KEY"),
        ("one letter short", "api-ke"),
        ("one letter long", "api-key1"),
        ("quoted", "\"api-key\""),
        ("two in one", "api-key, shop-key"),
        ("a prototype", "__proto__"),
        ("SQL", "' OR '1'='1"),
        ("a pattern", "*"),
        ("beyond ASCII", "api-key\u{85}FORGED"),
        ("escaped", "api%2dkey"),
        ("with a NUL, escaped", "api-key%00"),
        ("null", "null"),
        ("undefined", "undefined"),
    ] {
        let line = format!("x-write-key: {key}\r\n");
        cases.push(
            post_with(format!("a key that is {name}"), &line, event("never"))
                .answered(401, "not known")
                .without("FORGED"),
        );
        if !key.is_empty() {
            let line = format!("authorization: Bearer {key}\r\n");
            cases.push(post_with(format!("a token that is {name}"), &line, event("never")).answered(401, "not known"));
        }
    }
    let long = format!("x-write-key: {}\r\n", "k".repeat(10 << 10));
    cases.push(post_with("a key of 10 KiB", &long, event("never")).answered(401, "not known").without("kkk"));
    let wrong_first = "x-write-key: nobody\r\nx-write-key: api-key\r\n";
    cases.push(post_with("a wrong key before a right one", wrong_first, event("never")).answered(401, "not known"));
    let wrong_too = "x-write-key: nobody\r\nauthorization: Bearer api-key\r\n";
    cases.push(post_with("a wrong key beside a right token", wrong_too, event("never")).answered(401, "not known"));
    for line in [
        "authorization: Basic YXBpLWtleTo=",
        "authorization: api-key",
        "authorization: Bearer",
        "x-api-key: api-key",
        "cookie: write_key=api-key",
    ] {
        let case = post_with(format!("a key as {line}"), &format!("{line}\r\n"), event("never"));
        cases.push(case.answered(401, "www-authenticate: Bearer"));
    }
    cases
}

fn keys_elsewhere() -> Vec<Case> {
    let mut cases = Vec::new();
    for query in [
        "write_key=nobody",
        "write_key=",
        "write_key",
        "WRITE_KEY=api-key",
        "write_key[]=api-key",
        "write_key=nobody&write_key=api-key",
        "write_key=api-key%0d%0aFORGED",
        "write_key=%00",
        "write_key=%ff%fe",
        "write_key=%",
        "write_key=api-key%20",
        "x=1;write_key=api-key",
        "write%5fkey=api-key",
    ] {
        let bytes = String::from_utf8(request("", event("never"))).expect("text");
        let bytes = bytes.replacen("/events", &format!("/events?{query}"), 1);
        cases.push(raw(format!("a key in {query:?}"), bytes).answered(401, "\"error\"").without("FORGED"));
    }
    let beside = |key: &str| format!("{{\"write_key\":{key},\"events\":[{}]}}", event("never"));
    for key in ["\"nobody\"", "\"\"", "\"api-key\\u0000\"", "\"api-key\\r\\nFORGED\"", "null", "\"__proto__\""] {
        cases.push(
            post(format!("the key {key} beside the events"), beside(key)).answered(401, "\"error\"").without("FORGED"),
        );
    }
    for key in ["7", "true", "[\"api-key\"]", "{\"api-key\":1}"] {
        cases.push(post(format!("the key {key} beside the events"), beside(key)).answered(401, "key is needed"));
    }
    let twice = format!("{{\"write_key\":\"api-key\",\"write_key\":\"shop-key\",\"events\":[{}]}}", event("never"));
    cases.push(post("two keys beside the events", twice).answered(401, "key is needed"));
    let inside = r#"{"type":"page_view","id":"never","write_key":"api-key"}"#;
    cases.push(post("a key inside of an event", inside).answered(401, "key is needed"));
    cases.push(post("no key, and no events either", "[]").answered(401, "key is needed"));
    cases.push(post("no key, and no JSON either", "{").answered(401, "key is needed"));
    let forged = r#"{"type":"page_view","id":"never","context":{"site":"shop"}}"#;
    cases.push(post_with("another site, by the event's own word", KEY, forged).answered(400, "context"));
    let dry = String::from_utf8(request("", event("never"))).expect("text").replacen("/events", "/events?dry_run=1", 1);
    cases.push(raw("no key, for a dry run", dry).answered(401, "key is needed"));
    cases
}

fn origins() -> Vec<Case> {
    let mut cases = Vec::new();
    for origin in [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example.evil.example",
        "https://shop.example:8443",
        "https://evilshop.example",
        "https://shop.example@evil.example",
        "https://shop.example.",
        "https://shop.example/",
        "https://shop.example/events",
        "https://SHOP.example",
        "https://*.shop.example",
        "https://.shop.example",
        "https://evil.example#.shop.example",
        "https://evil.example/.shop.example",
        "https://evil.example?.shop.example",
        "https://evil.example\\.shop.example",
        "https://evil.example\u{85}.shop.example",
        "https://shop.example https://evil.example",
        "https://shop.example, https://evil.example",
        "null",
        "*",
        "",
        "file://",
        "chrome-extension://shop.example",
        "https://xn--shop-.example",
    ] {
        let lines = format!("x-write-key: shop-key\r\norigin: {origin}\r\n");
        let case = post_with(format!("a page of {origin:?}"), &lines, event("never")).answered(403, "origin");
        cases.push(case.without("allow-origin").without("allow-credentials").without("evil"));
    }
    let lines = "x-write-key: api-key\r\norigin: https://shop.example\r\n";
    cases.push(
        post_with("a page with a key of services", lines, event("never"))
            .answered(403, "origin")
            .without("allow-origin"),
    );
    let two = "x-write-key: shop-key\r\norigin: https://evil.example\r\norigin: https://shop.example\r\n";
    cases.push(post_with("two origins", two, event("never")).answered(403, "origin").without("allow-origin"));
    let body = format!("{{\"write_key\":\"shop-key\",\"events\":[{}]}}", event("never"));
    let case = post_with("a page that has its key beside the events", "origin: https://evil.example\r\n", body);
    cases.push(case.answered(403, "origin").without("evil"));
    let preflight = "OPTIONS /events HTTP/1.1\r\nhost: x\r\norigin: https://evil.example\r\naccess-control-request-method: POST\r\n\r\n";
    cases.push(
        raw("a page that asks whether it may", preflight)
            .answered(204, "vary: origin")
            .without("evil")
            .without("allow-origin"),
    );
    cases
}

/// Next to all this, those who have a key.
fn good() -> Vec<Case> {
    let of_site = |id: &str, site: &str| vec![json!({"event_id": id, "context": {"site": site}})];
    let lines = "x-write-key: shop-key-2\r\norigin: https://www.shop.example\r\n";
    let beside = |id: &str| format!("{{\"write_key\":\"shop-key\",\"events\":[{}]}}", event(id));
    let wrapped = "{\"write_key\":\"nobody\",\"events\":[{\"type\":\"page_view\",\"id\":\"site-wrapped\"}]}";
    vec![
        post_with("a page of the site", lines, event("site-page")).takes_all(of_site("site-page", "shop")),
        post("a key beside the events", beside("site-beside")).takes_all(of_site("site-beside", "shop")),
        post_with("a key in the head, and a wrong one beside the events", KEY, wrapped)
            .takes_all(of_site("site-wrapped", "api")),
        post_with("a token in small letters", "authorization: bearer api-key\r\n", event("site-token"))
            .takes_all(of_site("site-token", "api")),
        post_with(
            "a site of a prototype",
            KEY,
            r#"{"type":"page_view","id":"site-proto","__proto__":{"context":{"site":"shop"}}}"#,
        )
        .takes_all(of_site("site-proto", "api")),
    ]
}
