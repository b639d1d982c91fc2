use crate::http::is_origin;

/// The origins whose pages may send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ingest) struct Origins {
    any: bool,
    exact: Vec<Box<str>>,
    /// What stands before and after the `*` of `https://*.example.com`.
    below: Vec<(Box<str>, Box<str>)>,
}

impl Origins {
    /// All of them.
    pub(super) fn any() -> Origins {
        Origins { any: true, ..Origins::default() }
    }

    /// Reads origins, and patterns of them.
    ///
    /// # Errors
    /// The first text that is neither.
    pub(super) fn parse(texts: &[String]) -> Result<Origins, String> {
        let mut origins = Origins::default();
        for text in texts {
            match text.split_once("://*.") {
                _ if text == "*" => origins.any = true,
                Some((scheme, host)) if is_origin(&format!("{scheme}://{host}")) => {
                    origins.below.push((format!("{scheme}://").into(), format!(".{host}").into()));
                }
                None if is_origin(text) => origins.exact.push(text.as_str().into()),
                _ => return Err(text.clone()),
            }
        }
        Ok(origins)
    }

    /// Adds others to these.
    pub(super) fn extend(&mut self, others: &Origins) {
        self.any |= others.any;
        self.exact.extend(others.exact.iter().cloned());
        self.below.extend(others.below.iter().cloned());
    }

    /// Whether every origin may send.
    pub(super) fn are_any(&self) -> bool {
        self.any
    }

    /// Whether pages of this origin may send.
    pub(super) fn allow(&self, origin: &[u8]) -> bool {
        self.any
            || self.exact.iter().any(|exact| exact.as_bytes() == origin)
            || self.below.iter().any(|(scheme, host)| is_below(origin, scheme.as_bytes(), host.as_bytes()))
    }
}

/// Whether there is a name, of one part or more, between the two.
fn is_below(origin: &[u8], scheme: &[u8], host: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(b);
    let name = origin.strip_prefix(scheme).and_then(|rest| rest.strip_suffix(host));
    name.is_some_and(|name| !name.is_empty() && !name.starts_with(b".") && name.iter().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(texts: &[&str]) -> Result<Origins, String> {
        Origins::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_is_named_is_allowed() {
        let named = origins(&["https://shop.example", "http://localhost:3000", "https://*.example.com:8443"]).unwrap();
        for allowed in [
            "https://shop.example",
            "http://localhost:3000",
            "https://a.example.com:8443",
            "https://a.b-1.example.com:8443",
        ] {
            assert!(named.allow(allowed.as_bytes()), "{allowed}");
        }
        for other in [
            "",
            "null",
            "*",
            "http://shop.example",
            "https://shop.example:443",
            "https://shop.example/",
            "https://shop.example.evil",
            "https://SHOP.example",
            "https://www.shop.example",
            "http://localhost",
            "https://example.com:8443",
            "https://.example.com:8443",
            "https://a.example.com",
            "http://a.example.com:8443",
            "https://evilexample.com:8443",
            "https://evil.net/.example.com:8443",
            "https://evil.net#.example.com:8443",
            "https://a@.example.com:8443",
        ] {
            assert!(!named.allow(other.as_bytes()), "{other}");
        }
        assert!(origins(&["*"]).unwrap().allow(b"null"));
        assert!(!origins(&[]).unwrap().allow(b"https://shop.example"));
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for wrong in
            ["", "shop.example", "https://shop.example/", "*.example.com", "https://*", "https://a.*.com", "null"]
        {
            assert_eq!(origins(&["https://a.example", wrong]), Err(wrong.to_owned()));
        }
    }
}
