//! Where a body ends: lengths that lie, and chunks.

use super::case::{Case, Step, event, head, raw, request};

pub(super) fn cases() -> Vec<Case> {
    [lengths(), lying_lengths(), sizes(), broken_chunks(), odd_chunks(), trailers()].concat()
}

/// A request whose only word on its length is this line.
fn sized(line: &str, body: &str) -> String {
    head(&format!("{line}\r\n")) + body
}

fn lengths() -> Vec<Case> {
    let never = event("never");
    let mut cases = Vec::new();
    for length in [
        "-1",
        "-30",
        "+30",
        "0x1e",
        "1e3",
        "30.0",
        "30 30",
        "30;",
        "",
        "abc",
        "\u{664}\u{662}",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "30, 31",
        "30,30,31",
    ] {
        cases
            .push(raw(format!("a length of {length:?}"), sized(&format!("content-length: {length}"), &never)).broken());
    }
    let two = format!("content-length: {}\r\ncontent-length: 5", never.len());
    cases.push(raw("two lengths that differ", sized(&two, &never)).broken());
    let id = "frame-twice";
    let same = format!("content-length: {0}\r\ncontent-length: {0}", event(id).len());
    cases.push(raw("the same length twice", sized(&same, &event(id))).takes(id));
    let id = "frame-zeros";
    let zeros = format!("content-length: 000000{}", event(id).len());
    cases.push(raw("a length with zeros before it", sized(&zeros, &event(id))).takes(id));
    let id = "frame-spaces";
    let spaces = format!("content-length:  \t {} \t", event(id).len());
    cases.push(raw("a length with spaces around it", sized(&spaces, &event(id))).takes(id));
    cases
}

fn lying_lengths() -> Vec<Case> {
    let never = event("never");
    let long = format!("content-length: {}", never.len() + 1);
    // What is behind the length is no body; here it is no request either.
    let short = format!("content-length: {}", never.len() - 1);
    let huge =
        |length: &str| raw(format!("{length} bytes that never come"), sized(&format!("content-length: {length}"), "["));
    vec![
        raw("a length too long, then silence", sized(&long, &never)).answered(408, "did not arrive").closes(),
        raw("a length too long, then the end", sized(&long, &never))
            .then(Step::HalfClose)
            .answered(400, "broke off")
            .closes(),
        raw("a length too short", sized(&short, &never)).answered(400, "not valid JSON").broken(),
        raw("a length of 0 and a body", sized("content-length: 0", &never)).answered(400, "empty").broken(),
        raw("no length and a body", sized("x: y", &never)).answered(400, "empty").broken(),
        raw("a length by another name", sized("content_length: 30", &never)).answered(400, "empty").broken(),
        huge("18446744073709551615").answered(431, "").closes(),
        huge("1048577").answered(413, "1048576").closes(),
        huge("1099511627776").answered(413, "1048576").closes(),
        huge("18446744073709551612").answered(413, "1048576").closes(),
    ]
}

fn sizes() -> Vec<Case> {
    let most = 1 << 20;
    let padded = |id: &str, bytes: usize| " ".repeat(bytes - event(id).len()) + &event(id);
    vec![
        raw("a body of exactly 1 MiB", request("", padded("frame-most", most))).takes("frame-most"),
        raw("a body of one byte more", request("", padded("never", most + 1))).answered(413, "1048576"),
        raw("a body of 12 MiB", request("", padded("never", 12 << 20))).answered(413, "1048576"),
        raw("a body of 40 MiB", request("", padded("never", 40 << 20))).answered(413, "1048576").closes(),
    ]
}

/// A request in chunks, which are given as they are sent.
fn chunked(chunks: &str) -> String {
    head("transfer-encoding: chunked\r\n") + chunks
}

