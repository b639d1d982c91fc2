use super::measure::Tally;
use super::recount::Cells;
use crate::counter::Kind;
use crate::store::{StoredBucket, StoredValue};
use std::collections::HashMap;
use std::fmt::Display;

/// How a bucket in the store has to relate to the recount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The same numbers.
    Exact,
    /// At least as much: records that may have added to it are no longer in the log.
    AtLeast,
    /// At most as much: the counter may not have existed for all of its records.
    AtMost,
    /// Both: nothing can be said.
    None,
}

impl Rule {
    pub(super) fn of(records_gone: bool, counter_partial: bool) -> Rule {
        match (records_gone, counter_partial) {
            (false, false) => Rule::Exact,
            (true, false) => Rule::AtLeast,
            (false, true) => Rule::AtMost,
            (true, true) => Rule::None,
        }
    }

    fn allows<T: PartialOrd>(self, stored: T, recounted: T) -> bool {
        match self {
            Rule::Exact => stored == recounted,
            Rule::AtLeast => stored >= recounted,
            Rule::AtMost => stored <= recounted,
            Rule::None => true,
        }
    }

    fn wanted<T: Display>(self, recounted: T) -> String {
        match self {
            Rule::AtLeast => format!("at least {recounted}"),
            Rule::AtMost => format!("at most {recounted}"),
            Rule::Exact | Rule::None => recounted.to_string(),
        }
    }
}

/// What came of a bucket.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Numbers that were compared.
    pub(super) cells: u64,
    /// What differs, for people.
    pub(super) differences: Vec<String>,
}

impl Judged {
    fn compare<T: PartialOrd + Display + Copy>(
        &mut self,
        rule: Rule,
        what: impl FnOnce() -> String,
        stored: T,
        recounted: T,
    ) {
        self.cells += 1;
        if !rule.allows(stored, recounted) {
            self.differences.push(format!("{}: stored {stored}, recounted {}", what(), rule.wanted(recounted)));
        }
    }
}

/// Compares what events amount to with the recount of it. A sum can go up and down, so nothing is said of one that is not
/// made of the same records.
fn judge_value(judged: &mut Judged, rule: Rule, what: &str, stored: Option<&StoredValue>, recounted: &Tally) {
    match stored {
        Some(StoredValue::Distinct(distinct)) => {
            judged.compare(rule, || format!("{what}distinct values, about"), *distinct, recounted.distinct());
        }
        Some(StoredValue::Amounts(amounts)) if rule == Rule::Exact => {
            judged.compare(rule, || format!("{what}sum, scaled"), amounts.sum, recounted.sum);
            let (least, most) = recounted.range.unwrap_or_default();
            judged.compare(rule, || format!("{what}smallest, scaled"), amounts.min, least);
            judged.compare(rule, || format!("{what}largest, scaled"), amounts.max, most);
        }
        Some(StoredValue::Amounts(_)) => {}
        None => judged.compare(rule, || format!("{what}sum, scaled"), 0, recounted.sum),
    }
}

/// Compares what the events of a bucket, and of each key that has all of its own, amount to.
fn judge_values(judged: &mut Judged, rule: Rule, recounted: &Cells, stored: &StoredBucket) {
    judge_value(judged, rule, "", stored.value.as_ref(), &recounted.tally);
    for (key, count) in &stored.keys {
        let is_whole = rule == Rule::Exact && recounted.keys.get(key) == Some(count);
        if let Some(tally) = recounted.tallies.get(key).filter(|_| is_whole) {
            judge_value(judged, rule, &format!("key {key:?} "), stored.values.get(key), tally);
        }
    }
}

