use super::matchers::{Matchers, NAME};
use super::messages::{Query, QueryResult, ReadRequest, ReadResponse};
use super::series::{Answer, Bucket, Labels};
use super::{COUNT, MOST_MATCHERS, MOST_QUERIES, MOST_REGEXES, PATIENCE, Refused, TOTAL, TOTAL_VALUE, VALUE};
use crate::counter::{Counter, Counters, Kind};
use crate::query::QueryError;
use crate::query::buckets::MOST_CELLS;
use crate::query::budget::Priced;
use crate::query::counters::since;
use crate::query::partitions::Partitions;
use crate::query::starts::Starts;
use crate::query::value::Value;
use crate::store::{CounterStore, Keys, Read, StoredBucket, StoredCounter};
use crate::window::Window;

/// The labels that a series may have.
const LABELS: &[&str] = &[NAME, "counter", "window", "key"];
/// Beyond the year 9999 no window lies, and the arithmetic is safe.
const LATEST_MS: i64 = 253_402_300_800_000;
/// Buckets that are read at a time.
const CHUNK: usize = 32;

/// What a request takes to be read: for each of its queries the counters and windows that its matchers leave.
#[derive(Debug)]
pub(in crate::query) struct Plan<'a> {
    queries: Vec<(Matchers, Vec<Selected<'a>>)>,
}

/// One counter's window, in one of its two forms.
#[derive(Debug)]
struct Selected<'a> {
    name: &'static str,
    counter: &'a Counter,
    window: &'a Window,
    starts: Starts,
    keys: Keys,
}

/// What is known of the counts when they are read.
struct Known<'a> {
    store: &'a dyn CounterStore,
    partitions: Partitions,
    counters: Vec<StoredCounter>,
}

impl<'a> Plan<'a> {
    /// Reads a request that came at `now_ms`.
    pub(in crate::query) fn of(
        counters: &'a Counters,
        request: &ReadRequest,
        now_ms: i64,
    ) -> Result<Plan<'a>, QueryError> {
        limited(request)?;
        let queries = request.queries.iter().map(|query| {
            let matchers = Matchers::read(&query.matchers)?;
            let selected = select(counters, query, &matchers, now_ms);
            Ok::<_, Refused>((matchers, selected))
        });
        Ok(Plan { queries: queries.collect::<Result<_, _>>()? })
    }

    /// Reads the answer, once its price is known and lent.
    pub(in crate::query) async fn answer(
        &self,
        store: &dyn CounterStore,
        topic: &str,
    ) -> Result<ReadResponse, QueryError> {
        let read = tokio::time::timeout(PATIENCE, self.read(store, topic));
        read.await.unwrap_or_else(|_| Err(Refused::Slow.into()))
    }

    async fn read(&self, store: &dyn CounterStore, topic: &str) -> Result<ReadResponse, QueryError> {
        if self.queries.iter().all(|(_, selected)| selected.is_empty()) {
            // A Prometheus asks for all that it evaluates, most of which are not our series: that reads nothing.
            return Ok(ReadResponse { results: self.queries.iter().map(|_| QueryResult::default()).collect() });
        }
        // Watermarks before counts, so that no bucket is taken for final with a count from before that.
        let partitions = Partitions::read(store, topic).await?;
        let known = Known { store, partitions, counters: store.counters().await? };
        let mut answer = Answer::default();
        for (matchers, selected) in &self.queries {
            for selected in selected {
                selected.read(&known, matchers, &mut answer).await?;
            }
            answer.end_query();
        }
        Ok(answer.into_response())
    }

    fn selected(&self) -> impl Iterator<Item = &Selected<'a>> {
        self.queries.iter().flat_map(|(_, selected)| selected)
    }
}

impl Priced for Plan<'_> {
    fn least(&self) -> Result<u64, QueryError> {
        affordable(self.selected().map(|selected| selected.starts.count()).fold(0, u64::saturating_add))
    }

    async fn price(&self, store: &dyn CounterStore) -> Result<u64, QueryError> {
        let mut cells = self.least()?;
        for selected in self.selected().filter(|selected| selected.keys == Keys::All && selected.starts.count() > 0) {
            let (counter, window) = (selected.counter.name(), selected.window.label());
            let keys = store.key_count(counter, window, &selected.starts.list()).await?;
            cells = affordable(cells.saturating_add(keys))?;
        }
        Ok(cells)
    }
}

/// Refuses a request that is too large, before anything of it is compiled.
fn limited(request: &ReadRequest) -> Result<(), Refused> {
    if request.queries.len() > MOST_QUERIES {
        return Err(Refused::Queries(request.queries.len()));
    }
    let matchers = || request.queries.iter().flat_map(|query| &query.matchers);
    let (all, regexes) = (matchers().count(), matchers().filter(|matcher| matcher.is_regex()).count());
    if all > MOST_MATCHERS {
        return Err(Refused::Matchers(all));
    }
    if regexes > MOST_REGEXES { Err(Refused::Regexes(regexes)) } else { Ok(()) }
}

