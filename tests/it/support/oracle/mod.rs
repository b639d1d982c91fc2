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
    /// How many offsets back the same event is a duplicate; 0: never.
    dedupe_horizon: i64,
    shards: i32,
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

/// What a bucket has to hold, by shard.
type Shards = BTreeMap<i32, Counts>;

/// What a bucket has to hold in one shard.
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
    /// Offsets that the topic lost before they were counted, as far as the test knows of it.
    lost: i64,
    /// Where each event id stood last.
    seen: HashMap<String, i64>,
}

impl Partition {
    fn records(&self) -> i64 {
        self.ledger.values().sum::<u64>() as i64
    }

    /// How many offsets have to be skipped when counting began at `start`: those without a record.
    fn skipped(&self, start: i64) -> i64 {
        self.next - start - self.records() - self.lost
    }

    /// Whether this event stood here not long before. It counts as seen here, whatever comes of it.
    fn repeats(&mut self, id: &str, offset: i64, horizon: i64) -> bool {
        let before = self.seen.insert(id.to_owned(), offset);
        before.is_some_and(|before| offset - before <= horizon)
    }
}

/// What the records add up to that it was given, each partition in its order.
#[derive(Clone, Debug)]
pub(crate) struct Recount {
    rules: Rules,
    buckets: BTreeMap<Bucket, Shards>,
    partitions: BTreeMap<i32, Partition>,
    key: String,
}

