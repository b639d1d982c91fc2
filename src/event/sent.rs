//! The top-level fields of an event as they were sent, read in one pass and not judged yet.

use super::scan::{self, Members, RawJson};
use super::text::Shape;
use super::{Invalid, Kind};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A field that has a meaning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    EventType,
    Type,
    EventId,
    Id,
    MessageId,
    EventVersion,
    Timestamp,
    ReceivedAt,
    UserId,
    SessionId,
    Payload,
    Properties,
    Context,
}

/// Names of all fields, in the order of the enum.
const NAMES: [&str; 13] = [
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

impl Field {
    pub(super) fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    pub(super) fn named(name: &str) -> Option<Field> {
        Some(match name {
            "event_type" => Field::EventType,
            "type" => Field::Type,
            "event_id" => Field::EventId,
            "id" => Field::Id,
            "message_id" => Field::MessageId,
            "event_version" => Field::EventVersion,
            "timestamp" => Field::Timestamp,
            "received_at" => Field::ReceivedAt,
            "user_id" => Field::UserId,
            "session_id" => Field::SessionId,
            "payload" => Field::Payload,
            "properties" => Field::Properties,
            "context" => Field::Context,
            _ => return None,
        })
    }

    pub(super) fn is_object(self) -> bool {
        matches!(self, Field::Payload | Field::Properties | Field::Context)
    }
}

/// The value of a known field.
#[derive(Debug, Clone, Default)]
pub(super) enum Value<'a> {
    /// The field is not there.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Negative(i64),
    Natural(u64),
    /// A value of the fields that hold objects, whatever its kind.
    Raw(RawJson<'a>),
    /// Anything that no field can hold: only its kind is kept.
    Other(Kind),
}

impl Value<'_> {
    pub(super) fn null() -> Self {
        Value::Other(Kind::Null)
    }

    /// null is the same as absent.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Value::Absent | Value::Other(Kind::Null))
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Value::Absent => Kind::Null,
            Value::Text(_) => Kind::Text,
            Value::Negative(_) | Value::Natural(_) => Kind::Integer,
            Value::Raw(raw) => raw.get().bytes().next().and_then(Kind::of).unwrap_or(Kind::Null),
            Value::Other(kind) => *kind,
        }
    }
}

/// All top-level fields of an event.
#[derive(Debug, Default)]
pub(super) struct Sent<'a> {
    known: [Value<'a>; NAMES.len()],
    /// Fields without a meaning here, in their order.
    pub(super) extra: Vec<(Cow<'a, str>, RawJson<'a>)>,
    /// Where the members of that field's object stand.
    pub(super) members: Option<(Field, Members)>,
    /// The known field that is being read: where a mistake is.
    at: Option<Field>,
    twice: Option<Field>,
}

impl<'a> Sent<'a> {
    /// Reads a JSON object, whose shape is known, into one that has nothing yet.
    ///
    /// # Errors
    /// When it is none, or says a known field twice.
    pub(super) fn read(&mut self, json: &'a str, shape: Shape) -> Result<(), Invalid> {
        if !(shape.is_plain && scan::read(json, self).is_some()) {
            *self = Sent::parse(json)?;
        }
        Ok(())
    }

    /// The same for any text.
    pub(super) fn parse(json: &'a str) -> Result<Sent<'a>, Invalid> {
        match json.trim_start_matches([' ', '\t', '\n', '\r']).bytes().next() {
            None => return Err(Invalid::Empty),
            Some(b'{') => {}
            Some(other) => {
                if let Some(kind) = Kind::of(other) {
                    return Err(Invalid::NotAnObject(kind));
                }
            }
        }
        let mut sent = Sent::default();
        let mut from = serde_json::Deserializer::from_str(json);
        match Fields(&mut sent).deserialize(&mut from).and_then(|()| from.end()) {
            Ok(()) => Ok(sent),
            Err(error) => Err(match sent.twice {
                Some(field) => Invalid::Twice(field.name()),
                None => Invalid::Syntax { field: sent.at.map(Field::name), problem: error.to_string() },
            }),
        }
    }

    /// Notes the value of a field; `None` when it has one already.
    pub(super) fn put(&mut self, field: Field, value: Value<'a>) -> Option<()> {
        let known = &mut self.known[field as usize];
        matches!(known, Value::Absent).then(|| *known = value)
    }

    /// The value of a field, which is absent afterwards.
    pub(super) fn take(&mut self, field: Field) -> Value<'a> {
        std::mem::take(&mut self.known[field as usize])
    }

    /// All of it, to be compared.
    #[cfg(test)]
    pub(super) fn told(&self) -> (Vec<String>, Vec<(&str, &str)>) {
        let value = |value: &Value<'_>| match value {
            Value::Raw(raw) => raw.get().to_owned(),
            other => format!("{other:?}"),
        };
        (self.known.iter().map(value).collect(), self.extra.iter().map(|(name, raw)| (&**name, raw.get())).collect())
    }

    /// Of a field and its aliases the first that has a value.
    pub(super) fn take_first(&mut self, fields: &[Field]) -> Option<(Field, Value<'a>)> {
        fields.iter().map(|field| (*field, self.take(*field))).find(|(_, value)| !value.is_absent())
    }
}

struct Fields<'s, 'a>(&'s mut Sent<'a>);

impl<'a> DeserializeSeed<'a> for Fields<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Fields<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Name<'a>>()? {
            let field = match name {
                Name::Extra(name) => {
                    self.0.extra.push((name, map.next_value::<&RawValue>()?.into()));
                    continue;
                }
                Name::Known(field) => field,
            };
            self.0.at = Some(field);
            if !matches!(self.0.known[field as usize], Value::Absent) {
                self.0.twice = Some(field);
                return Err(A::Error::custom("a field stands there twice"));
            }
            self.0.known[field as usize] = if field.is_object() { raw(map.next_value()?) } else { map.next_value()? };
            self.0.at = None;
        }
        Ok(())
    }
}

fn raw(raw: &RawValue) -> Value<'_> {
    if raw.get() == "null" { Value::null() } else { Value::Raw(raw.into()) }
}

enum Name<'a> {
    Known(Field),
    Extra(Cow<'a, str>),
}

impl<'a> Deserialize<'a> for Name<'a> {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Name<'a>, D::Error> {
        struct Names;

        impl<'a> Visitor<'a> for Names {
            type Value = Name<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'a str) -> Result<Name<'a>, E> {
                Ok(Field::named(name).map_or(Name::Extra(Cow::Borrowed(name)), Name::Known))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name<'a>, E> {
                Ok(Field::named(name).map_or_else(|| Name::Extra(Cow::Owned(name.into())), Name::Known))
            }
        }

        from.deserialize_str(Names)
    }
}

impl<'a> Deserialize<'a> for Value<'a> {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Value<'a>, D::Error> {
        from.deserialize_any(Values)
    }
}

/// Takes any value. A wrong kind is no error here: the rules say so later, with the name of the field.
struct Values;

impl<'a> Visitor<'a> for Values {
    type Value = Value<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Value<'a>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'a>, E> {
        Ok(Value::Text(Cow::Owned(text.into())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'a>, E> {
        Ok(Value::Negative(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'a>, E> {
        Ok(Value::Natural(number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'a>, E> {
        Ok(Value::Other(Kind::Number))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value<'a>, E> {
        Ok(Value::Other(Kind::Boolean))
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'a>, E> {
        Ok(Value::Other(Kind::Null))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Value<'a>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other(Kind::Array))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Value<'a>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other(Kind::Object))
    }
}
