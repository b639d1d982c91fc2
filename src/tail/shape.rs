use super::entry::cut;
use serde::Serialize;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Of an event no more than this is looked at.
const LOOKED_AT: usize = 64 * 1024;
/// Names that are shown of an event, and as many of its payload.
const NAMES: usize = 30;
/// Bytes of a name, of a type and of an id.
const NAME: usize = 64;
const TEXT: usize = 128;

/// An event without its values: its type, version and id, the names of its fields, and of each field of its payload the
/// name and what kind of value it has, like `string(12)`. What users are called, sessions, addresses and write keys are
/// values, and never in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Shape {
    /// Bytes that it had as it was sent; of an accepted event, as it is stored.
    pub bytes: usize,
    /// What happened, as far as it is a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The version, if it is a natural number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_version: Option<u64>,
    /// What names the event, as far as it is a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The names of its fields, in their order.
    #[serde(default)]
    pub fields: Vec<String>,
    /// The names of the payload's fields, each with the kind of its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub payload: BTreeMap<String, String>,
    /// Whether there are more names than are shown, or something that could not be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

impl Shape {
    /// What may be shown of an event, or of what was meant to be one: as far as it can be read.
    pub fn of(json: &[u8]) -> Shape {
        let mut draft = Draft { shape: Shape { bytes: json.len(), ..Shape::default() }, ..Draft::default() };
        let mut from = serde_json::Deserializer::from_slice(&json[..json.len().min(LOOKED_AT)]);
        // Where it breaks off, what was read until then stays.
        if Fields(&mut draft).deserialize(&mut from).is_err() {
            draft.shape.cut = true;
        }
        let Draft { mut shape, short_type, short_ids: [id, message_id], .. } = draft;
        shape.event_type = shape.event_type.or(short_type);
        shape.event_id = shape.event_id.or(id).or(message_id);
        shape
    }
}

/// What is being read.
#[derive(Default)]
struct Draft {
    shape: Shape,
    short_type: Option<String>,
    short_ids: [Option<String>; 2],
}

