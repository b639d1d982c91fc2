//! What the JSON API says, against the recount.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Bucket, Differences, Found, OUTCOMES, Recount, Shards, Wanted};
use crate::support::doors::Doors;

impl Recount {
    /// Fails unless the API tells exactly what the records add up to: every bucket of every counter, and the ledgers.
    pub(crate) async fn assert_in_api(&self, doors: &Doors) {
        self.differences_in_api(doors).await.assert_none("the API");
    }

    /// In what the API differs from what the records add up to.
    pub(crate) async fn differences_in_api(&self, doors: &Doors) -> Differences {
        let mut differences =
            Differences { lines: self.status_differs(&doors.status().await), ..Differences::default() };
        let mut series: BTreeMap<(usize, usize), Vec<(&Bucket, &Shards)>> = BTreeMap::new();
        for (bucket, shards) in self.kept() {
            series.entry((bucket.0, bucket.1)).or_default().push((bucket, shards));
        }
        for buckets in series.values() {
            self.series_differs(doors, buckets, &mut differences).await;
        }
        differences
    }

    fn status_differs(&self, status: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        let mut check = |what: String, found: &Value, wanted: i64| {
            if found.as_i64().unwrap_or(0) != wanted {
                differences.push(format!("{what} is {found}, should be {wanted}: {status}"));
            }
        };
        check("unaccounted".to_owned(), &status["unaccounted"], 0);
        for found in status["partitions"].as_array().expect("partitions") {
            let number = i32::try_from(found["partition"].as_i64().expect("a number")).expect("a partition");
            let wanted = self.partitions.get(&number).cloned().unwrap_or_default();
            for outcome in OUTCOMES {
                let wanted = wanted.ledger.get(outcome).copied().unwrap_or(0);
                check(format!("{outcome} of partition {number}"), &found["ledger"][outcome], wanted as i64);
            }
            check(format!("next_offset of partition {number}"), &found["next_offset"], wanted.next);
            let of = |field: &str| found["ledger"][field].as_i64().expect("a count");
            check(
                format!("consumed of partition {number}"),
                &found["ledger"]["consumed"],
                OUTCOMES.map(of).iter().sum(),
            );
            let start = found["start_offset"].as_i64().unwrap_or(0);
            check(format!("skipped of partition {number}"), &found["ledger"]["skipped"], wanted.skipped(start));
            check(format!("lost of partition {number}"), &found["ledger"]["lost"], wanted.lost);
            let explained = start + of("consumed") + of("skipped") + of("lost");
            check(format!("next_offset by the ledger of partition {number}"), &found["next_offset"], explained);
        }
        differences
    }

    /// One counter and window: asked for in pieces, for one question may not read everything.
    async fn series_differs(&self, doors: &Doors, buckets: &[(&Bucket, &Shards)], differences: &mut Differences) {
        let (counter, window) = self.counter_of(buckets[0].0);
        for piece in buckets.chunks(60) {
            let (first, last) = (piece[0].0.2, piece[piece.len() - 1].0.2);
            let query = format!("window={}&from={first}&to={}&top=10000", window.label, last + 1);
            let answer = doors.counter(&counter.name, &query).await;
            let mut starts = (first..=last).step_by(window.size_s as usize);
            for found in answer["buckets"].as_array().expect("buckets") {
                let start = found["start"].as_i64().expect("a start");
                let name = format!("{} {} {start}", counter.name, window.label);
                if starts.next() != Some(start) || found["end"] != start + window.size_s {
                    differences.lines.push(format!("{name}: not the next bucket: {found}"));
                }
                let shards = piece.iter().find(|(bucket, _)| bucket.2 == start).map(|(_, shards)| *shards);
                let wanted = Wanted::sum(shards.into_iter().flat_map(BTreeMap::values), counter.max_keys);
                differences.compare(&name, buckets[0].0, &wanted, &read(found));
                differences.lines.extend(unordered(&name, found));
            }
            if let Some(missing) = starts.next() {
                differences.lines.push(format!("{} {}: no bucket {missing}", counter.name, window.label));
            }
        }
    }
}

fn read(bucket: &Value) -> Found {
    let number = |value: &Value| value.as_u64().expect("a count");
    let keys = bucket["keys"].as_array().expect("keys").iter();
    let keys = keys.map(|key| (key["key"].as_str().expect("a key").to_owned(), number(&key["count"])));
    Found { total: number(&bucket["total"]), other: number(&bucket["other"]), keys: keys.collect() }
}

/// Keys stand by count, the highest first, then by name.
fn unordered(name: &str, bucket: &Value) -> Option<String> {
    let keys = bucket["keys"].as_array().expect("keys");
    let place = |key: &Value| {
        (std::cmp::Reverse(key["count"].as_u64().expect("a count")), key["key"].as_str().expect("a key").to_owned())
    };
    (!keys.is_sorted_by_key(place)).then(|| format!("{name}: keys are not in order: {keys:?}"))
}
