//! An event by the documented rules, read with serde_json's own values.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// What counts of an event.
pub(super) struct Event {
    pub(super) event_type: String,
    pub(super) id: Option<String>,
    /// Its timestamp, else its receipt.
    pub(super) at_ms: Option<i64>,
    user_id: Option<String>,
    session_id: Option<String>,
    payload: Value,
    context: Value,
}

/// Something to count by: `event_type`, or the names on the way into `payload` or `context`.
#[derive(Clone, Debug)]
pub(super) struct Dimension(Vec<String>);

impl Dimension {
    /// Reads `payload.a` and `payload."a.b".c`.
    pub(super) fn of(path: &str) -> Dimension {
        let parts = path.split('"').enumerate().flat_map(|(at, part)| match at % 2 {
            1 => vec![part.to_owned()],
            _ => part.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        });
        Dimension(parts.collect())
    }
}

const KNOWN: [&str; 13] = [
    "event_type",
    "type",
    "event_id",
    "id",
    "message_id",
    "event_version",
    "timestamp",
    "received_at",
    "user_id",
    "session_id",
    "payload",
    "properties",
    "context",
];

/// All members of an object in their order, the repeated ones too.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(All)
    }
}

impl Event {
    /// `None` for what cannot be read as an event.
    pub(super) fn read(json: &[u8]) -> Option<Event> {
        let Members(members) = serde_json::from_str(std::str::from_utf8(json).ok()?).ok()?;
        let mut known = BTreeMap::new();
        for (name, raw) in members {
            // Whatever it is, it must be readable text: a lone surrogate is none.
            let value: Value = serde_json::from_str(raw.get()).ok()?;
            if KNOWN.contains(&name.as_str()) && known.insert(name, value).is_some() {
                return None;
            }
        }
        known.retain(|_, value| !value.is_null());
        let mut first = |names: &[&str]| names.iter().filter_map(|name| known.remove(*name)).next();

        let event_type = text(first(&["event_type", "type"]), 1, 128)??;
        if event_type.chars().any(char::is_control) {
            return None;
        }
        let id = text(first(&["event_id", "id", "message_id"]), 1, 128)?;
        match first(&["event_version"]) {
            Some(version) if version.as_u64().is_none_or(|version| version < 1) => return None,
            _ => {}
        }
        let (timestamp, received_at) = (time(first(&["timestamp"]))?, time(first(&["received_at"]))?);
        let (user_id, session_id) = (text(first(&["user_id"]), 0, 256)?, text(first(&["session_id"]), 0, 256)?);
        let payload = object(first(&["payload", "properties"]))?;
        if depth(&payload) > 32 {
            return None;
        }
        let context = object(first(&["context"]))?;
        Some(Event { event_type, id, at_ms: timestamp.or(received_at), user_id, session_id, payload, context })
    }

    /// Writes the key that it counts under.
    pub(super) fn key(&self, by: &[Dimension], key: &mut String) {
        key.clear();
        match by {
            [] => {}
            [one] => key.push_str(&self.text_of(one)),
            many => {
                let texts: Vec<_> = many.iter().map(|dimension| self.text_of(dimension)).collect();
                key.push_str(&serde_json::to_string(&texts).expect("texts"));
            }
        }
        let mut end = key.len().min(256);
        while !key.is_char_boundary(end) {
            end -= 1;
        }
        key.truncate(end);
    }

    fn text_of(&self, Dimension(path): &Dimension) -> String {
        let own = |text: &Option<String>| text.clone().unwrap_or_default();
        let (object, names) = match path[0].as_str() {
            "event_type" => return self.event_type.clone(),
            "user_id" => return own(&self.user_id),
            "session_id" => return own(&self.session_id),
            "payload" => (&self.payload, &path[1..]),
            "context" => (&self.context, &path[1..]),
            other => panic!("{other} is no dimension"),
        };
        match names.iter().try_fold(object, |value, name| value.as_object()?.get(name)) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

/// Outer `None`: refused. Inner: absent.
fn text(value: Option<Value>, least: usize, most: usize) -> Option<Option<String>> {
    match value {
        None => Some(None),
        Some(Value::String(text)) if (least..=most).contains(&text.len()) => Some(Some(text)),
        Some(_) => None,
    }
}

fn time(value: Option<Value>) -> Option<Option<i64>> {
    let ms = match value {
        None => return Some(None),
        Some(Value::String(text)) => text.parse::<jiff::Timestamp>().ok()?.as_millisecond(),
        Some(number) => number.as_i64()?,
    };
    let (first, last) = ("2000-01-01T00:00:00Z", "2100-12-31T23:59:59.999Z");
    let edge = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_millisecond();
    (edge(first)..=edge(last)).contains(&ms).then_some(Some(ms))
}

fn object(value: Option<Value>) -> Option<Value> {
    match value {
        None => Some(Value::Null),
        Some(object @ Value::Object(_)) => Some(object),
        Some(_) => None,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
