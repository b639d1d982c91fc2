//! Who is there now: how many different ones a distinct counter has told apart in the last five minutes.

use crate::counter::{Counter, Counters, Kind};
use crate::query::starts::Starts;
use crate::store::{CounterStore, Keys, Read, StoreError};
use crate::window::Window;
use serde::Serialize;

/// How far back somebody who did something is still there.
const SPAN_S: i64 = 5 * 60;

/// As the live page is told it.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Active<'a> {
    counter: &'a str,
    /// What it tells apart.
    of: &'a str,
    /// About how many.
    value: u64,
    /// In how many seconds.
    within: i64,
}

impl<'a> Active<'a> {
    /// By the first distinct counter that has windows within that time; nothing where none has.
    pub(super) async fn read(
        store: &dyn CounterStore,
        counters: &'a Counters,
        now_ms: i64,
    ) -> Result<Option<Active<'a>>, StoreError> {
        let mut fitting = counters.iter().filter_map(|counter| Some((counter, window(counter)?)));
        let Some((counter, window)) = fitting.next() else { return Ok(None) };
        let now_s = now_ms.div_euclid(1_000);
        let starts = Starts::kept(window, now_s - SPAN_S, now_s + 1, now_ms).list();
        let (name, label) = (counter.name().to_owned(), window.label().to_owned());
        let read = Read { counter: name, kind: Kind::Distinct, window: label, starts, keys: Keys::None };
        let value = store.united(&read).await?.estimate();
        let of = counter.spec().of.as_deref().unwrap_or_default();
        Ok(Some(Active { counter: counter.name(), of, value, within: SPAN_S }))
    }
}

/// The smallest window of a distinct counter, if it is small enough and kept for long enough.
fn window(counter: &Counter) -> Option<&Window> {
    let windows = counter.windows().iter().filter(|_| counter.kind() == Kind::Distinct);
    windows
        .filter(|window| window.size_s() <= SPAN_S / 5 && window.keep_s() >= SPAN_S)
        .min_by_key(|window| window.size_s())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::{Spec, WindowSpec, default_specs};
    use crate::query::fake::Fake;

    fn visitors(size: &str, keep: &str) -> Spec {
        Spec {
            name: "visitors".into(),
            kind: Kind::Distinct,
            of: Some("user_id".into()),
            windows: vec![WindowSpec { size: size.into(), keep: keep.into() }],
            ..Spec::default()
        }
    }

    #[tokio::test]
    async fn only_a_counter_that_can_tell_is_asked() {
        let fake = Fake::default();
        let now_ms = 1_760_000_005_000;
        fake.fill("visitors", "10s", 1_760_000_000, 3, &[]);
        fake.fill("visitors", "10s", 1_760_000_000 - 290, 2, &[]);
        fake.fill("visitors", "10s", 1_760_000_000 - 310, 9, &[]);
        for (spec, value) in [
            (visitors("10s", "1h"), Some(5)),
            (visitors("1h", "1d"), None),
            (visitors("10s", "1m"), None),
            (default_specs().remove(0), None),
        ] {
            let counters = Counters::new(vec![spec]).unwrap();
            let active = Active::read(&fake, &counters, now_ms).await.unwrap();
            assert_eq!(active.map(|active| active.value), value);
        }
    }
}
