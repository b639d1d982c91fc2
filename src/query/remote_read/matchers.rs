use super::Refused;
use super::messages::{LabelMatcher, MatcherKind};
use regex::{Regex, RegexBuilder};

/// The name of a series, as a label.
pub(super) const NAME: &str = "__name__";

/// Bytes that a compiled expression and its cache may take. Matching is linear in the text whatever the expression,
/// and these keep the factor small.
const PROGRAM_BYTES: usize = 256 * 1024;
const CACHE_BYTES: usize = 1024 * 1024;
/// Of a wrong expression this much is said back.
const SHOWN_CHARS: usize = 100;

/// What the labels of a series have to be, all of it.
#[derive(Debug)]
pub(super) struct Matchers(Vec<Matcher>);

#[derive(Debug)]
struct Matcher {
    label: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Equal(String),
    NotEqual(String),
    Regex(Regex),
    NotRegex(Regex),
}

impl Matchers {
    /// Reads the matchers of a selector.
    pub(super) fn read(matchers: &[LabelMatcher]) -> Result<Matchers, Refused> {
        matchers.iter().map(Matcher::read).collect::<Result<_, _>>().map(Matchers)
    }

    /// Whether a label may have this value. A label that a series does not have is empty, as in Prometheus.
    pub(super) fn allow(&self, label: &str, value: &str) -> bool {
        self.0.iter().filter(|matcher| matcher.label == label).all(|matcher| matcher.test.allows(value))
    }

    /// Whether labels that no series has may be absent.
    pub(super) fn allow_absent(&self, known: &[&str]) -> bool {
        self.0.iter().filter(|matcher| !known.contains(&matcher.label.as_str())).all(|m| m.test.allows(""))
    }

    /// The one value that a label may have, if a matcher says so.
    pub(super) fn exactly(&self, label: &str) -> Option<&str> {
        self.0.iter().filter(|matcher| matcher.label == label).find_map(|matcher| match &matcher.test {
            Test::Equal(value) => Some(value.as_str()),
            _ => None,
        })
    }
}

impl Matcher {
    fn read(matcher: &LabelMatcher) -> Result<Matcher, Refused> {
        let (label, value) = (&matcher.name, &matcher.value);
        let kind = MatcherKind::try_from(matcher.kind).map_err(|_| Refused::Kind(label.clone()))?;
        let test = match kind {
            MatcherKind::Equal => Test::Equal(value.clone()),
            MatcherKind::NotEqual => Test::NotEqual(value.clone()),
            MatcherKind::Regex => Test::Regex(anchored(label, value)?),
            MatcherKind::NotRegex => Test::NotRegex(anchored(label, value)?),
        };
        Ok(Matcher { label: label.clone(), test })
    }
}

impl Test {
    fn allows(&self, value: &str) -> bool {
        match self {
            Test::Equal(wanted) => wanted == value,
            Test::NotEqual(unwanted) => unwanted != value,
            Test::Regex(regex) => regex.is_match(value),
            Test::NotRegex(regex) => !regex.is_match(value),
        }
    }
}

/// An expression that has to match all of a value, as Prometheus means it.
fn anchored(label: &str, regex: &str) -> Result<Regex, Refused> {
    let refused =
        |why: String| Refused::Regex { label: label.to_owned(), regex: regex.chars().take(SHOWN_CHARS).collect(), why };
    RegexBuilder::new(&format!("^(?:{regex})$"))
        .dot_matches_new_line(true)
        .size_limit(PROGRAM_BYTES)
        .dfa_size_limit(CACHE_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => refused("it is too large once its repetitions are written out".into()),
            // The crate draws a picture of several lines; the last one says what is wrong.
            error => refused(error.to_string().lines().last().unwrap_or_default().trim().to_owned()),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(kind: MatcherKind, name: &str, value: &str) -> LabelMatcher {
        LabelMatcher { kind: kind.into(), name: name.into(), value: value.into() }
    }

    fn one(kind: MatcherKind, value: &str) -> Matchers {
        Matchers::read(&[matcher(kind, "key", value)]).unwrap()
    }

    #[test]
    fn each_kind_compares_all_of_a_value() {
        for (kind, value, allowed, refused) in [
            (MatcherKind::Equal, "/a", vec!["/a"], vec!["", "/", "/ab"]),
            (MatcherKind::NotEqual, "/a", vec!["", "/ab"], vec!["/a"]),
            (MatcherKind::Regex, "/a|/b.", vec!["/a", "/bc", "/b\n"], vec!["", "x/a", "/ax", "/b"]),
            (MatcherKind::NotRegex, "/a.*", vec!["", "x/a"], vec!["/a", "/abc", "/a\nb"]),
            (MatcherKind::Regex, "", vec![""], vec!["a"]),
        ] {
            let matchers = one(kind, value);
            allowed.iter().for_each(|v| assert!(matchers.allow("key", v), "{kind:?} {value} allows {v:?}"));
            refused.iter().for_each(|v| assert!(!matchers.allow("key", v), "{kind:?} {value} refuses {v:?}"));
            assert!(matchers.allow("window", "anything"));
        }
    }

    #[test]
    fn a_label_that_no_series_has_is_empty() {
        for (kind, value, allowed) in [
            (MatcherKind::Equal, "", true),
            (MatcherKind::Equal, "prod", false),
            (MatcherKind::NotEqual, "prod", true),
            (MatcherKind::Regex, ".*", true),
            (MatcherKind::Regex, ".+", false),
        ] {
            let matchers = Matchers::read(&[matcher(kind, "cluster", value)]).unwrap();
            assert_eq!(matchers.allow_absent(&["key"]), allowed, "{kind:?} {value}");
            assert!(matchers.allow_absent(&["cluster"]));
        }
    }

    #[test]
    fn several_matchers_of_a_label_all_hold() {
        let both = [matcher(MatcherKind::Regex, "key", "/.*"), matcher(MatcherKind::NotEqual, "key", "/a")];
        let both = Matchers::read(&both).unwrap();
        assert!(both.allow("key", "/b") && !both.allow("key", "/a") && !both.allow("key", "b"));
        assert_eq!(both.exactly("key"), None);
        assert_eq!(one(MatcherKind::Equal, "/a").exactly("key"), Some("/a"));
    }

    #[test]
    fn what_would_explode_or_cannot_be_read_is_refused() {
        let refused = |value: &str| {
            let error = Matchers::read(&[matcher(MatcherKind::Regex, "key", value)]).unwrap_err();
            error.to_string()
        };
        for large in ["(a{1000}){1000}", "((a{100}){100}){100}", "\\w{500}", &"(x|y)?".repeat(20_000)] {
            assert!(refused(large).contains("too large"), "{}", refused(large));
        }
        assert!(refused(&"(".repeat(10_000)).contains("refused"));
        let message = refused("(a");
        assert!(message.contains("`key`") && message.contains("`(a`") && message.contains("unclosed"), "{message}");
        assert!(!message.contains('\n'));
        assert!(refused("(?=a)").contains("look-around"));
        let unknown = LabelMatcher { kind: 9, name: "key".into(), value: String::new() };
        assert!(Matchers::read(&[unknown]).unwrap_err().to_string().contains("none of"));
    }

    #[test]
    fn what_people_write_is_small_enough() {
        for usual in [".*", "/products/.*", "(?i)/a.*", "[^/]+/\\d+", "\\w+", "a|b|c", &"/path/to/a/page|".repeat(200)]
        {
            one(MatcherKind::Regex, usual);
        }
    }
}
