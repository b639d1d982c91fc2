use super::measure::{Measure, Measured, Tally};
use super::rules::{Path, Told};
use crate::counter::Spec;
use std::collections::{BTreeMap, HashMap};

/// What to recount, and what of it is worth keeping in memory.
#[derive(Debug, Default, Clone)]
pub(super) struct Scope {
    /// How many offsets back an event id is looked for.
    pub(super) dedupe_horizon: i64,
    /// How far past its record an event's time may lie.
    pub(super) max_ahead_ms: i64,
    /// Buckets kept no longer than this, in unix seconds, are left out.
    pub(super) kept_past_s: i64,
    /// Buckets that start before this are left out.
    pub(super) from_s: i64,
    /// Only this counter's buckets.
    pub(super) only: Option<String>,
}

/// Names a bucket: the counter's and the window's place, and the start in unix seconds.
pub(super) type Bucket = (usize, usize, i64);

/// What a bucket must hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cells {
    pub(super) total: u64,
    pub(super) keys: HashMap<String, u64>,
    /// What its events amount to.
    pub(super) tally: Tally,
    /// The same of each key.
    pub(super) tallies: HashMap<String, Tally>,
}

/// How the records of a partition came out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) consumed: u64,
    pub(super) counted: u64,
    pub(super) duplicate: u64,
    pub(super) filtered: u64,
    pub(super) expired: u64,
    pub(super) dead_lettered: u64,
}

#[derive(Debug)]
struct Plan {
    name: String,
    types: Vec<String>,
    measure: Measure,
    by: Vec<Path>,
    /// Size and retention, in seconds.
    windows: Vec<(i64, i64)>,
}

/// The counts, made anew from the records.
#[derive(Debug, Default)]
pub(super) struct Recount {
    plans: Vec<Plan>,
    scope: Scope,
    pub(super) buckets: HashMap<Bucket, Cells>,
    pub(super) partitions: BTreeMap<i32, Outcomes>,
    /// For each partition the last offset of every event id, for a horizon at least.
    ids: BTreeMap<i32, HashMap<String, i64>>,
}

impl Recount {
    pub(super) fn new(specs: &[Spec], scope: Scope) -> Recount {
        let plans = specs.iter().map(Plan::of).collect();
        Recount { plans, scope, ..Recount::default() }
    }

    /// All windows in scope: the counter's and the window's place, size and retention in seconds.
    pub(super) fn windows(&self) -> impl Iterator<Item = (usize, usize, i64, i64)> {
        let wanted = |plan: &Plan| self.scope.only.as_deref().is_none_or(|only| only == plan.name);
        let plans = self.plans.iter().enumerate().filter(move |(_, plan)| wanted(plan));
        plans.flat_map(|(index, plan)| {
            plan.windows.iter().enumerate().map(move |(place, (size, keep))| (index, place, *size, *keep))
        })
    }

    /// When a bucket stops being kept, in unix seconds.
    pub(super) fn kept_until(&self, (index, place, start): Bucket) -> i64 {
        let (size, keep) = self.plans[index].windows[place];
        start + size + keep
    }

    /// Notes an event id and answers whether it stood at most a horizon before.
    fn repeats(&mut self, partition: i32, offset: i64, id: Option<&str>) -> bool {
        let horizon = self.scope.dedupe_horizon;
        let Some(id) = id.filter(|_| horizon > 0) else { return false };
        let ids = self.ids.entry(partition).or_default();
        if ids.len() as i64 > 2 * horizon + 1_000 {
            ids.retain(|_, last| offset - *last <= horizon);
        }
        ids.insert(id.to_owned(), offset).is_some_and(|last| offset - last <= horizon)
    }

    /// Notes a record that lies before all that is recounted.
    pub(super) fn remember(&mut self, partition: i32, offset: i64, time_ms: Option<i64>, value: Option<&[u8]>) {
        let told = time_ms.and(value.and_then(Told::read));
        self.repeats(partition, offset, told.and_then(|told| told.event_id).as_deref());
    }

    /// Takes one record in.
    pub(super) fn record(&mut self, partition: i32, offset: i64, time_ms: Option<i64>, value: Option<&[u8]>) {
        let told = time_ms.zip(value.and_then(Told::read));
        let id = told.as_ref().and_then(|(_, told)| told.event_id.as_deref());
        let repeats = self.repeats(partition, offset, id);
        let outcomes = self.partitions.entry(partition).or_default();
        outcomes.consumed += 1;
        let Some((record_ms, told)) = told else {
            outcomes.dead_lettered += 1;
            return;
        };
        if repeats {
            outcomes.duplicate += 1;
            return;
        }
        let (mut wanted, mut counted) = (false, false);
        let at_ms = told.counts_at(record_ms, self.scope.max_ahead_ms);
        for (index, plan) in self.plans.iter().enumerate() {
            if !plan.types.is_empty() && !plan.types.contains(&told.event_type) {
                continue;
            }
            let Some(measured) = plan.measure.of(&told) else { continue };
            wanted = true;
            let mut key = None;
            for (place, (size, keep)) in plan.windows.iter().enumerate() {
                let start = at_ms.div_euclid(size * 1_000) * size;
                let past_s = start + size + keep;
                if past_s * 1_000 <= record_ms {
                    continue;
                }
                counted = true;
                if self.scope.wants(&plan.name, start, past_s) {
                    let cells = self.buckets.entry((index, place, start)).or_default();
                    let key = (!plan.by.is_empty()).then(|| &*key.get_or_insert_with(|| told.key(&plan.by)));
                    cells.add(key, measured);
                }
            }
        }
        *match (wanted, counted) {
            (_, true) => &mut outcomes.counted,
            (true, false) => &mut outcomes.expired,
            (false, false) => &mut outcomes.filtered,
        } += 1;
    }
}

impl Cells {
    fn add(&mut self, key: Option<&String>, measured: Measured) {
        self.total += 1;
        self.tally.add(measured);
        let Some(key) = key else { return };
        match self.keys.get_mut(key) {
            Some(count) => *count += 1,
            None => drop(self.keys.insert(key.clone(), 1)),
        }
        if measured != Measured::Nothing {
            self.tallies.entry(key.clone()).or_default().add(measured);
        }
    }
}

impl Scope {
    fn wants(&self, counter: &str, start: i64, past_s: i64) -> bool {
        start >= self.from_s && past_s > self.kept_past_s && self.only.as_deref().is_none_or(|only| only == counter)
    }
}

impl Plan {
    fn of(spec: &Spec) -> Plan {
        let seconds = |text: &str| {
            let duration = humantime::parse_duration(text).unwrap_or_default();
            i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
        };
        Plan {
            name: spec.name.clone(),
            types: spec.event.clone(),
            measure: Measure::of_spec(spec),
            by: spec.by.iter().map(|path| Path::of(path)).collect(),
            windows: spec.windows.iter().map(|w| (seconds(&w.size).max(1), seconds(&w.keep))).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
