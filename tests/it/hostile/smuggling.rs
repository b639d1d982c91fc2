//! Requests that two readers could understand in two ways, requests inside of bodies, and several on one connection.

use serde_json::json;

use super::case::{Case, Step, event, head, post, post_with, raw, request};

pub(super) fn cases() -> Vec<Case> {
    [two_lengths(), odd_codings(), inside_of_bodies(), in_a_row()].concat()
}

/// A request that must not be seen.
fn hidden() -> String {
    String::from_utf8(request("", event("never"))).unwrap()
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len())
}

/// A length and chunks: chunks are what counts, and the connection ends, whatever was meant.
fn two_lengths() -> Vec<Case> {
    let behind = |id: &str| chunk(&event(id)) + &hidden();
    let both = |id: &str, length: usize| {
        (format!("content-length: {length}\r\n"), "transfer-encoding: chunked\r\n", behind(id))
    };
    let mut cases = Vec::new();
    for (name, id, swapped, length) in [
        ("CL.TE: the length covers a hidden request", "smuggle-cl-te", false, None),
        ("TE.CL: the same the other way round", "smuggle-te-cl", true, None),
        ("CL.TE: a length of 0", "smuggle-cl-te-0", false, Some(0)),
        ("TE.CL: a length of 4", "smuggle-te-cl-4", true, Some(4)),
    ] {
        let (cl, te, body) = both(id, length.unwrap_or(behind(id).len()));
        let lines = if swapped { format!("{te}{cl}") } else { format!("{cl}{te}") };
        cases.push(raw(name, head(&lines) + &body).takes(id).closes());
    }
    let (cl, _, body) = both("never", 4);
    cases.push(
        raw(
            "CL.TE: chunked in another case",
            head(&format!("{cl}Transfer-Encoding: CHUNKED\r\n")) + &chunk(&event("smuggle-case")),
        )
        .takes("smuggle-case")
        .closes(),
    );
    let te = "transfer-encoding: chunked\r\n";
    cases.push(raw("TE and a length that is none", head(&format!("content-length: x\r\n{te}")) + &body).broken());
    cases.push(raw("TE and two lengths", head(&format!("{cl}content-length: 5\r\n{te}")) + &body).broken());
    cases
}

/// Transfer-Encoding that is not quite `chunked`: nothing of what follows is a body or a request.
fn odd_codings() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in [
        "transfer-encoding: xchunked",
        "transfer-encoding: chunkedx",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: identity",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding:",
        "transfer-encoding: ,",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: x",
        "transfer-encoding : chunked",
        "transfer-encoding\t: chunked",
        " transfer-encoding: chunked",
        "x: y\r\n transfer-encoding: chunked",
        "transfer-encoding:\x0bchunked",
        "transfer-encoding: chunked\x00",
        "transfer-encoding: \x0cchunked",
        "transfer-encoding\r\n: chunked",
        "transfer\u{a0}encoding: chunked",
    ] {
        let bytes = head(&format!("{line}\r\n")) + &chunk(&event("never")) + &hidden();
        cases.push(raw(format!("TE.TE: {line:?}"), bytes).broken());
        let bytes = head(&format!("content-length: 5\r\n{line}\r\n")) + &chunk(&event("never"));
        cases.push(raw(format!("CL.TE: {line:?}"), bytes).broken());
    }
    cases
}

/// A refused request with another one in its body: the one behind it is answered next.
fn inside_of_bodies() -> Vec<Case> {
    let as_method =
        |method: &str| String::from_utf8(request("", hidden())).unwrap().replacen("POST", method, 1).into_bytes();
    let in_chunks = head("content-type: image/png\r\ntransfer-encoding: chunked\r\n") + &chunk(&hidden());
    let wide = format!("{}{}", " ".repeat(2 << 20), hidden());
    vec![
        post("a request in a body that is no JSON", hidden()).answered(400, "not valid JSON"),
        post_with("a request in a body of another type", "content-type: image/png\r\n", hidden())
            .answered(415, "content type"),
        post_with("a request in a body in another encoding", "content-encoding: br\r\n", hidden())
            .answered(415, "gzip"),
        post_with("a request behind a time that is none", "x-sent-at: never\r\n", hidden()).answered(400, "X-Sent-At"),
        raw("a request in the body of GET", as_method("GET")).answered(405, "POST"),
        raw("a request in the body of TRACE", as_method("TRACE")).answered(405, "POST").without("never"),
        raw("a request in the body of OPTIONS", as_method("OPTIONS")).answered(204, ""),
        raw("a request in the body of another path", request_elsewhere()).answered(404, "/events"),
        raw("a request in chunks of another type", in_chunks).answered(415, "content type"),
        post("a request at the end of a body that is too large", wide).answered(413, "1048576"),
        raw(
            "a request in the body that was asked for first",
            head(&format!("content-length: {}\r\nexpect: 100-continue\r\ncontent-type: image/png\r\n", hidden().len())),
        )
        .answered(415, "content type")
        .then(Step::Await(1))
        .send(hidden())
        .closes(),
        raw(
            "a body that is too large and was asked for first",
            head("content-length: 2000000\r\nexpect: 100-continue\r\n"),
        )
        .answered(413, "1048576")
        .then(Step::Await(1))
        .send(hidden())
        .closes(),
    ]
}

fn request_elsewhere() -> Vec<u8> {
    String::from_utf8(request("", hidden())).unwrap().replacen("/events", "/elsewhere", 1).into_bytes()
}

fn in_a_row() -> Vec<Case> {
    let ids = |name: &str, n: usize| (0..n).map(|at| format!("row-{name}-{at}")).collect::<Vec<_>>();
    let good = |id: &str| request("", event(id));
    let mut hundred = raw("100 requests at once", ids("many", 100).iter().flat_map(|id| good(id)).collect::<Vec<u8>>());
    for id in ids("many", 100) {
        hundred = hundred.takes(&id);
    }
    let bad = request("", "{\"type\":");
    let mut mixed = raw("good ones between bad ones", Vec::new());
    for id in ids("mixed", 10) {
        mixed = mixed.send(bad.clone()).answered(400, "not valid JSON").send(good(&id)).takes(&id);
    }
    let byte_by_byte = good("row-bytes").into_iter().map(|byte| Step::Send(vec![byte]));
    let mut bytes = raw("one byte at a time", Vec::new()).takes("row-bytes");
    bytes.steps.extend(byte_by_byte);
    let two = |behind: &[u8], id: &str| [good(id), behind.to_vec()].concat();
    let never = hidden();
    let broken_length = head("content-length: -1\r\n") + &event("never") + &never;
    let batch = format!("[{},{}]", event("row-batch-1"), event("row-batch-2"));
    vec![
        hundred,
        mixed,
        bytes,
        raw("a good one, then binary noise", two(&[0xff; 100], "row-noise")).takes("row-noise").broken(),
        raw("a good one, then a broken length", two(broken_length.as_bytes(), "row-length"))
            .takes("row-length")
            .broken(),
        raw("a broken length, then a good one", broken_length.clone().into_bytes()).broken(),
        raw("a good one, then half of one, then the end", two(b"POST /eve", "row-half"))
            .takes("row-half")
            .then(Step::Await(1))
            .then(Step::HalfClose)
            .broken(),
        raw(
            "one that closes, then another",
            [request("connection: close\r\n", event("row-close")), good("never")].concat(),
        )
        .takes("row-close")
        .closes(),
        raw("an answer for each of a batch", request("", batch))
            .takes_all(vec![json!({"event_id": "row-batch-1"}), json!({"event_id": "row-batch-2"})]),
    ]
}
