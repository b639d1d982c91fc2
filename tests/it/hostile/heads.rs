//! Request lines and headers: what is no HTTP, what is too much of it, and what is odd but right.

use super::case::{Case, Step, event, head, post_with, raw, request};

pub(super) fn cases() -> Vec<Case> {
    [methods(), targets(), versions(), broken_lines(), too_much(), odd_but_right()].concat()
}

fn methods() -> Vec<Case> {
    let by = |method: &str, event_id: &str| {
        let request = String::from_utf8(request("", event(event_id))).unwrap();
        request.replacen("POST", method, 1)
    };
    let mut cases: Vec<Case> = ["GET", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "post", "POSTS", "M-SEARCH"]
        .into_iter()
        .map(|method| raw(format!("the method {method}"), by(method, "never")).answered(405, "allow: POST, OPTIONS"))
        .collect();
    cases.push(raw("a method of 1,000 letters", by(&"X".repeat(1_000), "never")).answered(405, "POST"));
    // The answer to HEAD has the length of a body that does not come.
    let head_only = by("HEAD", "never").replacen("host", "connection: close\r\nhost", 1);
    cases.push(raw("HEAD", head_only).broken());
    cases.push(raw("CONNECT to elsewhere", "CONNECT evil.example:443 HTTP/1.1\r\n\r\n").answered(404, "/events"));
    cases.push(raw("OPTIONS of everything", "OPTIONS * HTTP/1.1\r\n\r\n").answered(404, "/events"));
    for (name, method) in [("a method with a space before it", " POST"), ("a method with a NUL", "PO\0ST")] {
        cases.push(raw(name, by(method, "never")).broken());
    }
    cases
}

fn targets() -> Vec<Case> {
    let to = |target: &str| {
        String::from_utf8(request("", event("never"))).unwrap().replacen("/events", target, 1).into_bytes()
    };
    let mut cases: Vec<Case> = [
        "/",
        "/events/",
        "//events",
        "/Events",
        "/%65vents",
        "/events%00",
        "/events%0d%0aX:1",
        "/events;x=1",
        "/../events",
        "/x/../events",
        "/metrics",
        "/healthz",
        "/.git/config",
        "/etc/passwd",
        "http://evil.example/",
        "/events.php",
        "events",
    ]
    .into_iter()
    .map(|target| raw(format!("to {target}"), to(target)).answered(404, "POST events to /events"))
    .collect();
    for (name, target) in [
        ("a target with a space", "/eve nts"),
        ("a target with a NUL", "/events\0"),
        ("a target with a control character", "/events\u{1}"),
        ("a target with a tab", "/events\tx"),
        ("no target", ""),
    ] {
        cases.push(raw(name, to(target)).broken());
    }
    cases.push(raw("a target of 15 KiB", to(&format!("/{}", "a".repeat(15 << 10)))).answered(404, "/events"));
    cases.push(raw("a target of 17 KiB", to(&format!("/{}", "a".repeat(17 << 10)))).answered(431, "").closes());
    cases.push(raw("a target of 1 MiB", to(&format!("/{}", "a".repeat(1 << 20)))).answered(431, "").closes());
    let long = format!("/events?{}", "a=b&".repeat(3_000));
    cases.push(raw("3,000 parameters", request_to(&long, "head-parameters")).takes("head-parameters"));
    let absolute = "http://elsewhere.example/events";
    cases.push(raw("to an absolute address", request_to(absolute, "head-absolute")).takes("head-absolute"));
    cases
}

fn request_to(target: &str, id: &str) -> Vec<u8> {
    String::from_utf8(request("", event(id))).unwrap().replacen("/events", target, 1).into_bytes()
}

fn versions() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in
        ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3", "HTTP/1.1x", "HTTP/11", "http/1.1", "HTTP/1.", "ICY/1.1"]
    {
        let request = String::from_utf8(request("", event("never"))).unwrap().replacen("HTTP/1.1", version, 1);
        cases.push(raw(format!("the version {version}"), request).broken());
    }
    cases.push(raw("HTTP/0.9", "GET /events\r\n").broken());
    cases.push(raw("HTTP/0.9 without a method", "/events\r\n").broken());
    cases.push(raw("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").broken());
    let old = String::from_utf8(request("", event("head-1.0"))).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    cases.push(raw("HTTP/1.0", old).takes("head-1.0").closes());
    cases
}

