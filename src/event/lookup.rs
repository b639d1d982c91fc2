//! Finds a value inside of an object's text, and writes a value as the text of a dimension.

use super::scan::{self, RawJson};
use super::text::{head, push_quoted, unescaped};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The value at a path of names; `None` when a name is missing or something on the way is no object. Of a
/// repeated name the last one counts.
pub(super) fn find<'a>(object: RawJson<'a>, path: &[Box<str>]) -> Option<RawJson<'a>> {
    path.iter().try_fold(object, |object, name| member(object, name))
}

/// Appends a value as a dimension's text: strings as they are, null as nothing, the rest as compact JSON. Nothing
/// past `end` matters: what would come after it may be left out.
pub(super) fn push_text(value: RawJson<'_>, out: &mut String, end: usize) {
    let json = value.get();
    match json.as_bytes().first() {
        Some(b'"') => push_head(&unescaped(json), out, end),
        Some(b'n') => {}
        _ => push_json(json, out, end),
    }
}

/// Appends as much of a text as can matter: a character more than fits, so that the cut falls where it would in
/// the whole of it.
pub(super) fn push_head(text: &str, out: &mut String, end: usize) {
    out.push_str(head(text, end.saturating_sub(out.len()) + char::MAX.len_utf8()));
}

/// Each level of nesting writes a byte at least, so `end` bounds the recursion.
fn push_json(json: &str, out: &mut String, end: usize) {
    match json.as_bytes().first() {
        Some(b'"') => {
            let most = end.saturating_sub(out.len()) + char::MAX.len_utf8();
            push_quoted(head(&unescaped(json), most), out);
        }
        Some(b'{') => {
            out.push('{');
            for (at, (name, value)) in members(json).into_iter().enumerate() {
                if out.len() > end {
                    return;
                }
                if at > 0 {
                    out.push(',');
                }
                push_quoted(head(&name, end + char::MAX.len_utf8()), out);
                out.push(':');
                push_json(value.get(), out, end);
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            for (at, value) in serde_json::from_str::<Vec<&RawValue>>(json).unwrap_or_default().into_iter().enumerate()
            {
                if out.len() > end {
                    return;
                }
                if at > 0 {
                    out.push(',');
                }
                push_json(value.get(), out, end);
            }
            out.push(']');
        }
        _ => push_head(json, out, end),
    }
}

/// The value of a member; `None` when there is none of that name, or this is no object.
pub(super) fn member<'a>(object: RawJson<'a>, name: &str) -> Option<RawJson<'a>> {
    if !object.get().starts_with('{') {
        return None;
    }
    scan::member(object, name).unwrap_or_else(|()| {
        let found = serde_json::Deserializer::from_str(object.get()).deserialize_map(Member(name));
        found.ok().flatten().map(RawJson::from)
    })
}

struct Member<'n>(&'n str);

impl<'a> Visitor<'a> for Member<'_> {
    type Value = Option<&'a RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Option<&'a RawValue>, A::Error> {
        let mut found = None;
        while let Some(matches) = map.next_key_seed(Is(self.0))? {
            if matches {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a name is this one.
struct Is<'n>(&'n str);

impl<'a> DeserializeSeed<'a> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// The members of an object, each name once: the last value, at the first place.
fn members(json: &str) -> Vec<(Cow<'_, str>, &RawValue)> {
    serde_json::from_str::<Members<'_>>(json).map(|members| members.0).unwrap_or_default()
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Members<'a>, D::Error> {
        struct All;

        impl<'a> Visitor<'a> for All {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
                let mut places = HashMap::<Cow<'a, str>, usize, ahash::RandomState>::default();
                let mut all = Vec::new();
                while let Some((name, value)) = map.next_entry::<&'a RawValue, &'a RawValue>()? {
                    let name = unescaped(name.get());
                    let place = *places.entry(name.clone()).or_insert(all.len());
                    if place == all.len() {
                        all.push((name, value));
                    } else {
                        all[place].1 = value;
                    }
                }
                Ok(Members(all))
            }
        }

        from.deserialize_map(All)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sent::Sent;
    use super::super::{Door, Event};
    use super::*;
    use proptest::prelude::*;

    fn text_of(json: &str, end: usize) -> String {
        let mut out = String::new();
        push_text(serde_json::from_str::<&RawValue>(json).unwrap().into(), &mut out, end);
        out
    }

    #[test]
    fn a_repeated_name_keeps_its_first_place_and_its_last_value() {
        assert_eq!(
            text_of(r#" {"a" : 1, "b": [ true , null ], "\u0061":"\u0042\/" } "#, 256),
            r#"{"a":"B/","b":[true,null]}"#
        );
        assert_eq!(text_of("[1.50, 1e3, -0, 12345678901234567890123]", 256), "[1.50,1e3,-0,12345678901234567890123]");
    }

    #[test]
    fn what_is_past_the_end_is_not_written() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(text_of(&deep, 256).starts_with(&"[".repeat(256)));
        assert!(text_of(&deep, 256).len() < 600);
        assert!(text_of(&format!("\"{}\"", "x".repeat(1_000_000)), 256).len() < 300);
        let wide = format!("{{{}}}", (0..50_000).map(|i| format!("\"k{i}\":{i}")).collect::<Vec<_>>().join(","));
        assert!(text_of(&wide, 256).len() < 300);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "\\PC{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map("[a-c\"\u{1}é]{0,2}", inner, 0..4)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_text_is_the_compact_json_of_the_value(value in json()) {
            let expected = match &value {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            prop_assert_eq!(text_of(&serde_json::to_string_pretty(&value).unwrap(), usize::MAX / 2), expected);
        }

        #[test]
        fn an_early_end_changes_nothing_before_it(value in json(), end in 0_usize..40) {
            let json = value.to_string();
            let whole = text_of(&json, usize::MAX / 2);
            let early = text_of(&json, end);
            prop_assert_eq!(head(&early, end), head(&whole, end));
        }

        #[test]
        fn a_path_finds_what_indexing_finds(value in json(), path in prop::collection::vec("[a-cé]{0,2}", 1..4)) {
            let json = value.to_string();
            let path: Vec<Box<str>> = path.into_iter().map(Into::into).collect();
            let expected = path.iter().try_fold(&value, |v, name| v.as_object()?.get(&**name)).map(ToString::to_string);
            let parsed = serde_json::from_str::<&RawValue>(&json).unwrap().into();
            let event = format!("{{\"x\":{json}}}");
            let mut sent = Sent::default();
            let is_plain = !event.contains('\\') && scan::read(&event, &mut sent).is_some();
            let scanned = is_plain.then(|| sent.extra[0].1);
            for object in [Some(parsed), scanned].into_iter().flatten() {
                prop_assert_eq!(find(object, &path).map(|found| found.get().to_owned()), expected.clone());
            }
            for (before, after) in [("", ""), ("{\"q\":0,", "}"), (" ", " ")] {
                // In the middle of an object or as a whole, with blanks around, said once or twice.
                let object = if before.starts_with('{') {
                    format!("{before}\"x\":1,\"x\":{json}{after}")
                } else {
                    format!("{before}{json}{after}")
                };
                let event = format!(r#"{{"type":"t","payload":{object}}}"#);
                let Ok(event) = Event::parse(event.as_bytes(), Door::Topic) else { continue };
                let path = if before.starts_with('{') { [&["x".into()], &*path].concat() } else { path.clone() };
                prop_assert_eq!(event.payload_at(&path).map(|found| found.get().to_owned()), expected.clone());
            }
        }
    }
}