impl Rules {
    pub(crate) fn of(settings: &Settings) -> Rules {
        let duration = |key: &str, default| settings.get(key).map_or(default, |v| ms(v.as_str().expect("a duration")));
        let number = |key: &str, default| settings.get(key).map_or(default, |v| v.as_integer().expect("a number"));
        Rules {
            counters: settings.counters().iter().map(Counter::of).collect(),
            lateness_ms: duration("pipeline.lateness", 5_000),
            max_ahead_ms: duration("pipeline.max_ahead", 60_000),
            dedupe_horizon: number("pipeline.dedupe_horizon", 200_000),
            shards: i32::try_from(number("store.redis.shards", 1)).expect("a few"),
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

    /// Of records of a log whose partitions end there.
    pub(crate) fn of_log(settings: &Settings, records: &[Record], ends: &BTreeMap<i32, i64>) -> Recount {
        let mut recount = Recount::of_records(settings, records);
        for (partition, end) in ends {
            recount.partitions.entry(*partition).or_default().next = *end;
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
        self.buckets.values().flat_map(BTreeMap::values).map(|counts| 1 + counts.keys.len()).sum()
    }

    /// The same, of a partition that lost so many offsets before they were counted.
    pub(crate) fn losing(mut self, partition: i32, offsets: i64) -> Recount {
        self.partitions.entry(partition).or_default().lost = offsets;
        self
    }

    /// Where a partition's counts have to end.
    pub(crate) fn ends(&self) -> BTreeMap<i32, i64> {
        self.partitions.iter().map(|(number, partition)| (*number, partition.next)).collect()
    }

    /// Adds a record and says what becomes of it.
    pub(crate) fn add(&mut self, record: &Record) -> &'static str {
        let event = record.value.as_deref().and_then(Event::read);
        let (outcome, at_ms) = match (event, record.timestamp) {
            (Some(event), Some(record_ms)) => {
                let at_ms = event.at_ms.unwrap_or(record_ms);
                let at_ms = if at_ms > record_ms + self.rules.max_ahead_ms { record_ms } else { at_ms };
                (self.outcome_of(&event, record, at_ms, record_ms), Some(at_ms))
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

    fn outcome_of(&mut self, event: &Event, record: &Record, at_ms: i64, record_ms: i64) -> &'static str {
        let horizon = self.rules.dedupe_horizon;
        let partition = self.partitions.entry(record.partition).or_default();
        let id = event.id.as_ref().filter(|_| horizon > 0);
        if id.is_some_and(|id| partition.repeats(id, record.offset, horizon)) {
            return "duplicate";
        }
        self.count(event, record.partition.rem_euclid(self.rules.shards), at_ms, record_ms)
    }

    fn count(&mut self, event: &Event, shard: i32, at_ms: i64, record_ms: i64) -> &'static str {
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
                let counts = self.buckets.entry((c, w, start)).or_default().entry(shard).or_default();
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
    fn kept(&self) -> impl Iterator<Item = (&Bucket, &Shards)> {
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

/// What a reader has to find: counts, and how many keys when there are more than are kept.
#[derive(Clone, Debug, Default)]
struct Wanted {
    counts: Counts,
    least_keys: usize,
    most_keys: usize,
    /// No shard has more keys than are kept.
    fits: bool,
}

impl Wanted {
    /// Shards as a reader adds them up.
    fn sum<'a>(shards: impl IntoIterator<Item = &'a Counts>, max_keys: usize) -> Wanted {
        let mut wanted = Wanted { fits: true, ..Wanted::default() };
        for shard in shards {
            let kept = shard.keys.len().min(max_keys);
            wanted.fits &= shard.keys.len() <= max_keys;
            wanted.least_keys = wanted.least_keys.max(kept);
            wanted.most_keys += kept;
            wanted.counts.total += shard.total;
            for (key, count) in &shard.keys {
                *wanted.counts.keys.entry(key.clone()).or_default() += count;
            }
        }
        wanted.most_keys = wanted.most_keys.min(wanted.counts.keys.len());
        wanted
    }
}

/// What is wrong with a bucket, if anything is.
fn compare(name: &str, wanted: &Wanted, found: &Found) -> Option<String> {
    let Wanted { counts: Counts { total, keys }, least_keys, most_keys, fits } = wanted;
    let in_keys: u64 = found.keys.values().sum();
    let wrong = if found.total != *total {
        format!("total {}, should be {total}", found.total)
    } else if keys.is_empty() {
        // A counter without `by`, or nothing at all.
        if found.keys.is_empty() && found.other == 0 {
            return None;
        }
        format!("keys that should not be there: {:?}, other {}", found.keys, found.other)
    } else if in_keys + found.other != found.total {
        format!("keys {in_keys} + other {} are not the total {}", found.other, found.total)
    } else if let Some((key, count)) = found.keys.iter().find(|(key, count)| keys.get(*key) < Some(count)) {
        format!("key {key:?} has {count}, should have {:?}", keys.get(key))
    } else if !(*least_keys..=*most_keys).contains(&found.keys.len()) {
        format!("{} keys, should be {least_keys} to {most_keys} of {}", found.keys.len(), keys.len())
    } else if *fits && found.keys != *keys {
        let differs = keys.iter().find(|(key, count)| found.keys.get(*key) != Some(count));
        format!("key {differs:?} differs, other {}", found.other)
    } else {
        return None;
    };
    Some(format!("{name}: {wrong}"))
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Differences {
    /// Each in a line of its own.
    pub(crate) lines: Vec<String>,
    /// By counter and window: how much of the totals is missing, and how much is too much.
    totals: BTreeMap<(usize, usize), (u64, u64)>,
}

impl Differences {
    fn compare(&mut self, name: &str, bucket: &Bucket, wanted: &Wanted, found: &Found) {
        self.lines.extend(compare(name, wanted, found));
        let (lost, double) = self.totals.entry((bucket.0, bucket.1)).or_default();
        *lost += wanted.counts.total.saturating_sub(found.total);
        *double += found.total.saturating_sub(wanted.counts.total);
    }

    /// Events that are missing, by the counter and window that misses most.
    pub(crate) fn lost(&self) -> u64 {
        self.totals.values().map(|(lost, _)| *lost).max().unwrap_or(0)
    }

    /// Events that were counted too often, by the counter and window that has most of them.
    pub(crate) fn double(&self) -> u64 {
        self.totals.values().map(|(_, double)| *double).max().unwrap_or(0)
    }

    /// Fails with the first of them, and how many there are.
    fn assert_none(&self, what: &str) {
        let first = self.lines[..self.lines.len().min(10)].join("\n");
        assert!(
            self.lines.is_empty(),
            "{what} differs from the recount in {} places, {} lost, {} double:\n{first}",
            self.lines.len(),
            self.lost(),
            self.double()
        );
    }
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
