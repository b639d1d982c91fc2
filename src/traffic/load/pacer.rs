use super::schedule::Schedule;
use crate::shutdown::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// What is due within this time is released together: at most 5,000 wake-ups a second, whatever the rate.
const FINEST: Duration = Duration::from_micros(200);
/// Longest time without a look at the shutdown.
const COARSEST: Duration = Duration::from_millis(50);

/// Requests as they become due, and who takes them.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) schedule: Schedule,
    pub(super) start: Instant,
    released: Semaphore,
    taken: AtomicU64,
    /// Requests from here on are not to be sent.
    end: AtomicU64,
}

/// A request that is due.
#[derive(Debug)]
pub(super) struct Turn {
    /// When it was due.
    pub(super) at: Instant,
    /// Whether it was due before anybody asked for it.
    pub(super) has_waited: bool,
}

impl Due {
    pub(super) fn new(schedule: Schedule, start: Instant) -> Due {
        let (released, taken, end) = (Semaphore::new(0), AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Due { schedule, start, released, taken, end }
    }

    /// Waits for a request that is due; `None`: there are no more.
    pub(super) async fn next(&self) -> Option<Turn> {
        let has_waited = match self.released.try_acquire() {
            Ok(permit) => {
                permit.forget();
                true
            }
            Err(_) => {
                // Nobody closes it.
                self.released.acquire().await.ok()?.forget();
                false
            }
        };
        let index = self.taken.fetch_add(1, SeqCst);
        if index >= self.end.load(SeqCst) {
            return None;
        }
        Some(Turn { at: self.start + self.schedule.due(index), has_waited })
    }

    /// Releases each request when it is due, until the last one or the shutdown; answers how many were released. A
    /// thread does this, for the timers of the runtime are as coarse as a millisecond.
    pub(super) fn pace(&self, stop: &Shutdown) -> u64 {
        let mut released = 0;
        while released < self.schedule.requests() && !stop.has_begun() {
            let due = self.schedule.due_by(self.start.elapsed());
            // What is released at once is far below what a semaphore takes.
            self.released.add_permits(usize::try_from(due - released).unwrap_or_default());
            released = due;
            let left = self.schedule.due(released).saturating_sub(self.start.elapsed());
            std::thread::park_timeout(left.clamp(FINEST, COARSEST));
        }
        released
    }

    /// Nothing is to be sent any more that nobody has taken yet, or that was never released. Everybody who waits is told.
    pub(super) fn end(&self, released: u64, waiting: usize) {
        self.end.store(released, SeqCst);
        self.released.add_permits(waiting);
    }

    /// How many requests were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(SeqCst).min(self.end.load(SeqCst))
    }
}

/// Paces on a thread of its own.
pub(super) async fn pace(due: Arc<Due>, stop: Shutdown) -> u64 {
    // It fails only if pacing panicked, and then nothing more is released.
    tokio::task::spawn_blocking(move || due.pace(&stop)).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_request_is_taken_once_and_not_before_its_time() {
        let schedule = Schedule::new(2_000, 1, Duration::from_millis(200));
        let due = Arc::new(Due::new(schedule, Instant::now()));
        let mut takers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let due = due.clone();
            takers.spawn(async move {
                let mut turns = Vec::new();
                while let Some(turn) = due.next().await {
                    assert!(turn.at <= Instant::now());
                    turns.push(turn.at);
                }
                turns
            });
        }
        let released = pace(due.clone(), Shutdown::new()).await;
        due.end(released, 4);
        let mut turns = takers.join_all().await.concat();
        turns.sort_unstable();
        let expected: Vec<_> = (0..400).map(|i| due.start + Duration::from_micros(500) * i).collect();
        assert_eq!((released, turns), (400, expected));
        assert_eq!(due.taken(), 400);
    }

    #[tokio::test]
    async fn what_waited_says_so_and_what_is_left_at_the_end_is_not_sent() {
        let schedule = Schedule::new(1_000_000, 1, Duration::from_millis(1));
        let due = Due::new(schedule, Instant::now());
        assert_eq!(due.pace(&Shutdown::new()), 1_000);
        for _ in 0..10 {
            assert!(due.next().await.unwrap().has_waited);
        }
        due.end(due.taken(), 1);
        assert!(due.next().await.is_none());
        assert_eq!(due.taken(), 10);
    }

    #[test]
    fn a_shutdown_ends_the_pacing() {
        let due = Due::new(Schedule::new(1, 1, Duration::from_secs(3_600)), Instant::now());
        let stop = Shutdown::new();
        stop.begin();
        assert_eq!(due.pace(&stop), 0);
    }
}
