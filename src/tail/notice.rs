//! What publishers and hubs say to each other. They may be of different versions: what is not understood is left out.

use super::ring::Json;
use super::{Count, Entry};
use serde::{Deserialize, Serialize};

/// Bytes of a notice, but for one entry that is larger by itself.
const MOST_BYTES: usize = 64 * 1024;

/// What one process tells, as it is written.
#[derive(Debug, Serialize)]
struct Written<'a> {
    source: &'a str,
    entries: &'a [(u64, Json)],
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<&'a [Count]>,
}

/// The same as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Notice {
    /// Which process it is from, and which run of it.
    pub(super) source: String,
    /// Entries with their numbers, in order.
    #[serde(default)]
    pub(super) entries: Vec<(u64, Entry)>,
    /// What the process refused, if it says so.
    #[serde(default)]
    pub(super) counts: Option<Vec<Count>>,
}

/// The texts of notices: all entries, in as many as it takes, and the counts in the last one.
pub(super) fn written(source: &str, entries: &[(u64, Json)], counts: &[Count]) -> Vec<String> {
    let mut notices = Vec::new();
    let mut rest = entries;
    loop {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|(_, json)| {
            bytes += json.get().len();
            bytes <= MOST_BYTES
        });
        let (entries, behind) = rest.split_at(fits.count().max(1).min(rest.len()));
        let counts = behind.is_empty().then_some(counts);
        // It holds texts and numbers only, so this cannot fail.
        notices.extend(serde_json::to_string(&Written { source, entries, counts }));
        if behind.is_empty() {
            return notices;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use serde_json::value::RawValue;

    #[test]
    fn many_entries_come_in_several_notices_and_nothing_is_left_out() {
        let entry = |n: u64| format!(r#"{{"at":{n},"outcome":"refused","error":"{}","later":1}}"#, "x".repeat(1_000));
        let entries: Vec<_> = (1..=200).map(|n| (n, RawValue::from_string(entry(n)).unwrap())).collect();
        let counts = [Count { site: None, reason: "field".into(), count: 7, last_minute: 0 }];
        let texts = written("a", &entries, &counts);
        assert!(texts.len() > 2 && texts.iter().all(|text| text.len() < MOST_BYTES + 5_000));
        let read: Vec<Notice> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let numbers: Vec<u64> = read.iter().flat_map(|notice| &notice.entries).map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
        let with_counts: Vec<_> = read.iter().map(|notice| notice.counts.is_some()).collect();
        assert!(with_counts.iter().rev().skip(1).all(|has| !has) && with_counts[with_counts.len() - 1]);
        let first = &read[0].entries[0].1;
        assert_eq!((first.outcome, first.at, &*read[0].source), (Outcome::Refused, 1, "a"));
    }

    #[test]
    fn with_no_news_there_are_the_counts() {
        let texts = written("a", &[], &[]);
        assert_eq!(texts, [r#"{"source":"a","entries":[],"counts":[]}"#]);
    }
}
