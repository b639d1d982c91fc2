use super::lookup::{find, push_head, push_text};
use super::text::{head, push_quoted};
use super::{Event, Invalid};
use std::borrow::Cow;

/// Bytes of a key; what is longer is cut, on a character boundary.
const MAX_KEY: usize = 256;

/// Something that an event can be counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// The event's type.
    EventType,
    /// Whose event it is.
    UserId,
    /// The event's session.
    SessionId,
    /// The value at this path in the payload.
    Payload(Vec<Box<str>>),
    /// The value at this path in what ingest added.
    Context(Vec<Box<str>>),
}

impl Dimension {
    /// Reads a path like `event_type`, `payload.path` or `payload."a.b".c`. In quotes, a backslash takes the next
    /// character as it is.
    ///
    /// # Errors
    /// When the path names nothing that an event has.
    pub fn parse(path: &str) -> Result<Dimension, Invalid> {
        let wrong = |problem| Invalid::Path { path: path.into(), problem };
        match path {
            "event_type" => return Ok(Dimension::EventType),
            "user_id" => return Ok(Dimension::UserId),
            "session_id" => return Ok(Dimension::SessionId),
            "payload" | "context" => return Err(wrong("is a whole object: name a field of it, like payload.path")),
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("payload.") {
            names(rest).map(Dimension::Payload).map_err(wrong)
        } else if let Some(rest) = path.strip_prefix("context.") {
            names(rest).map(Dimension::Context).map_err(wrong)
        } else {
            Err(wrong(
                "is no dimension: allowed are event_type, user_id, session_id, payload.<field> and context.<field>",
            ))
        }
    }

    /// Writes its value as text, cut at `most` bytes on a character boundary; an empty one when the event has none.
    pub fn write(&self, event: &Event<'_>, text: &mut String, most: usize) {
        text.clear();
        self.push(event, text, most);
        text.truncate(head(text, most).len());
    }

    /// Appends its value as text; nothing when the event has none. What lies past `end` may be left out.
    pub(super) fn push(&self, event: &Event<'_>, out: &mut String, end: usize) {
        let text = |text: &Option<Cow<'_, str>>, out: &mut String| {
            push_head(text.as_deref().unwrap_or_default(), out, end);
        };
        let found = match self {
            Dimension::EventType => return push_head(&event.event_type, out, end),
            Dimension::UserId => return text(&event.user_id, out),
            Dimension::SessionId => return text(&event.session_id, out),
            Dimension::Payload(path) => event.payload_at(path),
            Dimension::Context(path) => event.context.and_then(|context| find(context, path)),
        };
        if let Some(value) = found {
            push_text(value, out, end);
        }
    }
}

/// Splits `a."b.c".d` at the dots outside of quotes.
fn names(path: &str) -> Result<Vec<Box<str>>, &'static str> {
    let mut names = Vec::new();
    let mut rest = path;
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => plain_name(rest)?,
        };
        names.push(name);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(names),
            None => return Err("has something between a closing quote and the next dot"),
        }
    }
}

fn plain_name(rest: &str) -> Result<(Box<str>, &str), &'static str> {
    let (name, after) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    if name.is_empty() {
        Err("has an empty name: write it in quotes, like payload.\"\", if it is meant")
    } else if name.contains(|c: char| c == '"' || c.is_whitespace()) {
        Err("has a space or a quote in a name: write the name in quotes, like payload.\"a b\"")
    } else {
        Ok((name.into(), after))
    }
}

/// The name up to the closing quote; the opening one is gone already.
fn quoted_name(quoted: &str) -> Result<(Box<str>, &str), &'static str> {
    let mut name = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((name.into(), &quoted[at + 1..])),
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            plain => name.push(plain),
        }
    }
    Err("has a quote that is not closed")
}

/// The dimensions of a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimensions(Vec<Dimension>);

impl From<Dimension> for Dimensions {
    fn from(one: Dimension) -> Dimensions {
        Dimensions(vec![one])
    }
}

impl Dimensions {
    /// Reads paths like `event_type`, `payload.path` or `payload."a.b".c`.
    ///
    /// # Errors
    /// The first path that names nothing an event has.
    pub fn parse(paths: &[String]) -> Result<Dimensions, Invalid> {
        paths.iter().map(|path| Dimension::parse(path)).collect::<Result<_, _>>().map(Dimensions)
    }

    /// Whether there are none: a plain total.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the event's key: one dimension as its text, several as a compact JSON array of those texts, cut at
    /// 256 bytes on a character boundary.
    pub fn write_key(&self, event: &Event<'_>, key: &mut String) {
        let start = key.len();
        match self.0.as_slice() {
            [] => return,
            [one] => one.push(event, key, start + MAX_KEY),
            several => push_array(several, event, key, start + MAX_KEY),
        }
        let end = start + head(&key[start..], MAX_KEY).len();
        key.truncate(end);
    }
}

