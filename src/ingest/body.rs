//! From the body of a request to the text of each event in it. What an event says is not looked at here.

use super::reject::Reject;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What the content type says of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON value: an event, an array, or `{"events":[…]}`.
    Json,
    /// An event on each line.
    Lines,
    /// Any of these. It is what browsers send by `sendBeacon`, because it needs no preflight.
    Text,
}

impl Format {
    /// The format that a content type names; JSON when there is none. Parameters (`charset`) are not looked at: the
    /// body has to be UTF-8 whatever they say.
    ///
    /// # Errors
    /// [`Reject::ContentType`] for any other type.
    pub(super) fn of(content_type: Option<&[u8]>) -> Result<Format, Reject> {
        let Some(content_type) = content_type else { return Ok(Format::Json) };
        let essence = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
        if is("application/json") {
            Ok(Format::Json)
        } else if is("application/x-ndjson") {
            Ok(Format::Lines)
        } else if is("text/plain") {
            Ok(Format::Text)
        } else {
            Err(Reject::ContentType)
        }
    }
}

/// Splits a body into the texts of its events, in their order. A text may still be no event; but where the body is
/// one JSON value, it is a valid one.
///
/// # Errors
/// When the body as a whole cannot be read, or holds no events.
pub(super) fn split(body: &[u8], format: Format) -> Result<Vec<&[u8]>, Reject> {
    let body = body.trim_ascii();
    let Some(first) = body.first() else { return Err(Reject::Empty) };
    let events = match (format, first) {
        (Format::Lines, _) => lines(body).collect(),
        (_, b'[') => elements(utf8(body)?)?,
        (Format::Text, b'{') if is_lines(body) => lines(body).collect(),
        (_, b'{') => wrapped(body)?.unwrap_or_else(|| vec![body]),
        _ => vec![body],
    };
    if events.is_empty() { Err(Reject::NoEvents) } else { Ok(events) }
}

fn utf8(body: &[u8]) -> Result<&str, Reject> {
    simdutf8::compat::from_utf8(body).map_err(|error| Reject::NotUtf8(error.valid_up_to()))
}

fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

/// Whether a body is events on lines: it is not one JSON value as a whole, and a line of it is an object.
fn is_lines(body: &[u8]) -> bool {
    let is_json = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    body.contains(&b'\n') && !is_json(body) && lines(body).any(|line| line.starts_with(b"{") && is_json(line))
}

fn elements(array: &str) -> Result<Vec<&[u8]>, Reject> {
    let elements: Vec<&RawValue> = serde_json::from_str(array).map_err(|error| Reject::Syntax(error.to_string()))?;
    Ok(elements.into_iter().map(|element| element.get().as_bytes()).collect())
}

/// The events of `{"events":[…]}`; `None` when the object is something else, and so an event itself.
fn wrapped(object: &[u8]) -> Result<Option<Vec<&[u8]>>, Reject> {
    // Most objects are events. A body that cannot be read is none either: reading it as one says what is wrong.
    if !mentions_events(object) {
        return Ok(None);
    }
    let Ok(wrapper) = simdutf8::basic::from_utf8(object).map_or(Err(()), |o| serde_json::from_str(o).map_err(|_| ()))
    else {
        return Ok(None);
    };
    match wrapper {
        Wrapper { is_event: true, .. } | Wrapper { events: None, .. } => Ok(None),
        Wrapper { twice: true, .. } => Err(Reject::EventsTwice),
        Wrapper { events: Some(events), .. } if events.get().starts_with('[') => elements(events.get()).map(Some),
        Wrapper { .. } => Err(Reject::EventsNotAnArray),
    }
}

fn mentions_events(object: &[u8]) -> bool {
    const NAME: &[u8] = b"\"events\"";
    object.windows(NAME.len()).any(|window| window == NAME)
}