/// The counters and windows that the matchers leave, without looking at keys.
fn select<'a>(counters: &'a Counters, query: &Query, matchers: &Matchers, now_ms: i64) -> Vec<Selected<'a>> {
    let mut selected = Vec::new();
    if !matchers.allow_absent(LABELS) {
        return selected;
    }
    for name in [COUNT, TOTAL, VALUE, TOTAL_VALUE].into_iter().filter(|name| matchers.allow(NAME, name)) {
        let of_value = [VALUE, TOTAL_VALUE].contains(&name);
        let counters = counters.iter().filter(|counter| !of_value || counter.kind() != Kind::Count);
        for counter in counters.filter(|counter| matchers.allow("counter", counter.name())) {
            let has_keys = [COUNT, VALUE].contains(&name) && !counter.by().is_empty();
            if !has_keys && !matchers.allow("key", "") {
                continue;
            }
            let keys = match matchers.exactly("key") {
                _ if !has_keys => Keys::None,
                Some(key) => Keys::One(key.to_owned()),
                None => Keys::All,
            };
            for window in counter.windows().iter().filter(|window| matchers.allow("window", window.label())) {
                let starts = starts(window, query, now_ms);
                selected.push(Selected { name, counter, window, starts, keys: keys.clone() });
            }
        }
    }
    selected
}

/// The starts of the windows whose last millisecond lies in the time of a query.
fn starts(window: &Window, query: &Query, now_ms: i64) -> Starts {
    let size = window.size_s();
    let clamped = |ms: i64| ms.clamp(-LATEST_MS, LATEST_MS) + 1;
    let first_end = (clamped(query.start_timestamp_ms) + 999).div_euclid(1_000);
    let last_end = clamped(query.end_timestamp_ms).div_euclid(1_000);
    let first = (first_end - size + size - 1).div_euclid(size) * size;
    Starts::kept(window, first, last_end - size + 1, now_ms)
}

fn affordable(cells: u64) -> Result<u64, QueryError> {
    if cells <= MOST_CELLS {
        return Ok(cells);
    }
    let hint = "match `counter`, `window` and `key`, or ask for streamgauge_window_total or a shorter range".to_owned();
    Err(QueryError::TooMuch { cells, limit: MOST_CELLS, hint })
}

impl Selected<'_> {
    /// What is read of the counter: where only events are wanted, nothing but them.
    fn kind(&self) -> Kind {
        if [VALUE, TOTAL_VALUE].contains(&self.name) { self.counter.kind() } else { Kind::Count }
    }

    fn total(&self, stored: &StoredBucket) -> f64 {
        match self.kind() {
            Kind::Count => stored.total as f64,
            _ => Value::of(self.counter, stored.value, stored.total).map_or(0.0, |value| value.as_f64()),
        }
    }

    fn samples(&self, stored: StoredBucket) -> Vec<(String, f64)> {
        let StoredBucket { keys, values, .. } = stored;
        let sample = |key: &str, count: u64| match self.kind() {
            Kind::Count => count as f64,
            _ => Value::of(self.counter, values.get(key).copied(), count).map_or(0.0, |value| value.as_f64()),
        };
        keys.into_iter().map(|(key, count)| (sample(&key, count), key)).map(|(n, key)| (key, n)).collect()
    }

    async fn read(&self, known: &Known<'_>, matchers: &Matchers, answer: &mut Answer) -> Result<(), QueryError> {
        let (counter, window) = (self.counter.name(), self.window.label());
        let coverage = known.partitions.coverage(since(&known.counters, counter));
        let mut series = answer.begin(Labels { name: self.name, counter, window });
        for starts in self.starts.list().chunks(CHUNK) {
            let read = Read {
                counter: counter.to_owned(),
                kind: self.kind(),
                window: window.to_owned(),
                starts: starts.to_vec(),
                keys: self.keys.clone(),
            };
            for (start, stored) in starts.iter().zip(known.store.read(&read).await?) {
                let end = self.window.end_of(*start);
                let is_counted = stored.total > 0 || (coverage.is_final(end) && !coverage.is_partial(*start, end));
                if is_counted {
                    let bucket = Bucket { time_ms: end * 1_000 - 1, total: self.total(&stored) };
                    let keys = (self.keys != Keys::None).then(|| self.samples(stored));
                    series.add(bucket, keys, matchers).await?;
                }
            }
        }
        series.end()
    }
}
