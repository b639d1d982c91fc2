//! Foreign bytes as text for people: whatever they are, no control character reaches the terminal.

use serde_json::value::RawValue;
use std::fmt::Write;

/// Deepest JSON that is written with indentation; deeper, the blanks would outgrow the value.
const DEPTH: usize = 64;
/// Bytes of a binary value that are shown.
const DUMPED: usize = 512;
const DUMP_LINE: usize = 16;

/// Characters that change what a terminal does, or how what follows looks: C0, C1, DEL, and the invisible ones that
/// order, join or separate lines.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{180e}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// On one line: what is no text as `\xff`, what is dangerous as `\n` or `\u{1b}`. A backslash stays one.
pub(super) fn escaped(bytes: &[u8]) -> String {
    escape(bytes, false)
}

/// The same, and line feeds and tabs stay what they are.
pub(super) fn escaped_lines(bytes: &[u8]) -> String {
    escape(bytes, true)
}

fn escape(bytes: &[u8], lines: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' if lines => text.push(c),
                c if is_dangerous(c) => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            // A string takes whatever is written to it.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// At most `max` characters of it, and a mark where something is missing.
pub(super) fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A JSON text with what is dangerous as `\u001b`, which means the same in it.
pub(super) fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_dangerous(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A value as one reads it best: JSON with indentation, its names, order and digits as they are; other text with
/// escapes; the beginning of anything else as a dump.
pub(super) fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => indented(text).unwrap_or_else(|| escaped_lines(bytes)),
        Err(_) => dump(bytes),
    }
}

/// `None` when it is no JSON, or too deep.
fn indented(text: &str) -> Option<String> {
    let json = serde_json::from_str::<&RawValue>(text).ok()?.get();
    let (mut out, mut depth, mut quoted, mut escaped) = (String::with_capacity(json.len() * 2), 0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            out.push(c);
            continue;
        }
        match c {
            ' ' | '\n' | '\r' | '\t' => {}
            '{' | '[' => {
                out.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                    continue;
                }
                depth += 1;
                if depth > DEPTH {
                    return None;
                }
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => {
                quoted = true;
                out.push(c);
            }
            c => out.push(c),
        }
    }
    // Valid JSON has no raw control character but those that this wrote itself.
    Some(out.split('\n').map(safe_json).collect::<Vec<_>>().join("\n"))
}

/// The beginning of it, sixteen bytes a line, beside what of them is ASCII.
fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (n, line) in bytes[..bytes.len().min(DUMPED)].chunks(DUMP_LINE).enumerate() {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
        let shown: String = line.iter().map(shown).collect();
        let _ = writeln!(out, "{:06x}  {:<47}  {shown}", n * DUMP_LINE, hex.join(" "));
    }
    if bytes.len() > DUMPED {
        let _ = writeln!(out, "… and {} more bytes", bytes.len() - DUMPED);
    }
    out.truncate(out.trim_end().len());
    out
}

/// A time in ms as people write it.
pub(super) fn time(ms: i64) -> String {
    jiff::Timestamp::from_second(ms.div_euclid(1_000)).map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

/// How long ago, in the largest unit that says something.
pub(super) fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `1 letter`, `2 letters`.
pub(super) fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(escaped(b"a\x1b[2J\x07\n\t\\"), "a\\u{1b}[2J\\u{7}\\n\\t\\");
        assert_eq!(escaped("\u{9b}31m\u{202e}x".as_bytes()), "\\u{9b}31m\\u{202e}x");
        assert_eq!(escaped(b"vi\xffew \xc3"), "vi\\xffew \\xc3");
        assert_eq!(escaped("größe 🎉".as_bytes()), "größe 🎉");
        assert_eq!(escaped_lines(b"a\tb\nc\r"), "a\tb\nc\\r");
        assert_eq!(safe_json("\"\u{9b}\u{e0001}é\""), "\"\\u009b\\udb40\\udc01é\"");
    }

    #[test]
    fn json_keeps_its_order_its_digits_and_its_repetitions() {
        let shown = readable(br#" {"b":1.50,"a":[1e400,{},[ ]], "a":"x\"{,:\u001b"} "#);
        let expected =
            "{\n  \"b\": 1.50,\n  \"a\": [\n    1e400,\n    {},\n    []\n  ],\n  \"a\": \"x\\\"{,:\\u001b\"\n}";
        assert_eq!(shown, expected);
        assert_eq!(readable("\"\u{9b}\"".as_bytes()), "\"\\u009b\"");
    }

    #[test]
    fn what_is_no_json_is_text_and_what_is_no_text_is_dumped() {
        assert_eq!(readable(b"not json\x1b"), "not json\\u{1b}");
        assert_eq!(readable(b""), "");
        assert_eq!(readable(b"\xffA\x1b"), "000000  ff 41 1b                                         .A.");
        let long = readable(&[0xff; 1_000]);
        assert_eq!((long.lines().count(), long.ends_with("… and 488 more bytes")), (33, true));
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(readable(deep.as_bytes()), deep);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("größe", 5), "größe");
        assert_eq!(shortened("größer", 5), "größ…");
        assert_eq!(shortened("x", 0), "…");
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!(time(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(time(i64::MAX), format!("{} ms", i64::MAX));
        let ages = [-5, 119_999, 120_000, 7_200_000, 172_800_000].map(age);
        assert_eq!(ages, ["0s", "119s", "2m", "2h", "2d"]);
        assert_eq!((count(1, "letter"), count(2, "letter")), ("1 letter".to_owned(), "2 letters".to_owned()));
    }

    proptest! {
        #[test]
        fn nothing_dangerous_is_left(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "\\PC*|.*") {
            for bytes in [&bytes[..], text.as_bytes()] {
                prop_assert!(!escaped(bytes).chars().any(is_dangerous));
                let lines = readable(bytes);
                prop_assert!(!lines.chars().any(|c| is_dangerous(c) && c != '\n' && c != '\t'), "{lines:?}");
            }
            let json = serde_json::to_string(&text).unwrap();
            let safe = safe_json(&json);
            prop_assert!(!safe.chars().any(is_dangerous));
            prop_assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
        }

        #[test]
        fn indentation_changes_no_json(text in r#"[\[\]{}:,"a0 \\]{0,14}"#) {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&readable(text.as_bytes())).unwrap(), value);
            }
        }
    }
}
