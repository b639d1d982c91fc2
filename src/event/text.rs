//! JSON as text: what is cheaper or stricter to do on its bytes than on a parsed value.

use std::borrow::Cow;

/// What one fast pass over a record tells. Most records need no second look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// `{` and `[`, also those inside of strings: no nesting is deeper than this.
    pub(super) openings: usize,
    /// Whether there is any escape.
    pub(super) escapes: bool,
    /// Whether there is neither an escape nor a control character.
    pub(super) is_plain: bool,
}

impl Shape {
    pub(super) fn of(json: &str) -> Shape {
        let mut shape = Shape { openings: 0, escapes: false, is_plain: true };
        // Sums of bytes in short chunks compile to vector instructions.
        for chunk in json.as_bytes().chunks(128) {
            let (mut openings, mut escapes, mut controls) = (0_u8, 0_u8, 0_u8);
            for byte in chunk {
                openings += u8::from(byte | 0x20 == b'{');
                escapes |= u8::from(*byte == b'\\');
                controls |= u8::from(*byte < b' ');
            }
            shape.openings += usize::from(openings);
            shape.escapes |= escapes != 0;
            shape.is_plain &= escapes | controls == 0;
        }
        shape
    }
}

/// Where the first escaped surrogate without its other half is. The parser checks only the strings that it reads,
/// not those that it skips.
pub(super) fn lone_surrogate(json: &str) -> Option<usize> {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|b| *b == b'\\') {
        at += next;
        match escaped_unit(bytes, at) {
            Some(0xD800..=0xDBFF) => match escaped_unit(bytes, at + 6) {
                Some(0xDC00..=0xDFFF) => at += 12,
                _ => return Some(at),
            },
            Some(0xDC00..=0xDFFF) => return Some(at),
            Some(_) => at += 6,
            None => at = (at + 2).min(bytes.len()),
        }
    }
    None
}

/// The code unit of an escape `\uXXXX` at this place; `None` when there is something else.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digit = |unit: u16, byte: &u8| Some(unit << 4 | char::from(*byte).to_digit(16)? as u16);
    digits.iter().try_fold(0, digit)
}

/// Whether valid JSON is nested deeper than this; a scalar has depth 0.
pub(super) fn is_deeper(json: &str, most: usize) -> bool {
    let (mut depth, mut in_string) = (0_usize, false);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    false
}

/// Appends valid JSON without the white space between its tokens, otherwise byte for byte.
pub(super) fn push_compact(json: &str, out: &mut String) {
    let bytes = json.as_bytes();
    let (mut at, mut kept, mut in_string) = (0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b' ' | b'\t' | b'\n' | b'\r' if !in_string => {
                out.push_str(&json[kept..at]);
                kept = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    out.push_str(&json[kept..]);
}

/// Appends a string as JSON, in the shortest escapes.
pub fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    // Most texts need no escape, and a look at all bytes without a branch compiles to vector instructions.
    if text.bytes().fold(true, |plain, byte| plain & !needs_escape(byte)) {
        out.push_str(text);
    } else {
        push_escaped(text, out);
    }
    out.push('"');
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn push_escaped(text: &str, out: &mut String) {
    let mut kept = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !needs_escape(byte) {
            continue;
        }
        out.push_str(&text[kept..at]);
        kept = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0C => out.push_str("\\f"),
            _ => {
                out.push_str("\\u00");
                out.push(char::from(b'0' + (byte >> 4)));
                out.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
            }
        }
    }
    out.push_str(&text[kept..]);
}

/// What a JSON string says. The caller has found it valid.
pub(super) fn unescaped(quoted: &str) -> Cow<'_, str> {
    match quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        _ => Cow::Owned(serde_json::from_str(quoted).unwrap_or_default()),
    }
}

/// The longest beginning of at most so many bytes that ends between two characters.
pub fn head(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lone_halves_are_found_and_pairs_are_not() {
        for lone in
            [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\ud83d\ude00""#, r#""\\\uDC00""#, r#""\ud83dx""#, r#"\ud83d"#]
        {
            assert!(lone_surrogate(lone).is_some(), "{lone}");
        }
        for fine in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u0041\n""#, r#""\ud7ff""#, r#""\ue000""#, "\\", "\\u12"]
        {
            assert_eq!(lone_surrogate(fine), None, "{fine}");
        }
        assert_eq!(lone_surrogate(r#"{"a":"\ud83d"}"#), Some(6));
    }

    #[test]
    fn depth_is_that_of_brackets_outside_of_strings() {
        assert!(!is_deeper("1", 0));
        assert!(is_deeper("{}", 0));
        assert!(!is_deeper(r#"{"a":[1,"[[[\"{{",{}],"b":[]}"#, 3));
        assert!(is_deeper(r#"{"a":[1,"[[[\"{{",{}],"b":[]}"#, 2));
        assert!(is_deeper(&"[".repeat(100_000), 99_999));
    }

    #[test]
    fn a_head_ends_between_characters() {
        assert_eq!(head("abc", 3), "abc");
        assert_eq!(head("abc", 2), "ab");
        assert_eq!(head("aäb", 2), "a");
        assert_eq!(head("😀", 3), "");
    }

    proptest! {
        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in "(\\PC|[\0-\u{7f}]){0,40}") {
            let mut quoted = String::new();
            push_quoted(&text, &mut quoted);
            prop_assert_eq!(&quoted, &serde_json::to_string(&text).unwrap());
            prop_assert_eq!(unescaped(&quoted), text);
        }

        #[test]
        fn the_shape_is_that_of_the_text(text in "[a-z{}\\[\\]]{0,200}[\\\\\\n\0{\\]]{0,2}[a-z{}]{0,200}") {
            let shape = Shape::of(&text);
            prop_assert_eq!(shape.openings, text.matches(['{', '[']).count());
            prop_assert_eq!(shape.escapes, text.contains('\\'));
            prop_assert_eq!(shape.is_plain, !text.contains(|c: char| c == '\\' || c < ' '));
        }
    }
}
