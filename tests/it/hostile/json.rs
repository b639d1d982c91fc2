//! Bodies that arrive as they were sent, and are no events, or not quite.

use serde_json::json;

use super::case::{Case, event, post, post_with};
use super::sites;

pub(super) fn cases() -> Vec<Case> {
    [refused(), encodings_of_text(), numbers(), lines(), wrappers(), twice_and_deep()].concat()
}

/// A body that is refused as a whole: why it is here, itself, the status, and the field that is to be named.
type Refused = (&'static str, Vec<u8>, u16, Option<&'static str>);

/// One event that cannot be accepted, and the field at fault.
pub(crate) fn events() -> Vec<(&'static str, String, Option<&'static str>)> {
    let with = |field: &str, value: &str| format!("{{\"event_type\":\"view\",\"{field}\":{value}}}");
    let long = |n: usize| format!("\"{}\"", "x".repeat(n));
    let deep = format!("{}1{}", "{\"a\":".repeat(1_000), "}".repeat(1_000));
    let mut events = vec![
        ("no event_type", "{}".to_owned(), Some("event_type")),
        ("null is absent", r#"{"event_type":null,"type":null}"#.to_owned(), Some("event_type")),
        ("a type that is a number", r#"{"event_type":5}"#.to_owned(), Some("event_type")),
        ("the alias is named as it was sent", r#"{"type":["view"]}"#.to_owned(), Some("type")),
        ("an empty type", r#"{"event_type":""}"#.to_owned(), Some("event_type")),
        ("a long type", format!("{{\"event_type\":{}}}", long(129)), Some("event_type")),
        ("NUL in a type", r#"{"event_type":"a\u0000b"}"#.to_owned(), Some("event_type")),
        ("a control character in a type", r#"{"event_type":"a\u0085b"}"#.to_owned(), Some("event_type")),
        ("a known field twice", r#"{"event_type":"a","event_type":"a"}"#.to_owned(), Some("event_type")),
        ("a payload twice", r#"{"type":"a","payload":{},"payload":{}}"#.to_owned(), Some("payload")),
        ("not an object", "\"view\"".to_owned(), None),
        ("null", "null".to_owned(), None),
        ("a payload of depth 1,000", with("payload", &deep), Some("payload")),
        ("a lone surrogate", with("payload", r#"{"path":"\ud800"}"#), None),
    ];
    let wrong = [
        ("event_id", "7"),
        ("event_id", "\"\""),
        ("event_version", "0"),
        ("event_version", "\"1\""),
        ("event_version", "1.5"),
        ("timestamp", "true"),
        ("timestamp", "\"\""),
        ("timestamp", "\"yesterday\""),
        ("timestamp", "\"2026-02-30T00:00:00Z\""),
        ("timestamp", "1.5"),
        ("timestamp", "0"),
        ("timestamp", "-1"),
        ("timestamp", "1760000000"),
        ("timestamp", "946684799999"),
        ("timestamp", "4133980800000"),
        ("timestamp", "99999999999999999999999999"),
        ("timestamp", "1e400"),
        ("user_id", "{}"),
        ("session_id", "12"),
        ("payload", "[]"),
        ("payload", "\"text\""),
        ("context", "{}"),
        ("received_at", "1760000000000"),
    ];
    events.extend(wrong.map(|(field, value)| (value, with(field, value), Some(field))));
    let long = [("event_id", 129), ("user_id", 257), ("session_id", 257)];
    events.extend(long.map(|(field, n)| ("too long", with(field, &format!("\"{}\"", "x".repeat(n))), Some(field))));
    events.push((
        "64 KiB and more",
        with("payload", &format!("{{\"a\":{}}}", format_args!("\"{}\"", "x".repeat(70_000)))),
        None,
    ));
    events
}

/// Bodies that are refused as a whole.
fn bodies() -> Vec<Refused> {
    let text = |text: &str| text.as_bytes().to_vec();
    let mut bodies: Vec<Refused> = vec![
        ("nothing", text(""), 400, None),
        ("white space", text(" \n\t "), 400, None),
        ("no events", text("[]"), 400, None),
        ("no events in a wrapper", text(r#"{"events":[]}"#), 400, None),
        ("events that are no array", text(r#"{"events":{"type":"view"}}"#), 400, Some("events")),
        ("JSON that breaks off", text(r#"{"type":"view","#), 400, None),
        ("an array that breaks off", text(r#"[{"type":"view"}"#), 400, None),
        ("two values", text(r#"{"type":"view"}{"type":"view"}"#), 400, None),
        ("single quotes", text("{'type':'view'}"), 400, None),
        ("no JSON at all", text("<html></html>"), 400, None),
        ("a NUL byte", b"{\"type\":\"vi\0ew\"}".to_vec(), 400, Some("type")),
        ("NUL bytes alone", vec![0; 100], 400, None),
        ("invalid UTF-8", b"{\"type\":\"view\",\"payload\":{\"path\":\"\xff\xfe\"}}".to_vec(), 400, None),
        ("invalid UTF-8 in an array", b"[{\"type\":\"view\xc3\x28\"}]".to_vec(), 400, None),
        ("an overlong form", b"{\"type\":\"\xc0\xaf\"}".to_vec(), 400, None),
        ("an array of depth 1,000", text(&("[".repeat(1_000) + &"]".repeat(1_000))), 400, None),
        ("an array of depth 100,000", text(&("[".repeat(100_000) + &"]".repeat(100_000))), 400, None),
        ("a string of 1 MB", text(&format!("{{\"type\":\"{}\"}}", "x".repeat(1_000_000))), 400, None),
        ("a body over its limit", text(&format!("{{\"type\":\"{}\"}}", "x".repeat(1_100_000))), 413, None),
        ("a body far over its limit", vec![b'['; 5_000_000], 413, None),
        ("5,001 events", text(&format!("[{}{{}}]", "{\"type\":\"view\"},".repeat(5_000))), 413, None),
    ];
    bodies.extend(events().into_iter().map(|(why, event, field)| (why, event.into_bytes(), 400, field)));
    bodies
}

fn refused() -> Vec<Case> {
    let case = |(at, (why, body, status, field)): (usize, Refused)| {
        let case = post(format!("body {at}: {why}"), body).answered(status, "\"error\"");
        if status == 400 { case.naming(field) } else { case }
    };
    bodies().into_iter().enumerate().map(case).collect()
}

fn encodings_of_text() -> Vec<Case> {
    let text = event("never");
    let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let wider: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    let marked = |mark: &[u8], rest: &[u8]| [mark, rest].concat();
    let mut cases = Vec::new();
    for (name, body) in [
        ("UTF-8 with a mark", marked(b"\xef\xbb\xbf", text.as_bytes())),
        ("UTF-16, little end first", wide(u16::to_le_bytes)),
        ("UTF-16, big end first", wide(u16::to_be_bytes)),
        ("UTF-16 with a mark", marked(b"\xff\xfe", &wide(u16::to_le_bytes))),
        ("UTF-32", wider),
        ("UTF-7", b"+AHsAIg-type+ACI:".to_vec()),
        ("EBCDIC", vec![0xc0, 0x7f, 0xa3, 0xa8, 0x97, 0x85, 0x7f]),
        ("MessagePack", b"\x82\xa4type\xa9page_view\xa2id\xa5never".to_vec()),
        ("CBOR", b"\xa2\x64type\x69page_view\x62id\x65never".to_vec()),
        ("protobuf", b"\x0a\x09page_view\x12\x05never".to_vec()),
        ("XML", b"<event type=\"page_view\"/>".to_vec()),
        ("YAML", b"type: page_view\nid: never\n".to_vec()),
        ("a form", b"type=page_view&id=never".to_vec()),
        ("JSON with comments", format!("/* */{text}").into_bytes()),
        ("JSON with a comma at the end", b"[{\"type\":\"page_view\",\"id\":\"never\"},]".to_vec()),
        ("JSON with a name without quotes", b"{type:\"page_view\",id:\"never\"}".to_vec()),
        ("JSON in a call", format!("f({text})").into_bytes()),
        ("JSON behind a guard", format!(")]}}',\n{text}").into_bytes()),
        ("JSON in a string", json!(text).to_string().into_bytes()),
        ("JSON with a NUL behind it", marked(text.as_bytes(), b"\0")),
        ("JSON with a form feed before it", marked(b"\x0b", text.as_bytes())),
        ("JSON with a wide space before it", marked("\u{3000}".as_bytes(), text.as_bytes())),
    ] {
        cases.push(post(format!("{name} as JSON"), &body).answered(400, "\"error\""));
        cases.push(
            post_with(format!("{name} as text"), "content-type: text/plain\r\n", &body).answered(400, "\"error\""),
        );
    }
    cases
}

/// Numbers that other programs change, as they were written.
fn numbers() -> Vec<Case> {
    let mut cases = Vec::new();
    let ones = "1".repeat(60_000);
    for (at, number) in
        ["1e400", "-1e-400", "1E+2", "-0", "0.1000", "9007199254740993", "18446744073709551616", "1e-9999999999", &ones]
            .into_iter()
            .enumerate()
    {
        let id = format!("number-{at}");
        let body = format!("{{\"type\":\"page_view\",\"id\":\"{id}\",\"payload\":{{\"n\":{number}}}}}");
        // Not all of them could be read by what recounts the other program's records.
        cases.push(post_with(format!("number {at} in a payload"), sites::KEY, body).takes(&id).at_sites());
    }
    for number in ["01", "+1", ".5", "1.", "1e", "0x10", "NaN", "Infinity", "-Infinity", "1_000", "--1", "1e+", "-"] {
        let body = format!("{{\"type\":\"page_view\",\"id\":\"never\",\"payload\":{{\"n\":{number}}}}}");
        cases.push(post(format!("the number {number}"), body).answered(400, "not valid JSON"));
    }
    for time in [
        "1760000000000.0",
        "1.76e12",
        "1e400",
        "9223372036854775808",
        "-9223372036854775809",
        "\"+020000-01-01T00:00:00Z\"",
        "\"2026-01-01T00:00:00\"",
        "\"2026-01-01T25:00:00Z\"",
        "\"2026-01-01T00:00:00+99:99\"",
        "[1]",
    ] {
        let body = format!("{{\"type\":\"page_view\",\"id\":\"never\",\"timestamp\":{time}}}");
        cases.push(post(format!("at the time {time}"), body).answered(400, "\"error\"").naming(Some("timestamp")));
    }
    cases
}

fn lines() -> Vec<Case> {
    let of =
        |name: &str, body: &str| post_with(format!("lines: {name}"), "content-type: application/x-ndjson\r\n", body);
    let (a, b) = (event("line-a"), event("line-b"));
    let both = |case: Case, id: &str| {
        case.takes_all(vec![json!({"event_id": format!("{id}-a")}), json!({"event_id": format!("{id}-b")})])
    };
    let two = |id: &str, between: &str, behind: &str| {
        format!("{}{between}{}{behind}", event(&format!("{id}-a")), event(&format!("{id}-b")))
    };
    vec![
        both(of("CR LF", &two("crlf", "\r\n", "\r\n")), "crlf"),
        both(of("blank ones", &two("blank", "\n\n \t\n\r\n", "\n\n\n")), "blank"),
        both(of("a bad one between", &two("between", "\n{\"type\":\n", "")), "between"),
        both(of("a NUL between", &two("nul", "\n\0\n", "")), "nul"),
        both(of("half a character between", &two("half", "\n\u{fffd}\n", "")), "half"),
        both(of("100,000 blank ones", &two("blanks", &"\n".repeat(100_000), "")), "blanks"),
        of("CR alone", &two("never", "\r", "")).answered(400, "trailing"),
        of("line separators of Unicode", &two("never", "\u{2028}", "")).answered(400, "not valid JSON"),
        of("two on one", &format!("{a}{b}")).answered(400, "trailing"),
        of("an array", &format!("[{a}]")).answered(400, "this is an array"),
        of("a wrapper", &format!("{{\"events\":[{a}]}}")).answered(400, "is missing"),
        of("one over two lines", "{\"type\":\n\"page_view\"}").answered(400, "none of the 2"),
        of("a mark", &format!("\u{feff}{a}")).answered(400, "not valid JSON"),
        of("record separators", &format!("\x1e{a}\n")).answered(400, "not valid JSON"),
        of("5,001", &format!("{}\n", event("never")).repeat(5_001)).answered(413, "5000"),
        of("500,000 of one byte", &"x\n".repeat(500_000)).answered(413, "5000"),
        of("5,000 bad ones", &"{}\n".repeat(5_000)).answered(400, "none of the 5000"),
        of("nothing but blank ones", &"\n \n".repeat(10_000)).answered(400, "empty"),
    ]
}

fn wrappers() -> Vec<Case> {
    let good = |id: &str| event(id);
    let mut cases = Vec::new();
    for (name, body, text) in [
        ("in a wrapper", format!("{{\"events\":[{{\"events\":[{}]}}]}}", good("never")), "is missing"),
        ("a number", "{\"events\":7}".to_owned(), "must be an array"),
        ("a text", format!("{{\"events\":{}}}", json!(format!("[{}]", good("never")))), "must be an array"),
        ("null", "{\"events\":null}".to_owned(), "must be an array"),
        ("twice", format!("{{\"events\":[{}],\"events\":[]}}", good("never")), "twice"),
        ("of arrays", format!("{{\"events\":[[{}]]}}", good("never")), "this is an array"),
        ("with a time that is none", format!("{{\"sent_at\":\"soon\",\"events\":[{}]}}", good("never")), "sent_at"),
        ("with a time of the year 1", format!("{{\"sent_at\":1,\"events\":[{}]}}", good("never")), "sent_at"),
        ("with a key that is none", format!("{{\"write_key\":{{}},\"events\":[{}]}}", good("never")), "write_key"),
        ("an array of arrays", format!("[[{}]]", good("never")), "this is an array"),
        ("that break off", format!("{{\"events\":[{}", good("never")), "not valid JSON"),
    ] {
        cases.push(post(format!("events: {name}"), body).answered(400, text));
    }
    let escaped = format!("{{\"\\u0065vents\":[{}]}}", good("never"));
    cases.push(post("events: by an escaped name", escaped).answered(400, "is missing"));
    cases
}

fn twice_and_deep() -> Vec<Case> {
    let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    let with = |id: &str, fields: &str| format!("{{\"type\":\"page_view\",\"id\":\"{id}\",{fields}}}");
    let mut cases = Vec::new();
    for field in ["id", "event_id", "type", "timestamp", "user_id", "payload", "properties", "event_version"] {
        let value = if field.starts_with('p') { "{}" } else { "null" };
        let body =
            with("never", &format!("\"{field}\":{value},\"\\u{:04x}{}\":{value}", field.as_bytes()[0], &field[1..]));
        cases.push(post(format!("{field} twice, once in escapes"), body).answered(400, "twice"));
    }
    cases.push(
        post("an unknown field 5,000 times", with("twice-many", &vec!["\"x\":1"; 5_000].join(","))).takes("twice-many"),
    );
    let names: Vec<_> = (0..5_000).map(|n| format!("\"{n}\":{n}")).collect();
    cases.push(post("5,000 unknown fields", with("fields-many", &names.join(","))).takes("fields-many"));
    cases.push(
        post("a depth of 30 in a payload", with("deep-30", &format!("\"payload\":{{\"a\":{}}}", deep(30))))
            .takes("deep-30"),
    );
    for (name, fields) in [
        ("a payload of depth 33", format!("\"payload\":{{\"a\":{}}}", deep(33))),
        ("a payload of depth 30,000", format!("\"payload\":{{\"a\":{}}}", deep(30_000))),
        ("a type of depth 30,000", format!("\"event_type\":{}", deep(30_000))),
        ("a user of depth 30,000", format!("\"user_id\":{}", deep(30_000))),
        ("a depth of 30,000 that breaks off", format!("\"payload\":{{\"a\":{}", "[".repeat(30_000))),
    ] {
        cases.push(post(name, with("never", &fields)).answered(400, "\"error\""));
    }
    cases.push(post("500,000 braces", "{\"a\":".repeat(150_000)).answered(400, "\"error\""));
    cases
}
