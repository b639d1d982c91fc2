//! What the counts have to be, found out from the raw log by the documented rules, and by no line of the program's code.
//!
//! [`Rules`] read a configuration, [`Recount`] takes records and says what became of each, `redis`, `embedded` and
//! `api` read what is really there and compare.

mod api;
mod embedded;
mod event;
mod redis;

use std::collections::{BTreeMap, HashMap};

use toml::{Table, Value};

use super::topic::Record;
use super::{Settings, now_ms};
pub(crate) use embedded::records_of;
use event::{Dimension, Event};

/// The outcomes of a record, as the ledger names them.
pub(crate) const OUTCOMES: [&str; 5] = ["counted", "duplicate", "filtered", "expired", "dead_lettered"];

/// What is counted and how.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    counters: Vec<Counter>,
    lateness_ms: i64,
    max_ahead_ms: i64,
}

#[derive(Clone, Debug)]
struct Counter {
    name: String,
    events: Vec<String>,
    by: Vec<Dimension>,
    windows: Vec<Window>,
    max_keys: usize,
}

#[derive(Clone, Debug)]
struct Window {
    label: String,
    size_s: i64,
    keep_s: i64,
}

/// A counter, a window of it (by their places), and a start.
type Bucket = (usize, usize, i64);

/// What a bucket has to hold.
#[derive(Clone, Debug, Default)]
struct Counts {
    total: u64,
    keys: HashMap<String, u64>,
}

/// What has to become of a partition.
#[derive(Clone, Debug, Default)]
struct Partition {
    first: Option<i64>,
    next: i64,
    ledger: BTreeMap<&'static str, u64>,
    watermark: Option<i64>,
}

/// What the records add up to that it was given, each partition in its order.
#[derive(Clone, Debug)]
pub(crate) struct Recount {
    rules: Rules,
    buckets: BTreeMap<Bucket, Counts>,
    partitions: BTreeMap<i32, Partition>,
    key: String,
}

impl Rules {
    pub(crate) fn of(settings: &Settings) -> Rules {
        let duration = |key: &str, default| settings.get(key).map_or(default, |v| ms(v.as_str().expect("a duration")));
        Rules {
            counters: settings.counters().iter().map(Counter::of).collect(),
            lateness_ms: duration("pipeline.lateness", 5_000),
            max_ahead_ms: duration("pipeline.max_ahead", 60_000),
        }
    }
}

impl Counter {
    fn of(table: &Table) -> Counter {
        let texts = |key: &str| match table.get(key) {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(many) => many.clone().try_into::<Vec<String>>().expect("a list of texts"),
        };
        let windows = table["windows"].as_array().expect("windows").iter().map(|window| {
            let text = |key: &str| window[key].as_str().expect("a duration");
            Window {
                label: text("size").to_owned(),
                size_s: ms(text("size")) / 1_000,
                keep_s: ms(text("keep")) / 1_000,
            }
        });
        Counter {
            name: table["name"].as_str().expect("a name").to_owned(),
            events: texts("event"),
            by: texts("by").iter().map(|path| Dimension::of(path)).collect(),
            windows: windows.collect(),
            max_keys: table.get("max_keys").map_or(10_000, |n| n.as_integer().expect("a number") as usize),
        }
    }
}

impl Window {
    fn kept_until_ms(&self, start: i64) -> i64 {
        (start + self.size_s + self.keep_s) * 1_000
    }
}

impl Recount {
    pub(crate) fn new(rules: Rules) -> Recount {
        Recount { rules, buckets: BTreeMap::new(), partitions: BTreeMap::new(), key: String::new() }
    }

    /// Of all that the topic holds now. Its ends become the offsets that the counts have to reach.
    pub(crate) async fn of_topic(kafka: &super::Kafka, settings: &Settings) -> Recount {
        let start = Recount::new(Rules::of(settings));
        let topic = settings.text_of("log.kafka.topic");
        let (mut recount, ends) = kafka.fold(topic, start, |recount, record| _ = recount.add(&record)).await;
        for (partition, end) in ends {
            recount.partitions.entry(partition).or_default().next = end;
        }
        recount
    }

    /// Of records.
    pub(crate) fn of_records(settings: &Settings, records: &[Record]) -> Recount {
        let mut recount = Recount::new(Rules::of(settings));
        records.iter().for_each(|record| _ = recount.add(record));
        recount
    }

    /// How many records it was given.
    pub(crate) fn records(&self) -> u64 {
        self.partitions.values().flat_map(|partition| partition.ledger.values()).sum()
    }

    /// How many records have to have this outcome.
    pub(crate) fn outcome(&self, name: &str) -> u64 {
        self.partitions.values().filter_map(|partition| partition.ledger.get(name)).sum()
    }

    /// How many numbers have to be stored: keys of all buckets, and the buckets.
    pub(crate) fn cells(&self) -> usize {
        self.buckets.values().map(|counts| 1 + counts.keys.len()).sum()
    }

