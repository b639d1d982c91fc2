//! One JSON value: an event, an array of them, or an object around them.

use super::{Content, Malformed};
use crate::event::json_time_ms;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Reads a body that has no white space around it.
pub(super) fn read(body: &[u8]) -> Result<Content<'_>, Malformed> {
    match body.first() {
        Some(b'[') => Ok(Content::events(elements(utf8(body)?)?)),
        Some(b'{') => Ok(wrapped(body)?.unwrap_or_else(|| Content::events([body]))),
        _ => Ok(Content::events([body])),
    }
}

fn utf8(body: &[u8]) -> Result<&str, Malformed> {
    simdutf8::compat::from_utf8(body).map_err(|error| Malformed::NotUtf8(error.valid_up_to()))
}

fn elements(array: &str) -> Result<impl Iterator<Item = &[u8]>, Malformed> {
    let elements: Vec<&RawValue> = serde_json::from_str(array).map_err(|error| Malformed::Syntax(error.to_string()))?;
    Ok(elements.into_iter().map(|element| element.get().as_bytes()))
}

/// The content of `{"events":[…]}`; `None` when the object is something else, and so an event itself.
fn wrapped(object: &[u8]) -> Result<Option<Content<'_>>, Malformed> {
    // Most objects are events. A body that cannot be read is none either: reading it as one says what is wrong.
    if !mentions_events(object) {
        return Ok(None);
    }
    let Ok(wrapper) = simdutf8::basic::from_utf8(object).map_or(Err(()), |o| serde_json::from_str(o).map_err(|_| ()))
    else {
        return Ok(None);
    };
    let Wrapper { events: Some(events), is_event: false, write_key, sent_at, twice } = wrapper else { return Ok(None) };
    if let Some(name) = twice {
        return Err(Malformed::Twice(name));
    }
    if !events.get().starts_with('[') {
        return Err(Malformed::EventsNotAnArray);
    }
    let sent_at = sent_at.map(|value| json_time_ms("sent_at", value.get())).transpose().map_err(Malformed::SentAt)?;
    Ok(Some(Content {
        write_key: write_key.map(text).transpose()?.flatten(),
        sent_at_ms: sent_at.flatten(),
        ..Content::events(elements(events.get())?)
    }))
}

fn mentions_events(object: &[u8]) -> bool {
    const NAME: &[u8] = b"\"events\"";
    object.windows(NAME.len()).any(|window| window == NAME)
}

/// The text of a JSON string; nothing for null.
fn text(value: &RawValue) -> Result<Option<Cow<'_, str>>, Malformed> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text: Option<Text<'_>> = serde_json::from_str(value.get()).map_err(|_| Malformed::WriteKey)?;
    Ok(text.map(|Text(text)| text))
}

/// An object that may hold events. What is not known here is left alone.
#[derive(Debug, Default)]
struct Wrapper<'a> {
    events: Option<&'a RawValue>,
    write_key: Option<&'a RawValue>,
    sent_at: Option<&'a RawValue>,
    /// One of these that is there more than once.
    twice: Option<&'static str>,
    /// Whether it has a type of its own: then `events` is just a field of an event.
    is_event: bool,
}

impl<'de> Deserialize<'de> for Wrapper<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Wrapper<'de>, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Wrapper<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Wrapper<'de>, A::Error> {
                let mut wrapper = Wrapper::default();
                while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
                    let (field, name) = match name.get() {
                        "\"events\"" => (&mut wrapper.events, "events"),
                        "\"write_key\"" => (&mut wrapper.write_key, "write_key"),
                        "\"sent_at\"" => (&mut wrapper.sent_at, "sent_at"),
                        "\"event_type\"" | "\"type\"" => {
                            wrapper.is_event |= value.get() != "null";
                            continue;
                        }
                        _ => continue,
                    };
                    if field.replace(value).is_some() {
                        wrapper.twice = Some(name);
                    }
                }
                Ok(wrapper)
            }
        }

        from.deserialize_map(Fields)
    }
}