/// One chunk of its right size.
fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn broken_chunks() -> Vec<Case> {
    let never = event("never");
    let size = never.len();
    let mut cases = Vec::new();
    for (name, chunks) in [
        ("a size that is no number", format!("G\r\n{never}\r\n0\r\n\r\n")),
        ("an empty size", format!("\r\n{never}\r\n0\r\n\r\n")),
        ("a negative size", format!("-5\r\n{never}\r\n0\r\n\r\n")),
        ("a size with a plus", format!("+{size:x}\r\n{never}\r\n0\r\n\r\n")),
        ("a size with 0x", format!("0x{size:x}\r\n{never}\r\n0\r\n\r\n")),
        ("a size beyond 64 bits", format!("1{}\r\n{never}", "0".repeat(16))),
        ("a size of a thousand digits", format!("{}\r\n{never}", "f".repeat(1_000))),
        ("a size in two words", format!("{size:x} {size:x}\r\n{never}\r\n0\r\n\r\n")),
        ("a size with a NUL", format!("{size:x}\0\r\n{never}\r\n0\r\n\r\n")),
        ("a size that ends by LF alone", format!("{size:x}\n{never}\r\n0\r\n\r\n")),
        ("a size that ends by CR alone", format!("{size:x}\r{never}\r\n0\r\n\r\n")),
        ("an extension that ends by LF alone", format!("{size:x};a\n{never}\r\n0\r\n\r\n")),
        ("an extension with a bare CR", format!("{size:x};a\rb\r\n{never}\r\n0\r\n\r\n")),
        ("a chunk without its end", format!("{size:x}\r\n{never}0\r\n\r\n")),
        ("a chunk that ends by LF alone", format!("{size:x}\r\n{never}\n0\r\n\r\n")),
        ("a chunk longer than its size", format!("{:x}\r\n{never}\r\n0\r\n\r\n", size - 3)),
        ("a chunk shorter than its size", format!("{:x}\r\n{never}\r\n0\r\n\r\nXXXXXX", size + 3)),
        ("an extension of 20 KiB", format!("{size:x};{}\r\n{never}\r\n0\r\n\r\n", "e".repeat(20 << 10))),
        (
            "extensions of 20 KiB in many chunks",
            format!("{}{}0\r\n\r\n", format!("1;{}\r\n \r\n", "e".repeat(100)).repeat(220), chunk(&never)),
        ),
        ("no chunk, but text", never.clone()),
    ] {
        cases.push(raw(format!("chunks: {name}"), chunked(&chunks)).answered(400, "broke off").closes());
    }
    let endless = format!("{}\r\n[", "f".repeat(15));
    cases.push(raw("chunks: one of 2^60 bytes that never come", chunked(&endless)).answered(408, "arrive").closes());
    let cut = chunk(&never);
    cases.push(raw("chunks: no last one, then silence", chunked(&cut)).answered(408, "arrive").closes());
    cases.push(
        raw("chunks: no last one, then the end", chunked(&cut))
            .then(Step::HalfClose)
            .answered(400, "broke off")
            .closes(),
    );
    cases.push(raw("chunks: no last line", chunked(&format!("{cut}0\r\n"))).answered(408, "arrive").closes());
    let old = chunked(&format!("{cut}0\r\n\r\n")).replacen("HTTP/1.1", "HTTP/1.0", 1);
    cases.push(raw("chunks in HTTP/1.0", old).broken());
    cases
}

fn odd_chunks() -> Vec<Case> {
    let whole = |name: &str, id: &str, chunks: String| raw(format!("chunks: {name}"), chunked(&chunks)).takes(id);
    let tiny: String = event("chunk-tiny").chars().map(|c| chunk(&c.to_string())).collect();
    let many = chunk(" ").repeat(50_000) + &chunk(&event("chunk-many"));
    let size = |id: &str| event(id).len();
    let over = chunk(&" ".repeat(100_000)).repeat(11);
    vec![
        whole("one for each byte", "chunk-tiny", tiny + "0\r\n\r\n"),
        whole("50,000 of one byte", "chunk-many", many + "0\r\n\r\n"),
        whole(
            "an extension",
            "chunk-ext",
            format!("{:X};a=\"b;c\";d\r\n{}\r\n0;z\r\n\r\n", size("chunk-ext"), event("chunk-ext")),
        ),
        whole(
            "zeros before the size",
            "chunk-zeros",
            format!("0000000{:x}\r\n{}\r\n000\r\n\r\n", size("chunk-zeros"), event("chunk-zeros")),
        ),
        whole(
            "spaces behind the size",
            "chunk-spaces",
            format!("{:x}  \r\n{}\r\n0\r\n\r\n", size("chunk-spaces"), event("chunk-spaces")),
        ),
        raw("chunks: nothing but the last", chunked("0\r\n\r\n")).answered(400, "empty"),
        raw("chunks: more than 1 MiB together", chunked(&(over + "0\r\n\r\n"))).answered(413, "1048576"),
        raw("chunks: a request behind the last", chunked(&format!("{}0\r\n\r\n", chunk(&event("chunk-1")))))
            .takes("chunk-1")
            .send(chunked(&format!("{}0\r\n\r\n", chunk(&event("chunk-2")))))
            .takes("chunk-2"),
    ]
}

fn trailers() -> Vec<Case> {
    let with = |name: &str, id: &str, lines: &str| {
        raw(format!("trailers: {name}"), chunked(&format!("{}0\r\n{lines}\r\n", chunk(&event(id)))))
    };
    vec![
        with("one", "trailer-one", "x-checksum: 1\r\n").takes("trailer-one"),
        with("a length", "trailer-length", "content-length: 5\r\n").takes("trailer-length"),
        with("a write key", "trailer-key", "x-write-key: a\r\n").takes("trailer-key"),
        with("chunked once more", "trailer-te", "transfer-encoding: chunked\r\n").takes("trailer-te"),
        with("one of 20 KiB", "never", &format!("x: {}\r\n", "t".repeat(20 << 10))).answered(400, "broke off").closes(),
        with("1,000 of them", "never", &"x: y\r\n".repeat(1_000)).answered(400, "broke off").closes(),
        with("no header", "never", "no header at all\r\n").answered(400, "broke off").closes(),
        with("a request", "never", "POST /events HTTP/1.1\r\n").answered(400, "broke off").closes(),
    ]
}