/// An object that may hold events. Anything beside them is left alone.
#[derive(Debug)]
struct Wrapper<'a> {
    events: Option<&'a RawValue>,
    /// Whether there is more than one `events`.
    twice: bool,
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
                let mut wrapper = Wrapper { events: None, twice: false, is_event: false };
                while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
                    match name.get() {
                        "\"events\"" => wrapper.twice |= wrapper.events.replace(value).is_some(),
                        "\"event_type\"" | "\"type\"" => wrapper.is_event |= value.get() != "null",
                        _ => {}
                    }
                }
                Ok(wrapper)
            }
        }

        from.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(body: &str, format: Format) -> Vec<String> {
        let events = split(body.as_bytes(), format).unwrap();
        events.into_iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect()
    }

    #[test]
    fn content_types_have_parameters_and_any_case() {
        for (name, format) in [
            ("application/json", Format::Json),
            ("Application/JSON; charset=UTF-8", Format::Json),
            ("application/x-ndjson", Format::Lines),
            ("text/plain;charset=UTF-8", Format::Text),
            ("text/plain ; charset=\"utf-8\"", Format::Text),
        ] {
            assert_eq!(Format::of(Some(name.as_bytes())), Ok(format), "{name}");
        }
        assert_eq!(Format::of(None), Ok(Format::Json));
        for name in ["", "text/html", "application/jsonp", "application/x-www-form-urlencoded", "*/*", "\u{e4}"] {
            assert_eq!(Format::of(Some(name.as_bytes())), Err(Reject::ContentType), "{name}");
        }
    }

    #[test]
    fn one_value_is_an_event_an_array_or_a_wrapper() {
        for format in [Format::Json, Format::Text] {
            assert_eq!(texts(" {\"type\":\"a\"}\n", format), ["{\"type\":\"a\"}"]);
            assert_eq!(texts("[ {\"a\":[1]} , 5,null ]", format), ["{\"a\":[1]}", "5", "null"]);
            assert_eq!(texts("{\"sent_at\":1,\n\"events\" : [{},{}]}", format), ["{}", "{}"]);
            assert_eq!(texts("{\"type\":null,\"events\":[{}]}", format), ["{}"]);
            let event = "{\"type\":\"a\",\"events\":[1,2]}";
            assert_eq!(texts(event, format), [event]);
            let event = "{\"payload\":{\"events\":[1]}}";
            assert_eq!(texts(event, format), [event]);
            assert_eq!(split(b"{\"events\":5}", format), Err(Reject::EventsNotAnArray));
            assert_eq!(split(b"{\"events\":[]}", format), Err(Reject::NoEvents));
            assert_eq!(split(b"{\"events\":[{}],\"events\":[]}", format), Err(Reject::EventsTwice));
        }
    }

    #[test]
    fn each_line_stands_alone() {
        let body = "{\"type\":\"a\"}\r\n\n  \n{broken\n[1]\n{\"type\":\"b\"}";
        let expected = ["{\"type\":\"a\"}", "{broken", "[1]", "{\"type\":\"b\"}"];
        assert_eq!(texts(body, Format::Lines), expected);
        assert_eq!(texts(body, Format::Text), expected);
        assert_eq!(texts("{broken\n{\"type\":\"b\"}", Format::Text), ["{broken", "{\"type\":\"b\"}"]);
        let pretty = "{\n  \"type\": \"a\",\n  \"payload\": {\n  }\n}";
        assert_eq!(texts(pretty, Format::Text), [pretty]);
        let broken = "{\n  \"type\": \"a\",\n";
        assert_eq!(texts(broken, Format::Text), [broken.trim()]);
    }

    #[test]
    fn what_cannot_be_split_is_refused_as_a_whole() {
        assert_eq!(split(b" \n ", Format::Lines), Err(Reject::Empty));
        assert_eq!(split(b"", Format::Json), Err(Reject::Empty));
        assert_eq!(split(b"[]", Format::Json), Err(Reject::NoEvents));
        assert_eq!(split(b"[\"\xff\"]", Format::Json), Err(Reject::NotUtf8(2)));
        let error = split(b"[{},\n{]", Format::Text).unwrap_err().to_string();
        assert!(error.contains("line 2 column 2"), "{error}");
        assert!(matches!(split(b"[{}] x", Format::Json), Err(Reject::Syntax(_))));
        let deep = "[".repeat(100_000);
        assert!(matches!(split(deep.as_bytes(), Format::Json), Err(Reject::Syntax(_))));
        let deep = format!("{{\"events\":{deep}");
        assert_eq!(split(deep.as_bytes(), Format::Text).unwrap().len(), 1, "its event says what is wrong");
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_or_refused(body in prop::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\",:\na-eventsp0]{0,60}") {
            for format in [Format::Json, Format::Lines, Format::Text] {
                let _ = split(&body, format);
                let _ = split(text.as_bytes(), format);
                let _ = split(format!("{{\"events\":{text}}}").as_bytes(), format);
            }
        }

        #[test]
        fn an_array_and_its_lines_are_the_same_events(events in prop::collection::vec("\\{(\"[a-z\\[]{1,5}\":[1-9]{1,3})\\}|[1-9]{1,5}", 1..10)) {
            let array = format!("[{}]", events.join(", "));
            prop_assert_eq!(&texts(&array, Format::Json), &events);
            prop_assert_eq!(&texts(&format!("{{\"events\":{array}}}"), Format::Text), &events);
            prop_assert_eq!(&texts(&events.join("\n"), Format::Lines), &events);
        }
    }
}
