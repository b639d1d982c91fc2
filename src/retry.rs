//! How long to wait before something is tried again.

use std::time::Duration;

/// Waits that double from failure to failure, up to a longest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most, after many.
    pub longest: Duration,
}

impl Backoff {
    /// For what is away and comes back by itself: Kafka, Redis.
    pub const AWAY: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(2) };

    /// How long to wait after the n-th failure in a row, from 1.
    pub fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// The same, shortened by chance to between its half and its whole, so that many who failed together do not all
    /// come back together. `chance` is from 0 to 1.
    pub fn jittered(self, failures: u32, chance: f64) -> Duration {
        self.after(failures).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(2) };

    #[test]
    fn it_doubles_up_to_the_longest() {
        let millis = |failures| BACKOFF.after(failures).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 6, 100].map(millis), [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(BACKOFF.after(u32::MAX), BACKOFF.longest);
    }

    #[test]
    fn chance_shortens_it_by_half_at_most() {
        assert_eq!(BACKOFF.jittered(2, 0.0), Duration::from_millis(100));
        assert_eq!(BACKOFF.jittered(2, 1.0), Duration::from_millis(200));
        assert_eq!(BACKOFF.jittered(2, 7.0), Duration::from_millis(200));
    }
}