fn push_array(dimensions: &[Dimension], event: &Event<'_>, key: &mut String, end: usize) {
    let mut text = String::new();
    let mut before = '[';
    for dimension in dimensions {
        key.push(before);
        before = ',';
        text.clear();
        dimension.push(event, &mut text, MAX_KEY);
        push_quoted(&text, key);
        if key.len() > end {
            return;
        }
    }
    key.push(']');
}

#[cfg(test)]
mod tests {
    use super::super::Door;
    use super::*;

    const EVENT: &str = r#"{"type":"view","user_id":"u\"1","payload":{"path":"/a","n":1.0,"yes":true,"nil":null,
        "a.b":{"c":"dotted"},"o":{ "x" : [1, "\u0041"] },"twice":1,"twice":{"k":2},"é":"ü\n","":"empty"},
        "context":{"country":"NO"}}"#;

    fn key(paths: &[&str], json: &str) -> String {
        let event = Event::parse(json.as_bytes(), Door::Topic).unwrap();
        let paths: Vec<String> = paths.iter().map(|p| (*p).to_owned()).collect();
        let mut key = String::new();
        Dimensions::parse(&paths).unwrap().write_key(&event, &mut key);
        key
    }

    #[test]
    fn one_dimension_is_its_value_as_text() {
        for (path, text) in [
            ("event_type", "view"),
            ("user_id", "u\"1"),
            ("session_id", ""),
            ("payload.path", "/a"),
            ("payload.n", "1.0"),
            ("payload.yes", "true"),
            ("payload.nil", ""),
            ("payload.missing.deeper", ""),
            ("payload.path.deeper", ""),
            ("payload.\"a.b\".c", "dotted"),
            ("payload.o", r#"{"x":[1,"A"]}"#),
            ("payload.twice", r#"{"k":2}"#),
            ("payload.twice.k", "2"),
            ("payload.é", "ü\n"),
            ("payload.\"\"", "empty"),
            ("context.country", "NO"),
        ] {
            assert_eq!(key(&[path], EVENT), text, "{path}");
        }
        assert_eq!(key(&["payload.path", "context.country"], r#"{"type":"view"}"#), r#"["",""]"#);
    }

    #[test]
    fn several_dimensions_are_an_array_of_texts() {
        assert_eq!(
            key(&["event_type", "payload.n", "user_id", "payload.o"], EVENT),
            r#"["view","1.0","u\"1","{\"x\":[1,\"A\"]}"]"#
        );
    }

    #[test]
    fn a_key_is_cut_at_256_bytes_between_characters() {
        for length in 250..262 {
            let text = "x".repeat(length) + "äö😀" + &"y".repeat(300);
            let json = format!(r#"{{"type":"t","payload":{{"p":"{text}","o":["{text}"]}}}}"#);
            assert_eq!(key(&["payload.p"], &json), head(&text, 256));
            assert_eq!(key(&["payload.o"], &json), head(&format!("[\"{text}\"]"), 256));
            let pair = serde_json::to_string(&[&text, "t"]).unwrap();
            assert_eq!(key(&["payload.p", "event_type"], &json), head(&pair, 256));
        }
    }

    #[test]
    fn a_key_is_appended_without_touching_what_is_there() {
        let event = Event::parse(EVENT.as_bytes(), Door::Topic).unwrap();
        let mut key = "before:".to_owned();
        Dimensions::parse(&["payload.path".to_owned()]).unwrap().write_key(&event, &mut key);
        assert_eq!(key, "before:/a");
    }

    #[test]
    fn quoted_names_may_hold_anything() {
        let names = ["a b", "c.d", "e\"f", "g\\h"].map(Into::into).to_vec();
        assert_eq!(Dimension::parse(r#"payload."a b"."c.d"."e\"f"."g\\h""#), Ok(Dimension::Payload(names)));
    }

    #[test]
    fn a_wrong_path_says_what_is_allowed() {
        for (path, problem) in [
            ("page", "allowed are event_type"),
            ("", "allowed are event_type"),
            ("event_id", "allowed are event_type"),
            ("payloads.x", "allowed are event_type"),
            ("payload", "name a field of it"),
            ("payload.", "empty name"),
            ("payload.a..b", "empty name"),
            ("payload.a b", "in quotes"),
            ("payload.\"a", "not closed"),
            ("payload.\"a\\\"", "not closed"),
            ("payload.\"a\"b", "between a closing quote"),
        ] {
            let error = Dimension::parse(path).unwrap_err().to_string();
            assert!(error.contains(problem), "{path}: {error}");
        }
    }
}