fn broken_lines() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, line) in [
        ("a header without a colon", "x-a b\r\n"),
        ("a header without a name", ": b\r\n"),
        ("a space before the colon", "x-a : b\r\n"),
        ("a tab before the colon", "x-a\t: b\r\n"),
        ("a space in a name", "x a: b\r\n"),
        ("a line that begins with a space", " x-a: b\r\n"),
        ("a folded line", "x-a: b\r\n c\r\n"),
        ("a line folded by a tab", "x-a: b\r\n\tc\r\n"),
        ("NUL in a name", "x\0a: b\r\n"),
        ("NUL in a value", "x-a: b\0c\r\n"),
        ("a bare CR in a value", "x-a: b\rc: d\r\n"),
        ("a bare CR at the end of a line", "x-a: b\r\r\n"),
        ("an escape in a value", "x-a: \x1b[31mred\r\n"),
        ("a bell in a value", "x-a: \x07\r\n"),
        ("DEL in a value", "x-a: \x7f\r\n"),
        ("letters beyond ASCII in a name", "x-\u{e4}: b\r\n"),
        ("parentheses in a name", "x(a): b\r\n"),
    ] {
        cases.push(post_with(name, line, event("never")).broken());
    }
    cases
}

fn too_much() -> Vec<Case> {
    let lines = |n: usize| (0..n).map(|at| format!("x-{at}: {at}\r\n")).collect::<String>();
    // Two headers are there anyway.
    let mut cases = vec![post_with("100 headers", &lines(98), event("head-100")).takes("head-100")];
    for n in [99, 1_000] {
        cases.push(post_with(format!("{} headers", n + 2), &lines(n), event("never")).answered(431, "").closes());
    }
    let long = |bytes: usize| format!("x-long: {}\r\n", "a".repeat(bytes));
    cases.push(post_with("a header of 15 KiB", &long(15 << 10), event("head-15k")).takes("head-15k"));
    cases.push(post_with("a header of 17 KiB", &long(17 << 10), event("never")).answered(431, "").closes());
    cases.push(post_with("a header of 1 MiB", &long(1 << 20), event("never")).answered(431, "").closes());
    let name = format!("{}: b\r\n", "n".repeat(17 << 10));
    cases.push(post_with("a name of 17 KiB", &name, event("never")).answered(431, "").closes());
    let many = "a: b\r\n".repeat(99) + &"x: y\r\n".repeat(50_000);
    cases.push(post_with("50,000 headers", &many, event("never")).answered(431, "").closes());
    let endless = format!("POST /events HTTP/1.1\r\nx: {}", "a".repeat(4 << 20));
    cases.push(raw("a header without an end", endless).answered(431, "").closes());
    cases.push(raw("a method without an end", "A".repeat(1 << 20)).answered(431, "").closes());
    cases.push(raw("1 MiB of empty lines", "\r\n".repeat(1 << 19)).answered(431, "").closes());
    cases
}

fn odd_but_right() -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, (name, lines)) in [
        ("a value beyond ASCII", "x-a: \u{e4}\u{1f600}\r\n"),
        ("an empty value", "x-a:\r\n"),
        ("two hosts", "host: evil.example\r\n"),
        ("a forged host", "x-forwarded-host: evil.example\r\nx-original-url: /admin\r\n"),
        ("a wish for HTTP/2", "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"),
        ("a wish for a web socket", "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n"),
        ("a method that overrides", "x-http-method-override: DELETE\r\n"),
        ("a hop that takes the length away", "connection: keep-alive, content-length\r\n"),
        ("an expectation of nobody", "expect: a-miracle\r\n"),
        ("cookies", "cookie: __proto__=1; a=\"; b\r\n"),
        ("a trace that is none", "traceparent: 00-zz-zz-00\r\n"),
        ("two traces", "traceparent: a\r\ntraceparent: b\r\n"),
        ("a name with every letter that is allowed", "!#$%&'*+-.^_`|~09azAZ: x\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("head-odd-{at}");
        cases.push(post_with(name, lines, event(&id)).takes(&id));
    }
    // A single LF ends a line, as the standard allows.
    let bare =
        format!("POST /events HTTP/1.1\nhost: x\ncontent-length: {}\n\n{}", event("head-lf").len(), event("head-lf"));
    cases.push(raw("lines that end by LF alone", bare).takes("head-lf"));
    let early = [b"\r\n\r\n".to_vec(), request("", event("head-blank"))].concat();
    cases.push(raw("empty lines before the request", early).takes("head-blank"));
    let asks = head(&format!("content-length: {}\r\nexpect: 100-continue\r\n", event("head-asks").len()));
    cases.push(
        raw("a client that asks first", asks)
            .answered(100, "")
            .then(Step::Await(1))
            .send(event("head-asks"))
            .takes("head-asks"),
    );
    cases
}
