use super::compare::{Judged, Rule, judge};
use super::recount::{Bucket, Cells, Recount, Scope};
use super::source::{Progress, Progresses, Records, open_store, progress};
use crate::cli::now_s;
use crate::config::Config;
use crate::counter::Spec;
use crate::store::{CounterStore, Keys, Read, StoredBucket, StoredCounter};
use anyhow::{Context, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Buckets that are about to expire are left alone: they may go while they are read.
const MARGIN_S: i64 = 30;
/// Buckets that are read from the store at a time.
const AT_A_TIME: usize = 64;
/// How often buckets that differ are counted on and compared again while counting goes on.
const TRIES: usize = 30;
const BETWEEN_TRIES: Duration = Duration::from_millis(300);

/// What came of a verification.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) notes: Vec<String>,
    pub(super) records: u64,
    pub(super) buckets: u64,
    pub(super) cells: u64,
    pub(super) differences: Vec<String>,
}

/// Recounts and compares. `only`: one counter; `from_s`: buckets from then on.
pub(super) async fn verify(config: &Config, only: Option<String>, from_s: Option<i64>) -> anyhow::Result<Report> {
    let store = open_store(config)?;
    let known = store.counters().await.context("cannot read the store")?;
    if known.is_empty() {
        bail!("nothing is counted there yet");
    }
    if let Some(name) = only.as_deref().filter(|name| !config.counters.iter().any(|spec| spec.name == *name)) {
        bail!("no counter `{name}` is configured");
    }
    let records = Records::of(config)?;
    let partitions = {
        let records = records.clone();
        tokio::task::spawn_blocking(move || records.partitions()).await.context("a thread failed")??
    };
    let scope = Scope {
        dedupe_horizon: i64::try_from(config.pipeline.dedupe_horizon).unwrap_or(i64::MAX),
        max_ahead_ms: i64::try_from(config.pipeline.max_ahead.as_millis()).unwrap_or(i64::MAX),
        kept_past_s: now_s() + MARGIN_S,
        from_s: from_s.unwrap_or(i64::MIN),
        only,
    };
    let verifier = Verifier {
        topic: config.log.kafka.topic.clone(),
        partitions,
        specs: config.counters.clone(),
        known,
        store,
        records,
        recount: Recount::new(&config.counters, scope.clone()),
        scope,
        read_to: BTreeMap::new(),
        gone: BTreeMap::new(),
        report: Report::default(),
    };
    verifier.run().await
}

struct Verifier {
    topic: String,
    partitions: i32,
    specs: Vec<Spec>,
    known: Vec<StoredCounter>,
    store: Box<dyn CounterStore>,
    records: Records,
    recount: Recount,
    scope: Scope,
    /// How far each partition was recounted.
    read_to: Progresses,
    /// Of partitions whose counted records are partly gone: how many offsets, and when the last of them can have been
    /// recorded, in ms.
    gone: BTreeMap<i32, (i64, i64)>,
    report: Report,
}

