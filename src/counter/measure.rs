//! What a counter makes of its events: how many there were, what they add up to, or how many different ones.

use super::decimal::scaled;
use super::registers::Raise;
use crate::event::{Dimension, Event, Invalid};
use serde::{Deserialize, Serialize};

/// A text of more bytes than this is no number: nobody writes one so long.
const MOST_NUMBER: usize = 400;
/// A member of a set is cut at so many bytes, as keys are.
const MOST_MEMBER: usize = 256;

/// What a counter tells of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// How many events there were.
    #[default]
    Count,
    /// What a number of theirs adds up to, with the smallest and the largest.
    Sum,
    /// How many different values they had, about.
    Distinct,
}

impl Kind {
    /// Whether this is the plain one.
    pub fn is_count(&self) -> bool {
        *self == Kind::Count
    }

    /// Its name in configuration and API.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Count => "count",
            Kind::Sum => "sum",
            Kind::Distinct => "distinct",
        }
    }
}

/// How a counter measures an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measuring {
    /// An event is an event.
    Count,
    /// By a number of its own, kept with so many digits behind the point.
    Sum {
        /// The number.
        of: Dimension,
        /// How many digits.
        places: u32,
    },
    /// By a value of its own, which is the same or another one.
    Distinct {
        /// The value.
        of: Dimension,
    },
}

/// What one event adds beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured<'a> {
    /// Nothing.
    Nothing,
    /// A number, scaled.
    Amount(i64),
    /// A member of a set.
    Member(Raise, &'a str),
}

impl Measuring {
    /// Measures an event; `None` when it has nothing to be measured by. `text` is room to work in.
    pub fn measure<'a>(&self, event: &Event<'_>, text: &'a mut String) -> Option<Measured<'a>> {
        match self {
            Measuring::Count => Some(Measured::Nothing),
            Measuring::Sum { of, places } => {
                of.write(event, text, MOST_NUMBER + 1);
                let number = Some(&*text).filter(|text| text.len() <= MOST_NUMBER)?;
                scaled(number, *places).map(Measured::Amount)
            }
            Measuring::Distinct { of } => {
                of.write(event, text, MOST_MEMBER);
                Some(&*text)
                    .filter(|text| !text.is_empty())
                    .map(|text| Measured::Member(Raise::of(text.as_bytes()), text))
            }
        }
    }

    /// Which kind this is.
    pub fn kind(&self) -> Kind {
        match self {
            Measuring::Count => Kind::Count,
            Measuring::Sum { .. } => Kind::Sum,
            Measuring::Distinct { .. } => Kind::Distinct,
        }
    }
}

/// Which events a counter leaves out, beside those of other types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Each of these dimensions must have one of its values.
    only: Vec<Condition>,
    /// None of these dimensions may have one of its values.
    except: Vec<Condition>,
}

/// A dimension has one of these values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    dimension: Dimension,
    values: Vec<Box<str>>,
}

impl Condition {
    fn holds(&self, event: &Event<'_>) -> bool {
        let mut text = String::new();
        self.dimension.write(event, &mut text, MOST_MEMBER);
        self.values.iter().any(|value| **value == *text)
    }
}

impl Filter {
    /// Reads conditions like `context.bot=true`.
    ///
    /// # Errors
    /// The first that is none, in words.
    pub fn parse(only: &[String], except: &[String]) -> Result<Filter, String> {
        Ok(Filter { only: conditions(only)?, except: conditions(except)? })
    }

    /// Whether it lets an event through.
    pub fn lets(&self, event: &Event<'_>) -> bool {
        self.only.iter().all(|condition| condition.holds(event))
            && !self.except.iter().any(|condition| condition.holds(event))
    }
}

fn conditions(texts: &[String]) -> Result<Vec<Condition>, String> {
    let mut conditions: Vec<Condition> = Vec::new();
    for text in texts {
        let (path, value) = split(text).ok_or_else(|| {
            format!("`{text}` is no condition: write a dimension and its value, like \"context.bot=true\"")
        })?;
        let dimension = Dimension::parse(path).map_err(|e: Invalid| e.to_string())?;
        match conditions.iter_mut().find(|known| known.dimension == dimension) {
            Some(known) => known.values.push(value.into()),
            None => conditions.push(Condition { dimension, values: vec![value.into()] }),
        }
    }
    Ok(conditions)
}

