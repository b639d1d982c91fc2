use super::Look;
use super::keys::{self, TopKeys};
use crate::counter::Counter;
use crate::query::buckets::{Bucket, Question};
use crate::query::counters::since;
use crate::query::time::seconds;
use crate::store::{CounterStore, StoreError};
use crate::window::Window;
use serde::Serialize;
use serde_json::value::RawValue;

/// How far back the stream shows, and how many windows at least: 30 minutes of small ones, more of large ones.
const SPAN_S: i64 = 30 * 60;
const LEAST_WINDOWS: i64 = 30;

/// What a reader of one counter and window sees at a time.
#[derive(Debug)]
pub(super) struct View {
    counter: String,
    window: String,
    size_s: i64,
    status: String,
    buckets: Vec<Bucket>,
    keys: Option<TopKeys>,
}

/// All of a view.
#[derive(Serialize)]
struct Snapshot<'a> {
    now: f64,
    counter: &'a str,
    window: &'a str,
    size_s: i64,
    status: Option<&'a RawValue>,
    buckets: &'a [Bucket],
    keys: Option<&'a TopKeys>,
}

/// What of a view differs from the one before. `first` is the oldest window that is still shown.
#[derive(Serialize)]
struct Delta<'a> {
    now: f64,
    first: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buckets: Vec<&'a Bucket>,
    /// Null when there are none any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Option<&'a TopKeys>>,
}

impl View {
    /// Reads it: the totals of all windows, and the keys of the newest window that is worth a look.
    pub(super) async fn read(
        store: &dyn CounterStore,
        counter: &Counter,
        window: &Window,
        look: &Look,
    ) -> Result<View, StoreError> {
        let span_s = SPAN_S.max(LEAST_WINDOWS * window.size_s());
        let question = Question::totals(counter, window, span_s, look.now_ms);
        let coverage = look.partitions.coverage(since(&look.stored, counter.name()));
        let buckets = question.buckets(store, &coverage).await?;
        let keys = match newest(&buckets) {
            Some(at) if !counter.by().is_empty() => keys::read(store, counter, window, &buckets, at).await?,
            _ => None,
        };
        Ok(View {
            counter: counter.name().to_owned(),
            window: window.label().to_owned(),
            size_s: window.size_s(),
            status: look.status.clone(),
            buckets,
            keys,
        })
    }

    /// All of it, as JSON.
    pub(super) fn snapshot(&self, now_ms: i64) -> String {
        text_of(&Snapshot {
            now: seconds(now_ms),
            counter: &self.counter,
            window: &self.window,
            size_s: self.size_s,
            status: serde_json::from_str(&self.status).ok(),
            buckets: &self.buckets,
            keys: self.keys.as_ref(),
        })
    }

    /// What differs from `before`, as JSON.
    pub(super) fn delta(&self, before: &View, now_ms: i64) -> String {
        let changed = |bucket: &&Bucket| {
            let at = before.buckets.binary_search_by_key(&bucket.start, |old| old.start);
            at.map_or(true, |at| before.buckets[at] != **bucket)
        };
        text_of(&Delta {
            now: seconds(now_ms),
            first: self.buckets.first().map(|bucket| bucket.start),
            status: if self.status == before.status { None } else { serde_json::from_str(&self.status).ok() },
            buckets: self.buckets.iter().filter(changed).collect(),
            keys: (self.keys != before.keys).then_some(self.keys.as_ref()),
        })
    }
}

/// The newest window that is final and holds something; before there is one, the newest that holds something.
fn newest(buckets: &[Bucket]) -> Option<usize> {
    let counted = |bucket: &Bucket| bucket.total > 0;
    let complete = buckets.iter().rposition(|bucket| counted(bucket) && bucket.is_final);
    complete.or_else(|| buckets.iter().rposition(counted))
}

/// JSON. What is written here has no maps with odd keys, so nothing can be refused.
pub(super) fn text_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|e| {
        tracing::error!(error = %e, "the live view cannot be written as JSON");
        "null".to_owned()
    })
}