impl Verifier {
    async fn run(mut self) -> anyhow::Result<Report> {
        self.count_on().await?;
        let mut open = self.buckets();
        let total = open.len();
        let mut differing = Vec::new();
        for _ in 0..TRIES {
            differing = self.compare(&open).await?;
            open = differing.iter().map(|(bucket, _)| *bucket).collect();
            // What differs while nobody counts differs for good.
            if open.is_empty() || !self.count_on().await? {
                break;
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
            self.count_on().await?;
        }
        self.report.buckets = total as u64;
        for (_, differences) in differing {
            self.report.differences.extend(differences);
        }
        self.compare_outcomes();
        self.note();
        Ok(self.report)
    }

    /// Counts from where the recount is to where the store is by now. False: there was nothing to count.
    async fn count_on(&mut self) -> anyhow::Result<bool> {
        let now = progress(&*self.store, &self.topic, self.partitions).await.context("cannot read the store")?;
        let mut moved = false;
        for (partition, to) in &now {
            let from = self.read_to.get(partition).copied();
            if from.is_some_and(|from| from.start != to.start || from.next > to.next) {
                bail!("the store went back to an earlier state while it was verified: run verify again");
            }
            let from = from.map_or(to.start, |from| from.next);
            if from < to.next {
                moved = true;
                self.read(*partition, from, to).await?;
            }
        }
        self.read_to = now;
        Ok(moved)
    }

    async fn read(&mut self, partition: i32, from: i64, to: &Progress) -> anyhow::Result<()> {
        let (records, next) = (self.records.clone(), to.next);
        // What was counted first may repeat what lay a horizon before it.
        let begin =
            if from == to.start { from.saturating_sub(self.scope.dedupe_horizon).max(0).min(from) } else { from };
        let mut recount = std::mem::take(&mut self.recount);
        let reading = tokio::task::spawn_blocking(move || {
            let (mut earliest, mut read) = (None, 0);
            let held = records.read(partition, (begin, next), &mut |record| {
                if record.offset < from {
                    recount.remember(partition, record.offset, record.time_ms, record.value);
                    return;
                }
                earliest = earliest.or(record.time_ms);
                read += 1;
                recount.record(partition, record.offset, record.time_ms, record.value);
            });
            (recount, held, earliest, read)
        });
        let (recount, held, earliest, read) = reading.await.context("a reading thread failed")?;
        self.recount = recount;
        self.report.records += read;
        let held = held?;
        if held > from {
            // Record times grow along a partition: what is gone is older than what is there.
            let until_ms = earliest.or(to.last_ms).unwrap_or(i64::MAX);
            self.gone.insert(partition, (held - from, until_ms));
        }
        Ok(())
    }

    /// Everything that may be compared: what was recounted, and where the store may hold what it should not.
    fn buckets(&self) -> BTreeSet<Bucket> {
        let mut buckets: BTreeSet<Bucket> = self.recount.buckets.keys().copied().collect();
        let now_s = now_s();
        for (index, place, size, keep) in self.recount.windows() {
            let first = (now_s - size - keep).max(self.scope.from_s).div_euclid(size) * size;
            let mut start = if first < self.scope.from_s { first + size } else { first };
            while start <= now_s + self.scope.max_ahead_ms / 1_000 {
                buckets.insert((index, place, start));
                start += size;
            }
        }
        buckets.retain(|(index, _, _)| self.known.iter().any(|known| known.spec.name == self.specs[*index].name));
        buckets
    }

    /// Compares buckets and answers those that differ.
    async fn compare(&mut self, buckets: &BTreeSet<Bucket>) -> anyhow::Result<Vec<(Bucket, Vec<String>)>> {
        let mut differing = Vec::new();
        let all: Vec<Bucket> = buckets.iter().copied().collect();
        let empty = Cells::default();
        for same in all.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            for some in same.chunks(AT_A_TIME) {
                let stored = self.stored(some).await?;
                let past_s = now_s() + MARGIN_S;
                for (bucket, stored) in some.iter().zip(&stored) {
                    if self.recount.kept_until(*bucket) <= past_s {
                        continue;
                    }
                    let recounted = self.recount.buckets.get(bucket).unwrap_or(&empty);
                    let judged = self.judge(*bucket, recounted, stored);
                    if judged.differences.is_empty() {
                        self.report.cells += judged.cells;
                    } else {
                        let named = judged.differences.iter().map(|what| format!("{}: {what}", self.name(*bucket)));
                        differing.push((*bucket, named.collect()));
                    }
                }
            }
        }
        Ok(differing)
    }