    /// Adds a record and says what becomes of it.
    pub(crate) fn add(&mut self, record: &Record) -> &'static str {
        let event = record.value.as_deref().and_then(Event::read);
        let (outcome, at_ms) = match (event, record.timestamp) {
            (Some(event), Some(record_ms)) => {
                let at_ms = event.at_ms.unwrap_or(record_ms);
                let at_ms = if at_ms > record_ms + self.rules.max_ahead_ms { record_ms } else { at_ms };
                (self.count(&event, at_ms, record_ms), Some(at_ms))
            }
            _ => ("dead_lettered", None),
        };
        let partition = self.partitions.entry(record.partition).or_default();
        partition.first.get_or_insert(record.offset);
        partition.next = record.offset + 1;
        *partition.ledger.entry(outcome).or_default() += 1;
        if let Some(record_ms) = record.timestamp {
            let seen = at_ms.map_or(record_ms, |at| at.min(record_ms)) - self.rules.lateness_ms;
            partition.watermark = partition.watermark.max(Some(seen));
        }
        outcome
    }

    fn count(&mut self, event: &Event, at_ms: i64, record_ms: i64) -> &'static str {
        let mut outcome = "filtered";
        for (c, counter) in self.rules.counters.iter().enumerate() {
            if !counter.events.is_empty() && !counter.events.contains(&event.event_type) {
                continue;
            }
            if outcome == "filtered" {
                outcome = "expired";
            }
            event.key(&counter.by, &mut self.key);
            for (w, window) in counter.windows.iter().enumerate() {
                let start = at_ms.div_euclid(window.size_s * 1_000) * window.size_s;
                if window.kept_until_ms(start) <= record_ms {
                    continue;
                }
                outcome = "counted";
                let counts = self.buckets.entry((c, w, start)).or_default();
                counts.total += 1;
                if counter.by.is_empty() {
                    continue;
                }
                match counts.keys.get_mut(&self.key) {
                    Some(count) => *count += 1,
                    None => _ = counts.keys.insert(self.key.clone(), 1),
                }
            }
        }
        outcome
    }

    fn counter_of(&self, bucket: &Bucket) -> (&Counter, &Window) {
        let counter = &self.rules.counters[bucket.0];
        (counter, &counter.windows[bucket.1])
    }

    /// The buckets that are still kept, and will be for a while yet, so that a comparison does not race with time.
    fn kept(&self) -> impl Iterator<Item = (&Bucket, &Counts)> {
        let soon_ms = now_ms() + 60_000;
        self.buckets.iter().filter(move |(bucket, _)| self.counter_of(bucket).1.kept_until_ms(bucket.2) > soon_ms)
    }
}

/// What is really in a bucket.
#[derive(Clone, Debug, Default)]
struct Found {
    total: u64,
    other: u64,
    keys: HashMap<String, u64>,
}

/// What is wrong with a bucket, if anything is.
fn compare(name: &str, max_keys: usize, wanted: &Counts, found: &Found) -> Option<String> {
    let in_keys: u64 = found.keys.values().sum();
    let wrong = if found.total != wanted.total {
        format!("total {}, should be {}", found.total, wanted.total)
    } else if wanted.keys.is_empty() {
        // A counter without `by`, or nothing at all.
        if found.keys.is_empty() && found.other == 0 {
            return None;
        }
        format!("keys that should not be there: {:?}, other {}", found.keys, found.other)
    } else if in_keys + found.other != found.total {
        format!("keys {in_keys} + other {} are not the total {}", found.other, found.total)
    } else if let Some((key, count)) = found.keys.iter().find(|(key, count)| wanted.keys.get(*key) < Some(count)) {
        format!("key {key:?} has {count}, should have {:?}", wanted.keys.get(key))
    } else if found.keys.len() != wanted.keys.len().min(max_keys) {
        format!("{} keys, should be {} but at most {max_keys}", found.keys.len(), wanted.keys.len())
    } else if wanted.keys.len() <= max_keys && found.keys != wanted.keys {
        let differs = wanted.keys.iter().find(|(key, count)| found.keys.get(*key) != Some(count));
        format!("key {differs:?} differs, other {}", found.other)
    } else {
        return None;
    };
    Some(format!("{name}: {wrong}"))
}

/// Fails with the first differences, and how many there are.
fn report(what: &str, differences: &[String]) {
    let first = differences[..differences.len().min(10)].join("\n");
    assert!(differences.is_empty(), "{what} differs from the recount in {} places:\n{first}", differences.len());
}

/// A duration as users write it, in ms. The ones that tests use.
fn ms(text: &str) -> i64 {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or_else(|| panic!("{text} has no unit"));
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        unit => panic!("{unit} is no unit"),
    };
    text[..digits].parse::<i64>().expect("a number") * unit
}