/// At the first `=` outside of quotes.
fn split(text: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    let at = text.char_indices().find(|(_, c)| {
        let is_end = *c == '=' && !quoted;
        quoted ^= *c == '"' && !escaped;
        escaped = *c == '\\' && quoted && !escaped;
        is_end
    });
    at.map(|(at, _)| (&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Door;

    fn measured(measuring: &Measuring, event: &str) -> Option<String> {
        let event = Event::parse(event.as_bytes(), Door::Topic).unwrap();
        let mut text = String::new();
        measuring.measure(&event, &mut text).map(|measured| match measured {
            Measured::Nothing => "nothing".into(),
            Measured::Amount(n) => n.to_string(),
            Measured::Member(_, name) => name.to_owned(),
        })
    }

    #[test]
    fn numbers_are_scaled_and_what_is_none_is_left_out() {
        let sum = Measuring::Sum { of: Dimension::parse("payload.amount").unwrap(), places: 2 };
        for (amount, wanted) in [
            ("19.99", Some("1999")),
            ("\"19.99\"", Some("1999")),
            ("-3", Some("-300")),
            ("1e2", Some("10000")),
            ("0.1250", Some("12")),
            ("\"12,50\"", None),
            ("\" 1\"", None),
            ("true", None),
            ("null", None),
            ("{}", None),
            ("[1]", None),
            ("1e400", None),
        ] {
            let event = format!(r#"{{"type":"purchase","payload":{{"amount":{amount}}}}}"#);
            assert_eq!(measured(&sum, &event).as_deref(), wanted, "{amount}");
        }
        assert_eq!(measured(&sum, r#"{"type":"purchase"}"#), None);
        let long = |zeros| format!(r#"{{"type":"a","payload":{{"amount":0.{}1}}}}"#, "0".repeat(zeros));
        assert_eq!((measured(&sum, &long(300)).as_deref(), measured(&sum, &long(3_000))), (Some("0"), None));
    }

    #[test]
    fn members_are_told_apart_by_their_text() {
        let distinct = Measuring::Distinct { of: Dimension::parse("user_id").unwrap() };
        assert_eq!(measured(&distinct, r#"{"type":"a","user_id":"u"}"#).as_deref(), Some("u"));
        assert_eq!(measured(&distinct, r#"{"type":"a","user_id":""}"#), None);
        assert_eq!(measured(&distinct, r#"{"type":"a"}"#), None);
    }

    #[test]
    fn a_filter_takes_any_value_of_a_dimension_and_all_dimensions() {
        let lets = |only: &[&str], except: &[&str], context: &str| {
            let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let event = format!(r#"{{"type":"a","payload":{{"a=b":"x=y"}},"context":{context}}}"#);
            let event = Event::parse(event.as_bytes(), Door::Topic).unwrap();
            Filter::parse(&texts(only), &texts(except)).unwrap().lets(&event)
        };
        let bot = r#"{"bot":true,"site":"shop"}"#;
        assert!(lets(&[], &[], bot) && !lets(&[], &["context.bot=true"], bot));
        assert!(lets(&[], &["context.bot=true"], "{}") && !lets(&["context.bot=true"], &[], "{}"));
        assert!(lets(&["context.site=blog", "context.site=shop"], &[], bot));
        assert!(!lets(&["context.site=shop", "context.bot=false"], &[], bot));
        assert!(lets(&[r#"payload."a=b"=x=y"#], &[], "{}"));
        assert!(lets(&["user_id="], &[], "{}"), "what is missing is empty");
    }

    #[test]
    fn what_is_no_condition_is_named() {
        for text in ["context.bot", "bot=true", "=x", r#"payload."a=b"#] {
            assert!(Filter::parse(&[text.to_owned()], &[]).unwrap_err().contains(text.split('=').next().unwrap()));
        }
    }
}
