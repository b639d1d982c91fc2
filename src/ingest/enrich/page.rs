//! What an event's own texts say of where its visitor came from: the host of `payload.referrer`, and the UTM parameters of
//! `payload.url`. Both are written by anybody, so they are taken apart within bounds, and nothing else of them is used.

use crate::event::{Event, head};
use std::borrow::Cow;
use url::{Host, form_urlencoded};

/// The fields, each of the parameter of the same name.
const UTM: [&str; 5] = ["utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"];
/// Bytes of a UTM field; what is longer is cut.
const MOST_UTM_BYTES: usize = 128;
/// Bytes of a query that are looked at.
const MOST_QUERY_BYTES: usize = 4_096;
/// Bytes of a host.
const MOST_HOST_BYTES: usize = 253;
/// Bytes that may stand where a host does, with a user, a password and a port around it.
const MOST_AUTHORITY_BYTES: usize = 1_024;
/// Addresses with a host; browsers name apps in the last one.
const SCHEMES: [&str; 3] = ["https://", "http://", "android-app://"];

/// What was found in an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    referrer: Option<String>,
    utm: [Option<String>; UTM.len()],
}

impl Found {
    /// Looks into an event's payload. `own_host` is that of its page, as far as the request says so.
    pub(super) fn of(event: &Event<'_>, referrer: bool, utm: bool, own_host: Option<&str>) -> Found {
        let url = event.payload_text("url");
        let referrer = referrer.then(|| event.payload_text("referrer")).flatten().and_then(|referrer| {
            let host = host(&referrer)?;
            let own = url.as_deref().and_then(self::host);
            (own.as_deref().or(own_host) != Some(&*host)).then(|| host.into_owned())
        });
        let utm = utm.then(|| url.as_deref().and_then(self::utm)).flatten();
        Found { referrer, utm: utm.unwrap_or_default() }
    }

    /// Each field that was found, by its name.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let referrer = self.referrer.as_deref().map(|host| ("referrer", host));
        let utm = UTM.into_iter().zip(&self.utm).filter_map(|(name, value)| Some((name, value.as_deref()?)));
        referrer.into_iter().chain(utm)
    }
}

/// The host of an address, in small letters and without its port; that of another alphabet in its ASCII form.
pub(super) fn host(address: &str) -> Option<Cow<'_, str>> {
    let address = address.trim_start();
    let has_scheme =
        |scheme: &&&str| address.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    let behind = address.get(SCHEMES.iter().find(has_scheme)?.len()..)?;
    let authority = head(behind, MOST_AUTHORITY_BYTES).split(['/', '?', '#', '\\']).next()?;
    let at_most = authority.rsplit('@').next()?;
    let host = match at_most.find(']') {
        Some(end) => at_most.get(..=end)?,
        None => at_most.split(':').next()?,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    let host = if host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b)) {
        Cow::Borrowed(host)
    } else {
        Cow::Owned(Host::parse(host).ok()?.to_string())
    };
    (host.len() <= MOST_HOST_BYTES).then_some(host)
}

/// The UTM parameters of an address: of each the first that says something.
fn utm(address: &str) -> Option<[Option<String>; UTM.len()]> {
    let (_, query) = address.split('#').next()?.split_once('?')?;
    let query = head(query, MOST_QUERY_BYTES);
    memchr::memmem::find(query.as_bytes(), b"utm_")?;
    let mut found = [const { None }; UTM.len()];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if let Some(at) = UTM.iter().position(|utm| *utm == name)
            && found[at].is_none()
        {
            found[at] = plain(&value);
        }
    }
    Some(found)
}

