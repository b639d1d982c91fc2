//! Which dead letters are meant.

use crate::cli::time_ms;
use crate::log::KeptLetter;
use clap::Args;

/// What a letter has to be to be among them; nothing given: all are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(super) struct Filters {
    /// Only letters whose reason contains this.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Only letters of this consumer group.
    #[arg(long, value_name = "NAME")]
    pub(super) group: Option<String>,
    /// Only records of this partition of the original topic; may be given several times.
    #[arg(long, value_name = "NUMBER")]
    pub(super) partition: Vec<i32>,
    /// Only what failed at this time or later: unix seconds, RFC 3339, or like "-15m".
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time_ms)]
    pub(super) since: Option<i64>,
    /// Only what failed before this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time_ms)]
    pub(super) until: Option<i64>,
    /// Only events of this type.
    #[arg(long, value_name = "TYPE")]
    pub(super) event_type: Option<String>,
    /// Only records of this topic; set when one was asked for.
    #[arg(skip)]
    pub(super) topic: Option<String>,
}

impl Filters {
    /// Whether any was given.
    pub(super) fn any(&self) -> bool {
        *self != Filters { topic: self.topic.clone(), ..Filters::default() }
    }

    pub(super) fn take(&self, letter: &KeptLetter) -> bool {
        let origin = letter.origin.as_ref();
        let failed_at = letter.failed_at_ms;
        self.reason.as_ref().is_none_or(|part| letter.error.as_ref().is_some_and(|error| error.contains(part)))
            && self.group.as_ref().is_none_or(|name| origin.is_some_and(|from| from.group.as_ref() == Some(name)))
            && (self.partition.is_empty() || origin.is_some_and(|from| self.partition.contains(&from.partition)))
            && self.since.is_none_or(|since| failed_at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| failed_at.is_some_and(|at| at < until))
            && self.topic.as_ref().is_none_or(|name| origin.is_some_and(|from| from.topic == *name))
            && self
                .event_type
                .as_ref()
                .is_none_or(|name| letter.event_type().is_some_and(|found| found == name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{LetterId, LetterOrigin};

    fn letter() -> KeptLetter {
        KeptLetter {
            id: LetterId { partition: 1, offset: 4, group: None },
            origin: Some(LetterOrigin {
                topic: "t".to_owned(),
                partition: 2,
                offset: 9,
                time_ms: None,
                group: Some("g".to_owned()),
            }),
            error: Some("event_type: missing".to_owned()),
            attempts: None,
            failed_at_ms: Some(1_000),
            truncated: None,
            key: None,
            value: Some(br#"{"type":"view"}"#.to_vec()),
            headers: Vec::new(),
        }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn each_filter_takes_and_leaves() {
        let none = Filters::default();
        let cases = [
            (Filters { reason: text("missing"), ..none.clone() }, Filters { reason: text("Missing"), ..none.clone() }),
            (Filters { group: text("g"), ..none.clone() }, Filters { group: text("h"), ..none.clone() }),
            (Filters { partition: vec![7, 2], ..none.clone() }, Filters { partition: vec![1], ..none.clone() }),
            (Filters { since: Some(1_000), ..none.clone() }, Filters { since: Some(1_001), ..none.clone() }),
            (Filters { until: Some(1_001), ..none.clone() }, Filters { until: Some(1_000), ..none.clone() }),
            (Filters { event_type: text("view"), ..none.clone() }, Filters { event_type: text("v"), ..none.clone() }),
            (Filters { topic: text("t"), ..none.clone() }, Filters { topic: text("u"), ..none.clone() }),
        ];
        for (takes, leaves) in cases {
            assert!(takes.take(&letter()), "{takes:?}");
            assert!(!leaves.take(&letter()), "{leaves:?}");
            let unknown = KeptLetter { origin: None, error: None, failed_at_ms: None, value: None, ..letter() };
            assert!(!takes.take(&unknown), "{takes:?}");
            assert_eq!(takes.any(), takes.topic.is_none());
        }
        assert!(none.take(&letter()) && !none.any());
    }
}