struct Fields<'d>(&'d mut Draft);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Draft { shape, short_type, short_ids: [id, message_id] } = self.0;
        while let Some(name) = map.next_key::<String>()? {
            if shape.fields.len() < NAMES {
                shape.fields.push(cut(&name, NAME));
            } else {
                shape.cut = true;
            }
            match name.as_str() {
                "event_type" => shape.event_type = map.next_value::<Seen>()?.text,
                "type" => *short_type = map.next_value::<Seen>()?.text,
                "event_id" => shape.event_id = map.next_value::<Seen>()?.text,
                "id" => *id = map.next_value::<Seen>()?.text,
                "message_id" => *message_id = map.next_value::<Seen>()?.text,
                "event_version" => shape.event_version = map.next_value::<Seen>()?.natural,
                "payload" | "properties" => drop(map.next_value_seed(Look(Some(&mut *shape)))?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A value that was seen: what kind it is, and itself only for those few fields that may be shown.
struct Seen {
    kind: String,
    text: Option<String>,
    natural: Option<u64>,
}

impl Seen {
    fn only(kind: impl Into<String>) -> Seen {
        Seen { kind: kind.into(), text: None, natural: None }
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Seen, D::Error> {
        Look(None).deserialize(from)
    }
}

/// Looks at a value, and notes the fields of an object where somebody wants them.
struct Look<'s>(Option<&'s mut Shape>);

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Seen, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seen, E> {
        Ok(Seen { text: Some(cut(text, TEXT)), ..Seen::only(format!("string({})", text.len())) })
    }

    fn visit_u64<E: Error>(self, natural: u64) -> Result<Seen, E> {
        Ok(Seen { natural: Some(natural), ..Seen::only("number") })
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::only("number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::only("number"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Seen, E> {
        Ok(Seen::only("boolean"))
    }

    fn visit_unit<E: Error>(self) -> Result<Seen, E> {
        Ok(Seen::only("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seen, A::Error> {
        let mut elements = 0_usize;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            elements += 1;
        }
        Ok(Seen::only(format!("array({elements})")))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let mut fields = 0_usize;
        let Some(shape) = self.0 else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                fields += 1;
            }
            return Ok(Seen::only(format!("object({fields})")));
        };
        while let Some(name) = map.next_key::<String>()? {
            let seen = map.next_value::<Seen>()?;
            fields += 1;
            if shape.payload.len() < NAMES {
                shape.payload.insert(cut(&name, NAME), seen.kind);
            } else {
                shape.cut = true;
            }
        }
        Ok(Seen::only(format!("object({fields})")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn shown(json: &str) -> Value {
        serde_json::to_value(Shape::of(json.as_bytes())).unwrap()
    }

    #[test]
    fn names_and_kinds_are_shown_and_no_values() {
        let event = r#"{"type":"buy","id":"e1","event_version":2,"user_id":"ann","session_id":"s","timestamp":1760000000000,
            "payload":{"email":"ann@example.com","amount":12.5,"items":[1,2,3],"gift":true,"note":null,"to":{"a":{"b":1}}},
            "experiment":{"variant":"b"}}"#;
        assert_eq!(
            shown(event),
            json!({"bytes": event.len(), "event_type": "buy", "event_version": 2, "event_id": "e1",
                "fields": ["type", "id", "event_version", "user_id", "session_id", "timestamp", "payload", "experiment"],
                "payload": {"email": "string(15)", "amount": "number", "items": "array(3)", "gift": "boolean",
                    "note": "null", "to": "object(1)"}})
        );
        let both = shown(r#"{"message_id":"c","id":"b","type":"short","event_type":"full"}"#);
        assert_eq!((&both["event_type"], &both["event_id"]), (&json!("full"), &json!("b")));
    }

    #[test]
    fn what_is_no_event_is_shown_as_far_as_it_goes() {
        for (json, fields, event_type) in [
            ("", json!([]), Value::Null),
            ("7", json!([]), Value::Null),
            ("[{\"type\":\"a\"}]", json!([]), Value::Null),
            (r#"{"type":7,"payload":"x"}"#, json!(["type", "payload"]), Value::Null),
            (r#"{"type":"a","payload":{"b":1,"c""#, json!(["type", "payload"]), json!("a")),
            (r#"{"type":"a\nb","\u001b[2J":1}"#, json!(["type", "\\u{1b}[2J"]), json!("a\\nb")),
        ] {
            let shown = shown(json);
            assert_eq!((&shown["fields"], &shown["event_type"]), (&fields, &event_type), "{json}");
        }
        assert_eq!(Shape::of(b"{\"type\":\"a\",\"x\":\"\xff\",\"y\":1}").fields, ["type", "x", "y"]);
    }

    #[test]
    fn it_is_bounded_whatever_was_sent() {
        let many: BTreeMap<String, Value> = (0..5_000).map(|n| (format!("{n}{}", "ü".repeat(500)), json!(n))).collect();
        let deep = "[".repeat(100_000);
        for json in [
            json!({"type": "x".repeat(10_000), "payload": &many, "id": "\u{1b}".repeat(10_000)}).to_string(),
            json!(many).to_string(),
            format!(r#"{{"payload":{{"a":{deep}"#),
            format!(r#"{{"type":{deep}"#),
        ] {
            let shape = Shape::of(json.as_bytes());
            assert!(shape.cut && shape.bytes == json.len());
            let size = serde_json::to_string(&shape).unwrap().len();
            assert!(size < 6_000, "{size}");
        }
    }

    /// Any JSON whose texts and numbers all carry a mark that nothing else has.
    fn marked() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[a-z\"\\\\\n]{0,8}".prop_map(|text| json!(format!("{text}SECRET"))),
            (777_000_i64..777_999).prop_map(|number| json!(number)),
            Just(json!(777_000.5)),
            Just(json!(null)),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,5}", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_value_is_ever_shown(
            known in prop::collection::btree_map(
                prop::sample::select(vec!["user_id", "session_id", "timestamp", "payload", "properties", "context",
                    "received_at", "sent_at", "write_key", "ip"]),
                marked(), 0..8,
            ),
            others in prop::collection::btree_map("[a-z]{1,5}", marked(), 0..4),
            until in any::<prop::sample::Index>(),
        ) {
            let mut event = json!({"event_type": "buy", "event_id": "e", "event_version": 3});
            for (name, value) in known.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(others) {
                // Those four are shown as they are.
                if !["type", "id"].contains(&name.as_str()) {
                    event[&name] = value;
                }
            }
            let json = event.to_string();
            // All of it, and what is left when it breaks off anywhere.
            for bytes in [json.as_bytes(), &json.as_bytes()[..until.index(json.len())]] {
                let shape = serde_json::to_string(&Shape { bytes: 0, ..Shape::of(bytes) }).unwrap();
                prop_assert!(!shape.contains("SECRET") && !shape.contains("777"), "{shape}");
            }
        }

        #[test]
        fn any_bytes_have_a_shape(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Shape::of(&bytes).bytes, bytes.len());
        }
    }
}
