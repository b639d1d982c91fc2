use super::matchers::{Matchers, NAME};
use super::messages::{Label, QueryResult, ReadResponse, Sample, TimeSeries};
use super::{MOST_SAMPLES, MOST_SERIES, Refused};
use crate::query::QueryError;
use std::collections::HashMap;
use tokio::task::yield_now;

/// The value with which Prometheus marks that a series is stale: a NaN of its own.
const STALE: u64 = 0x7ff0_0000_0000_0002;
/// New keys that are matched before others on this thread get their turn.
const MATCHED_AT_A_TIME: usize = 200;

/// What is put together so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    results: Vec<QueryResult>,
    current: Vec<TimeSeries>,
    all_series: usize,
    all_samples: usize,
}

/// What all series of one counter's window have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labels<'a> {
    pub(super) name: &'static str,
    pub(super) counter: &'a str,
    pub(super) window: &'a str,
}

/// A bucket that was counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    pub(super) time_ms: i64,
    pub(super) total: f64,
}

/// The series of one counter's window, bucket by bucket in the order of time.
#[derive(Debug)]
pub(super) struct Growing<'a> {
    answer: &'a mut Answer,
    labels: Labels<'a>,
    /// By key; `None` for a key that the matchers leave out.
    by_key: HashMap<String, Option<Series>>,
    total: Series,
    /// Times of the buckets so far.
    times: Vec<i64>,
    matched: usize,
}

#[derive(Debug, Default)]
struct Series {
    samples: Vec<Sample>,
    /// Behind which bucket it was counted last.
    next: usize,
}

impl Answer {
    /// Begins the series of one counter's window.
    pub(super) fn begin<'a>(&'a mut self, labels: Labels<'a>) -> Growing<'a> {
        let (by_key, total, times) = (HashMap::new(), Series::default(), Vec::new());
        Growing { answer: self, labels, by_key, total, times, matched: 0 }
    }

    /// All series of a query are there.
    pub(super) fn end_query(&mut self) {
        let mut timeseries = std::mem::take(&mut self.current);
        timeseries.sort_unstable_by(|a, b| pairs(a).cmp(pairs(b)));
        self.results.push(QueryResult { timeseries });
    }

    pub(super) fn into_response(self) -> ReadResponse {
        ReadResponse { results: self.results }
    }

    fn sample(&mut self) -> Result<(), Refused> {
        self.all_samples += 1;
        if self.all_samples > MOST_SAMPLES { Err(Refused::Samples) } else { Ok(()) }
    }

    fn series(&mut self) -> Result<(), Refused> {
        self.all_series += 1;
        if self.all_series > MOST_SERIES { Err(Refused::Series) } else { Ok(()) }
    }
}

fn pairs(series: &TimeSeries) -> impl Iterator<Item = (&str, &str)> {
    series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()))
}

impl Growing<'_> {
    /// Adds the next bucket: its keys, or its total where keys are not asked for.
    pub(super) async fn add(
        &mut self,
        bucket: Bucket,
        keys: Option<Vec<(String, f64)>>,
        matchers: &Matchers,
    ) -> Result<(), QueryError> {
        let at = self.times.len();
        self.times.push(bucket.time_ms);
        let Some(keys) = keys else {
            self.answer.sample()?;
            self.total.samples.push(sample(bucket.time_ms, bucket.total));
            return Ok(());
        };
        for (key, count) in keys {
            if !self.by_key.contains_key(&key) {
                let series = if matchers.allow("key", &key) { Some(Series::default()) } else { None };
                if series.is_some() {
                    self.answer.series()?;
                }
                self.by_key.insert(key.clone(), series);
                self.matched += 1;
                if self.matched.is_multiple_of(MATCHED_AT_A_TIME) {
                    yield_now().await;
                }
            }
            if let Some(Some(series)) = self.by_key.get_mut(&key) {
                if series.next < at && !series.samples.is_empty() {
                    self.answer.sample()?;
                    series.samples.push(stale(self.times[series.next]));
                }
                self.answer.sample()?;
                series.samples.push(sample(bucket.time_ms, count));
                series.next = at + 1;
            }
        }
        Ok(())
    }

    /// No bucket comes any more.
    pub(super) fn end(self) -> Result<(), QueryError> {
        let Growing { answer, labels, by_key, total, times, .. } = self;
        if !total.samples.is_empty() {
            answer.series()?;
            answer.current.push(labels.series("", total.samples));
        }
        for (key, series) in by_key {
            let Some(mut series) = series else { continue };
            if let Some(gone) = times.get(series.next) {
                answer.sample()?;
                series.samples.push(stale(*gone));
            }
            answer.current.push(labels.series(&key, series.samples));
        }
        Ok(())
    }
}

impl Labels<'_> {
    /// A label that is empty is one that is not there, so the empty key has none.
    fn series(&self, key: &str, samples: Vec<Sample>) -> TimeSeries {
        let labels = [(NAME, self.name), ("counter", self.counter), ("key", key), ("window", self.window)];
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        let labels = labels.map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() });
        TimeSeries { labels: labels.collect(), samples }
    }
}

fn sample(timestamp: i64, value: f64) -> Sample {
    Sample { value, timestamp }
}

fn stale(timestamp: i64) -> Sample {
    Sample { value: f64::from_bits(STALE), timestamp }
}
