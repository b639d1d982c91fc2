use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// When each request of a run is due: at a fixed time after the start, whatever became of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    rate: u32,
    batch: u32,
    requests: u64,
}

impl Schedule {
    /// `rate` events a second in requests of `batch`, evenly, for so long; at least one request.
    pub fn new(rate: u32, batch: u32, lasting: Duration) -> Schedule {
        let (rate, batch) = (rate.max(1), batch.max(1));
        let requests = (lasting.as_nanos() * u128::from(rate)).div_ceil(u128::from(batch) * NANOS);
        Schedule { rate, batch, requests: u64::try_from(requests).unwrap_or(u64::MAX).max(1) }
    }

    /// How many requests there are.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// When request `index` is due, after the start.
    pub fn due(&self, index: u64) -> Duration {
        let nanos = u128::from(index) * u128::from(self.batch) * NANOS / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many requests are due by then.
    pub fn due_by(&self, elapsed: Duration) -> u64 {
        // `due` rounds down to whole nanoseconds, so a request whose exact time lies within this one is due.
        let next = (elapsed.as_nanos() + 1) * u128::from(self.rate);
        let due = next.div_ceil(u128::from(self.batch) * NANOS);
        u64::try_from(due).unwrap_or(u64::MAX).min(self.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_due_evenly_and_the_duration_is_filled() {
        let schedule = Schedule::new(1_000, 50, Duration::from_secs(2));
        assert_eq!(schedule.requests(), 40);
        let due = [0, 1, 39].map(|i| schedule.due(i));
        assert_eq!(due, [0, 50, 1_950].map(Duration::from_millis));
        let by = [0, 49, 50, 1_950, 9_999].map(|ms| schedule.due_by(Duration::from_millis(ms)));
        assert_eq!(by, [1, 1, 2, 40, 40]);
    }

    #[test]
    fn the_last_request_may_be_due_for_a_part_of_its_time() {
        assert_eq!(Schedule::new(10, 3, Duration::from_secs(1)).requests(), 4);
        assert_eq!(Schedule::new(1, 1_000, Duration::from_millis(1)).requests(), 1);
        let longest = Schedule::new(u32::MAX, 1, Duration::from_secs(u64::MAX));
        assert_eq!((longest.requests(), longest.due_by(Duration::MAX)), (u64::MAX, u64::MAX));
    }

    proptest! {
        #[test]
        fn a_request_is_due_from_its_time_on_and_not_before(
            rate in 1..2_000_000_u32, batch in 1..5_000_u32, index in 0..10_000_000_u64,
        ) {
            let schedule = Schedule { rate, batch, requests: u64::MAX };
            let due = schedule.due(index);
            prop_assert!(schedule.due_by(due) > index);
            if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                prop_assert!(schedule.due_by(before) <= index);
            }
            prop_assert!(schedule.due(index + 1) >= due);
        }
    }
}
