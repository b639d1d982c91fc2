/// Up to what event time, in ms, a partition is complete. It only rises.
///
/// It decides whether a bucket is `final` and nothing else: a late event still counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark(Option<i64>);

impl Watermark {
    /// Nothing is known to be complete yet.
    pub const NONE: Watermark = Watermark(None);

    /// A watermark at `ms`, as read back from a store.
    pub fn at(ms: i64) -> Watermark {
        Watermark(Some(ms))
    }

    /// The time in ms, if there is one.
    pub fn ms(self) -> Option<i64> {
        self.0
    }

    /// Raises it to the other one where that is higher.
    pub fn raise(&mut self, other: Watermark) {
        *self = (*self).max(other);
    }

    /// Raises it for a consumed record. `event_ms` is absent for a dead letter, whose record time stands for it.
    pub fn consumed(&mut self, event_ms: Option<i64>, record_ms: i64, lateness_ms: i64) {
        let seen = event_ms.map_or(record_ms, |event| event.min(record_ms));
        self.raise(Watermark::at(seen.saturating_sub(lateness_ms)));
    }

    /// Raises it for a partition that was read to its end, by an answer about that end asked for at `asked_ms`.
    pub fn read_to_end(&mut self, asked_ms: i64, lateness_ms: i64) {
        self.raise(Watermark::at(asked_ms.saturating_sub(lateness_ms)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_event_from_the_future_raises_it_no_further_than_its_record() {
        let mut w = Watermark::NONE;
        w.consumed(Some(90_000), 50_000, 5_000);
        assert_eq!(w.ms(), Some(45_000));
        w.consumed(None, 60_000, 5_000);
        assert_eq!(w.ms(), Some(55_000));
    }

    proptest! {
        #[test]
        fn it_never_falls(records in prop::collection::vec((any::<Option<i32>>(), any::<i32>()), 1..50)) {
            let (mut w, mut before) = (Watermark::NONE, Watermark::NONE);
            for (event, record) in records {
                w.consumed(event.map(i64::from), i64::from(record), 5_000);
                prop_assert!(w >= before);
                before = w;
            }
        }
    }
}
