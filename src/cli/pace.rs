//! At most so many per second, and a line about it now and then.

use super::remark;
use std::time::{Duration, Instant};

/// What was missed for this long is not caught up with.
const CATCH_UP: Duration = Duration::from_millis(100);
/// Between two lines about how it goes.
const TOLD: Duration = Duration::from_secs(5);
/// What takes less has no rate.
const WORTH: Duration = Duration::from_secs(2);

/// Lets through at most so many per second, evenly.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    /// `None`: as many as there are.
    pub(super) fn new(rate: Option<u32>) -> Pace {
        let interval = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1));
        Pace { interval, next: Instant::now() }
    }

    /// Waits for the next turn.
    pub(super) async fn turn(&mut self) {
        if let Some(wait) = self.take(Instant::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    /// How long the turn that is taken now has to wait.
    fn take(&mut self, now: Instant) -> Option<Duration> {
        let oldest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let turn = self.next.max(oldest);
        self.next = turn + self.interval;
        turn.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }
}

/// Says now and then how far it is.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    begun: Instant,
    told: Instant,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Progress {
        let now = Instant::now();
        Progress { what, begun: now, told: now }
    }

    /// That so many are done by now.
    pub(super) fn at(&mut self, done: u64) {
        if self.told.elapsed() >= TOLD {
            self.told = Instant::now();
            remark(&format!("{} {done} so far, {:.0}/s", self.what, self.rate(done)));
        }
    }

    /// How many per second, all in all; nothing when that took no time worth speaking of.
    pub(super) fn overall(&self, done: u64) -> String {
        if self.begun.elapsed() < WORTH { String::new() } else { format!(", {:.0}/s", self.rate(done)) }
    }

    fn rate(&self, done: u64) -> f64 {
        done as f64 / self.begun.elapsed().as_secs_f64().max(0.001)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_even_and_what_was_missed_is_not_made_up_for() {
        let mut pace = Pace::new(Some(100));
        let begun = pace.next;
        assert_eq!(pace.take(begun), None);
        assert_eq!(pace.take(begun), Some(Duration::from_millis(10)));
        assert_eq!(pace.take(begun), Some(Duration::from_millis(20)));
        let later = begun + Duration::from_secs(60);
        let at_once = (0..100).filter(|_| pace.take(later).is_none()).count();
        assert_eq!(at_once, 11, "a tenth of a second's worth, and the one that is due");
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let mut pace = Pace::new(None);
        let now = pace.next;
        assert!((0..1_000).all(|_| pace.take(now).is_none()));
    }
}