    async fn stored(&self, buckets: &[Bucket]) -> anyhow::Result<Vec<StoredBucket>> {
        let Some((index, place, _)) = buckets.first() else { return Ok(Vec::new()) };
        let spec = &self.specs[*index];
        let question = Read {
            counter: spec.name.clone(),
            kind: spec.kind,
            window: spec.windows[*place].size.clone(),
            starts: buckets.iter().map(|(_, _, start)| *start).collect(),
            keys: if spec.by.is_empty() { Keys::None } else { Keys::All },
        };
        self.store.read(&question).await.context("cannot read the store")
    }

    fn judge(&self, (index, _, start): Bucket, recounted: &Cells, stored: &StoredBucket) -> Judged {
        let spec = &self.specs[index];
        judge(spec.kind, self.rule(index, start), recounted, stored, !spec.by.is_empty(), spec.max_keys)
    }

    fn rule(&self, index: usize, start: i64) -> Rule {
        let ahead_ms = self.scope.max_ahead_ms;
        let start_ms = start.saturating_mul(1_000);
        let gone = self.gone.values().any(|(_, until_ms)| start_ms <= until_ms.saturating_add(ahead_ms));
        let since = self.known.iter().find(|known| known.spec.name == self.specs[index].name).map(|known| known.since);
        let partial = since.is_some_and(|since| since > 0 && start_ms <= since.saturating_mul(1_000) + ahead_ms);
        Rule::of(gone, partial)
    }

    fn name(&self, (index, place, start): Bucket) -> String {
        let spec = &self.specs[index];
        format!("{} {} {start}", spec.name, spec.windows[place].size)
    }

    /// Whether each partition's records came out as its ledger says.
    fn compare_outcomes(&mut self) {
        // The outcomes of old records depend on which counters there were then.
        let always = self.known.iter().all(|known| known.since == 0)
            && self.known.len() == self.specs.len()
            && self.specs.iter().all(|spec| self.known.iter().any(|known| known.spec.name == spec.name));
        for (partition, Progress { start, next, ledger, .. }) in &self.read_to {
            let seen = self.recount.partitions.get(partition).copied().unwrap_or_default();
            let mut same = |what: &str, stored: u64, recounted: u64| {
                self.report.cells += 1;
                if stored != recounted {
                    let line = format!("partition {partition} {what}: stored {stored}, recounted {recounted}");
                    self.report.differences.push(line);
                }
            };
            same("unaccounted offsets", ledger.unaccounted(next - start), 0);
            if self.gone.contains_key(partition) {
                continue;
            }
            same("consumed", ledger.consumed, seen.consumed);
            same("dead_lettered", ledger.dead_lettered, seen.dead_lettered);
            same("duplicate", ledger.duplicate, seen.duplicate);
            if always {
                same("counted", ledger.counted, seen.counted);
                same("filtered", ledger.filtered, seen.filtered);
                same("expired", ledger.expired, seen.expired);
            }
        }
    }

    /// What a reader has to know to judge the result.
    fn note(&mut self) {
        let notes = &mut self.report.notes;
        notes.push(format!("topic {}, {} of {} partitions counted", self.topic, self.read_to.len(), self.partitions));
        for (partition, Progress { start, next, .. }) in &self.read_to {
            notes.push(format!("partition {partition}  offsets {start} to {next}"));
        }
        for (partition, (offsets, until_ms)) in &self.gone {
            let until = until_ms.saturating_add(self.scope.max_ahead_ms).div_euclid(1_000);
            notes.push(format!(
                "partition {partition}  {offsets} counted offsets are no longer in the log: buckets that start before \
                 {until} cannot be checked, only that they hold at least what is still there"
            ));
        }
        for known in self.known.iter().filter(|known| known.since > 0) {
            notes.push(format!(
                "counter {}  added at {}: of its buckets before that, only that they hold no more than the records say",
                known.spec.name, known.since
            ));
        }
        for spec in self.specs.iter().filter(|spec| !self.known.iter().any(|known| known.spec.name == spec.name)) {
            notes.push(format!("counter {}  not in the store yet: not compared", spec.name));
        }
    }
}