/// A text without control characters, cut to its bound; `None` when nothing is left of it.
fn plain(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).take(MOST_UTM_BYTES).collect();
    let text = head(text.trim(), MOST_UTM_BYTES);
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Door;
    use proptest::prelude::*;
    use serde_json::json;

    fn host_of(address: &str) -> Option<String> {
        host(address).map(Cow::into_owned)
    }

    fn found(payload: &serde_json::Value, own_host: Option<&str>) -> Vec<(&'static str, String)> {
        let event = json!({"type": "view", "payload": payload}).to_string();
        let event = Event::parse(event.as_bytes(), Door::Http).unwrap();
        let found = Found::of(&event, true, true, own_host);
        found.fields().map(|(name, value)| (name, value.to_owned())).collect()
    }

    #[test]
    fn a_host_is_told_from_what_is_around_it() {
        for (address, expected) in [
            ("https://shop.example/path?q=1#f", "shop.example"),
            ("HTTPS://Shop.Example", "shop.example"),
            ("http://shop.example:8080/", "shop.example"),
            (" https://shop.example", "shop.example"),
            ("https://shop.example.", "shop.example"),
            ("https://user:pass@shop.example:1/", "shop.example"),
            ("https://a@b@shop.example/", "shop.example"),
            ("https://shop.example?x=@evil.example", "shop.example"),
            ("https://shop.example\\@evil.example", "shop.example"),
            ("https://my_shop.example", "my_shop.example"),
            ("https://bücher.example/", "xn--bcher-kva.example"),
            ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
            ("https://BÜCHER.example/", "xn--bcher-kva.example"),
            ("https://%73hop.example/", "shop.example"),
            ("http://[2001:DB8::1]:80/", "[2001:db8::1]"),
            ("http://192.0.2.1:80/", "192.0.2.1"),
            ("http://localhost:3000/", "localhost"),
            ("android-app://com.example.app/", "com.example.app"),
        ] {
            assert_eq!(host_of(address).as_deref(), Some(expected), "{address}");
        }
        for none in [
            "",
            "shop.example",
            "/path",
            "//shop.example/",
            "javascript:alert(1)",
            "javascript://shop.example/%0aalert(1)",
            "data:text/html,https://shop.example",
            "about:blank",
            "https://",
            "https:///path",
            "https://:80/",
            "https://a b.example/",
            "https://a\u{0}b.example/",
            "https://a<script>.example/",
            "https://[::1/",
            "https://]/",
            "https://%/",
            "https://\u{202e}/",
            "https://.",
        ] {
            assert_eq!(host_of(none), None, "{none:?}");
        }
        assert_eq!(host_of(&format!("https://{}.example/", "a".repeat(60_000))), None);
        assert_eq!(host_of(&format!("https://{}@shop.example/", "a".repeat(60_000))), None);
    }

    #[test]
    fn the_own_host_is_no_referrer() {
        let payload = |referrer: &str| json!({"url": "https://shop.example/b", "referrer": referrer});
        assert_eq!(
            found(&payload("https://search.example/?q=shoes"), None),
            [("referrer", "search.example".to_owned())]
        );
        assert_eq!(found(&payload("https://SHOP.example:443/a"), None), []);
        assert_eq!(found(&payload("https://www.shop.example/"), None).len(), 1, "another host is another host");
        assert_eq!(found(&json!({"referrer": "https://shop.example/"}), Some("shop.example")), []);
        assert_eq!(found(&json!({"url": "/b", "referrer": "https://shop.example/"}), Some("shop.example")), []);
        assert_eq!(found(&json!({"referrer": 7, "url": ["https://a.example"]}), None), []);
        assert_eq!(found(&json!({"referrer": "javascript:alert(document.cookie)"}), None), []);
    }

    #[test]
    fn utm_fields_are_decoded_and_plain() {
        let utm = |query: &str| found(&json!({"url": format!("https://shop.example/a?{query}")}), None);
        let one = |value: &str| vec![("utm_source", value.to_owned())];
        for (query, value) in [
            ("utm_source=news", "news"),
            ("x=1&utm_source=a%20b+c", "a b c"),
            ("utm_source=&utm_source=second&utm_source=third", "second"),
            ("utm%5Fsource=b&utm_source=a", "b"),
            ("utm_source=100%", "100%"),
            ("utm_source=%zz%4", "%zz%4"),
            ("utm_source=a%00%0a%1b%7f%C2%85b", "ab"),
            ("utm_source=%ff", "\u{fffd}"),
            ("utm_source=%22%7D%5C", "\"}\\"),
            ("utm_source=%20x%20", "x"),
            ("utm_source=f%C3%BCr", "für"),
            ("utm_source=a#utm_source=b&utm_medium=c", "a"),
        ] {
            assert_eq!(utm(query), one(value), "{query}");
        }
        for nothing in
            ["", "utm_source", "utm_source=%00", "UTM_SOURCE=a", "q=utm_source", "#?utm_source=a", "utm_id=7"]
        {
            assert_eq!(utm(nothing), [], "{nothing}");
        }
        let all = utm("utm_content=e&utm_term=d&utm_campaign=c&utm_medium=b&utm_source=a");
        let names: Vec<_> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(names, ["utm_source=a", "utm_medium=b", "utm_campaign=c", "utm_term=d", "utm_content=e"]);
        assert_eq!(found(&json!({"url": "/a?utm_source=relative"}), None), one("relative"));
    }

    #[test]
    fn what_is_long_is_cut() {
        let utm = |value: &str| found(&json!({"url": format!("https://a.example/?utm_source={value}")}), None);
        assert_eq!(utm(&"a".repeat(8_192)), [("utm_source", "a".repeat(128))]);
        assert_eq!(utm(&"%C3%BC".repeat(1_000)), [("utm_source", "ü".repeat(64))]);
        assert_eq!(utm(&"ü".repeat(5_000)), [("utm_source", "ü".repeat(64))]);
        let late = format!("https://a.example/?x={}&utm_source=a", "x".repeat(8_192));
        assert_eq!(found(&json!({"url": late}), None), []);
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_bounded_and_plain(
            url in "(https?://[a-z.:@\\[\\]%]{0,20})?[?#&=a-z%0-9\\PC]{0,60}(utm_source|utm_term)?=[%a-f0-9\\PC]{0,200}",
            referrer in "(https?://)?[\\PC]{0,300}",
        ) {
            for (name, value) in found(&json!({"url": url, "referrer": referrer}), None) {
                prop_assert!(!value.is_empty() && !value.chars().any(char::is_control), "{}: {:?}", name, value);
                let most = if name == "referrer" { MOST_HOST_BYTES } else { MOST_UTM_BYTES };
                prop_assert!(value.len() <= most, "{}: {}", name, value);
                prop_assert!(name != "referrer" || value.is_ascii() && value == value.to_ascii_lowercase());
            }
        }
    }
}
