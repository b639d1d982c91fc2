//! What is no HTTP at all, and clients that are slow, silent, or gone.

use super::case::{Case, Step, event, head, raw, request};

pub(super) fn cases() -> Vec<Case> {
    [other_protocols(), noise(), slow(), gone()].concat()
}

fn other_protocols() -> Vec<Case> {
    let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    hello.extend((0..500_u32).map(|n| (n * 167 % 251) as u8));
    let protocols: [(&str, &[u8]); 14] = [
        ("TLS", &hello),
        ("SSL 2", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10\x01\x00\x80"),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("Redis", b"*1\r\n$8\r\nFLUSHALL\r\n"),
        ("Redis, inline", b"FLUSHALL\r\n"),
        ("memcached", b"stats\r\n"),
        ("SMTP", b"EHLO evil.example\r\nMAIL FROM:<a@b>\r\n"),
        ("the PROXY protocol", b"PROXY TCP4 203.0.113.1 192.0.2.1 1 2\r\nPOST /events HTTP/1.1\r\n\r\n"),
        ("the PROXY protocol, binary", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x50\0\x51"),
        ("Kafka", b"\0\0\0\x13\0\x12\0\x03\0\0\0\x01\0\x01a\0\0\0\0"),
        ("SMB", b"\0\0\0\x54\xffSMB\x72\0\0\0\0\x18\x01\x28"),
        ("RDP", b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0"),
        ("RTSP", b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
        ("JSON without HTTP", b"{\"type\":\"page_view\",\"id\":\"never\"}\n"),
    ];
    protocols
        .into_iter()
        .map(|(name, bytes)| raw(format!("speaks {name}"), bytes).then(Step::HalfClose).broken())
        .collect()
}

fn noise() -> Vec<Case> {
    let random = |seed: u64, bytes: usize| {
        let mut state = seed;
        let next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect::<Vec<u8>>()
    };
    let mut cases: Vec<Case> = (1..=8)
        .map(|seed| raw(format!("binary noise {seed}"), random(seed, 5_000)).then(Step::HalfClose).broken())
        .collect();
    for (name, byte) in [("NUL", 0), ("0xff", 0xff), ("a space", b' '), ("CR", b'\r'), ("a colon", b':')] {
        cases.push(raw(format!("100,000 times {name}"), vec![byte; 100_000]).then(Step::HalfClose).broken());
    }
    for (at, bytes) in [10, 1_000, 100_000].into_iter().enumerate() {
        let body = random(at as u64 + 100, bytes);
        for kind in ["application/json", "application/x-ndjson", "text/plain"] {
            let noise = request(&format!("content-type: {kind}\r\n"), &body);
            cases.push(raw(format!("{bytes} bytes of noise as {kind}"), noise).answered(400, "\"error\""));
        }
    }
    cases
}

fn slow() -> Vec<Case> {
    let drips = |name: &str, before: &str, drops: &str| raw(name, before).then(Step::Drip(drops.into()));
    let sized = head("content-length: 1000000\r\n");
    let chunked = head("transfer-encoding: chunked\r\n");
    vec![
        raw("says nothing", "").closes(),
        raw("says nothing after an empty line", "\r\n").closes(),
        raw("half a head, then silence", "POST /events HTTP/1.1\r\nhost:").closes(),
        drips("drips a method", "", "A").closes(),
        drips("drips empty lines", "", "\r\n").closes(),
        drips("drips a target", "POST /", "a").closes(),
        drips("drips a header", "POST /events HTTP/1.1\r\nhost: ", "a").closes(),
        drips("drips headers", "POST /events HTTP/1.1\r\n", "a: b\r\n").closes(),
        drips("drips a body", &sized, " ").answered(408, "did not arrive within 4s").closes(),
        drips("drips chunks", &chunked, "1\r\n \r\n").answered(408, "did not arrive").closes(),
        drips("drips a size", &chunked, "0").answered(408, "did not arrive").closes(),
        drips("drips an extension", &format!("{chunked}1;"), "e").answered(408, "did not arrive").closes(),
        drips("drips a trailer", &format!("{chunked}0\r\n"), "t: t\r\n").answered(408, "did not arrive").closes(),
        drips("drips the body of another path", &sized.replace("/events", "/x"), " ").answered(404, "/events").closes(),
        drips("drips a body of another type", &head("content-length: 1000000\r\ncontent-type: a/b\r\n"), " ")
            .answered(415, "content type")
            .closes(),
        raw("drips what was asked for first", head("content-length: 1000\r\nexpect: 100-continue\r\n"))
            .answered(100, "")
            .then(Step::Await(1))
            .then(Step::Drip(b" ".into()))
            .answered(408, "did not arrive")
            .closes(),
        raw("drips a second request", request("", event("slow-second")))
            .takes("slow-second")
            .then(Step::Await(1))
            .then(Step::Drip(b"P".into()))
            .closes(),
        raw("is silent after its request", request("", event("slow-silent"))).takes("slow-silent").closes(),
    ]
}

/// Clients that end their direction, wherever they are.
fn gone() -> Vec<Case> {
    let whole = request("", event("never"));
    let head_bytes = whole.len() - event("never").len();
    let mut cases: Vec<Case> = [0, 1, 4, 20, 40, head_bytes - 2, head_bytes, head_bytes + 1, whole.len() - 1]
        .into_iter()
        .map(|at| raw(format!("gone after {at} bytes"), &whole[..at]).then(Step::HalfClose).broken())
        .collect();
    let mut unknown =
        raw("gone after a whole request", request("", event("gone-unknown"))).then(Step::HalfClose).broken();
    unknown.unknown = Some("gone-unknown");
    cases.push(unknown);
    cases.push(
        raw("gone between two requests", request("", event("gone-between")))
            .takes("gone-between")
            .then(Step::Await(1))
            .then(Step::HalfClose)
            .closes(),
    );
    cases
}