/// Compares a bucket of a counter with its recount. `has_keys`: the counter has dimensions; `max_keys`: how many of them
/// a bucket keeps apart in each shard.
pub(super) fn judge(
    kind: Kind,
    rule: Rule,
    recounted: &Cells,
    stored: &StoredBucket,
    has_keys: bool,
    max_keys: u64,
) -> Judged {
    let mut judged = Judged::default();
    if kind != Kind::Count && rule != Rule::None {
        judge_values(&mut judged, rule, recounted, stored);
    }
    if rule == Rule::None {
        return judged;
    }
    judged.compare(rule, || "total".into(), stored.total, recounted.total);
    if !has_keys {
        return judged;
    }
    let kept: u64 = stored.keys.iter().map(|(_, count)| count).sum();
    judged.compare(Rule::Exact, || "keys and `other` together".into(), kept + stored.other, stored.total);
    let distinct = recounted.keys.len() as u64;
    if stored.other == 0 {
        let mut keys: HashMap<&str, u64> = stored.keys.iter().map(|(key, count)| (key.as_str(), *count)).collect();
        for (key, count) in &recounted.keys {
            let stored = keys.remove(key.as_str()).unwrap_or_default();
            judged.compare(rule, || format!("key {key:?}"), stored, *count);
        }
        for (key, stored) in keys {
            judged.compare(rule, || format!("key {key:?}"), stored, 0);
        }
    } else if rule != Rule::AtLeast && distinct <= max_keys {
        judged.cells += 1;
        let stored = stored.other;
        judged.differences.push(format!("`other`: stored {stored}, but its {distinct} keys all have room"));
    } else if rule != Rule::AtLeast {
        // Which keys found room depends on who came first, so of each only a part may be its own.
        for (key, count) in &stored.keys {
            let most = recounted.keys.get(key).copied().unwrap_or_default();
            judged.compare(Rule::AtMost, || format!("key {key:?}"), *count, most);
        }
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(keys: &[(&str, u64)]) -> Cells {
        let total = keys.iter().map(|(_, count)| count).sum();
        let keys = keys.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect();
        Cells { total, keys, ..Cells::default() }
    }

    fn stored(other: u64, keys: &[(&str, u64)]) -> StoredBucket {
        let keys: Vec<_> = keys.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect();
        let total = other + keys.iter().map(|(_, count)| count).sum::<u64>();
        StoredBucket { total, other, keys, ..StoredBucket::default() }
    }

    fn differences(rule: Rule, recounted: &Cells, stored: &StoredBucket, max_keys: u64) -> usize {
        judge(Kind::Count, rule, recounted, stored, true, max_keys).differences.len()
    }

    #[test]
    fn the_same_is_no_difference_and_anything_else_is() {
        let recounted = cells(&[("a", 2), ("b", 1)]);
        assert_eq!(judge(Kind::Count, Rule::Exact, &recounted, &stored(0, &[("a", 2), ("b", 1)]), true, 10).cells, 4);
        assert_eq!(differences(Rule::Exact, &recounted, &stored(0, &[("a", 2), ("b", 1)]), 10), 0);
        assert_eq!(differences(Rule::Exact, &recounted, &stored(0, &[("a", 1), ("b", 2)]), 10), 2);
        assert_eq!(differences(Rule::Exact, &recounted, &stored(0, &[("a", 2), ("c", 1)]), 10), 2);
        assert_eq!(differences(Rule::Exact, &recounted, &StoredBucket::default(), 10), 3);
        assert_eq!(differences(Rule::Exact, &Cells::default(), &stored(0, &[("a", 1)]), 10), 2);
        let torn = StoredBucket { total: 3, keys: vec![("a".into(), 2)], ..StoredBucket::default() };
        assert_eq!(differences(Rule::Exact, &recounted, &torn, 10), 2);
        let judged = judge(Kind::Count, Rule::Exact, &cells(&[("a", 2)]), &stored(0, &[("a", 1)]), true, 10);
        assert_eq!(judged.differences[1], "key \"a\": stored 1, recounted 2");
    }

    #[test]
    fn a_counter_without_dimensions_has_only_a_total() {
        let recounted = Cells { total: 5, ..Cells::default() };
        let same = StoredBucket { total: 5, ..StoredBucket::default() };
        assert_eq!(
            judge(Kind::Count, Rule::Exact, &recounted, &same, false, 10),
            Judged { cells: 1, differences: Vec::new() }
        );
    }

    #[test]
    fn what_found_no_room_is_checked_as_far_as_it_can_be() {
        let recounted = cells(&[("a", 5), ("b", 3), ("c", 1)]);
        assert_eq!(differences(Rule::Exact, &recounted, &stored(3, &[("a", 5), ("b", 1)]), 2), 0);
        assert_eq!(differences(Rule::Exact, &recounted, &stored(3, &[("a", 6)]), 2), 1);
        assert_eq!(differences(Rule::Exact, &recounted, &stored(4, &[("a", 5)]), 3), 1);
        assert_eq!(differences(Rule::Exact, &recounted, &stored(3, &[("a", 5), ("b", 3)]), 2), 1);
    }

    #[test]
    fn what_cannot_be_known_is_not_called_a_difference() {
        let recounted = cells(&[("a", 2)]);
        assert_eq!(differences(Rule::AtLeast, &recounted, &stored(1, &[("a", 3), ("b", 1)]), 10), 0);
        assert_eq!(differences(Rule::AtLeast, &recounted, &stored(0, &[("a", 1)]), 10), 2);
        assert_eq!(differences(Rule::AtMost, &recounted, &stored(0, &[("a", 1)]), 10), 0);
        assert_eq!(differences(Rule::AtMost, &recounted, &stored(0, &[("a", 3)]), 10), 2);
        assert_eq!(judge(Kind::Count, Rule::None, &recounted, &stored(0, &[]), true, 10), Judged::default());
    }
}
