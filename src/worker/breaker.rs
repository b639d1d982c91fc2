//! A circuit breaker: while something that every message needs is away, nothing is tried but one message now and then.

use crate::retry::Backoff;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::watch;

/// Whether messages may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// All of them.
    Closed,
    /// Nothing is tried until then.
    Open {
        /// In a row.
        failures: u32,
        /// When one may be tried.
        until: Instant,
    },
    /// One message is on its way.
    Probing {
        /// Before it, in a row.
        failures: u32,
    },
}

/// Shared by all partitions of a worker.
#[derive(Debug)]
pub(super) struct Breaker {
    state: watch::Sender<State>,
    /// The same, for the question that comes with every message.
    is_closed: AtomicBool,
    backoff: Backoff,
}

/// A message may be tried. What came of it has to be said by [`Permit::reached`] or [`Permit::failed`]; a probe that
/// ends without saying so, because its partition was given up, leaves the place to another.
#[derive(Debug)]
pub(super) struct Permit {
    /// Present when it is the probe.
    probe: Option<Arc<Breaker>>,
}

impl Breaker {
    /// Closed; the waits between probes are those of `backoff`.
    pub(super) fn new(backoff: Backoff) -> Arc<Breaker> {
        Arc::new(Breaker { state: watch::Sender::new(State::Closed), is_closed: AtomicBool::new(true), backoff })
    }

    /// Whether everything may be tried.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Leave to try a message now.
    pub(super) fn permit(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        if self.is_closed() {
            return Some(Permit { probe: None });
        }
        let mut permit = None;
        self.state.send_if_modified(|state| {
            permit = match *state {
                State::Closed => Some(Permit { probe: None }),
                State::Open { failures, until } if until <= now => {
                    *state = State::Probing { failures };
                    Some(Permit { probe: Some(self.clone()) })
                }
                State::Open { .. } | State::Probing { .. } => None,
            };
            // Nobody waits for a probe to begin.
            false
        });
        permit
    }

    /// When to ask again, while it is open: `None` waits for a change.
    pub(super) fn until(&self) -> Option<Instant> {
        match *self.state.borrow() {
            State::Open { until, .. } => Some(until),
            State::Closed | State::Probing { .. } => None,
        }
    }

    /// To wait for a change of the state.
    pub(super) fn changes(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Lets everything be tried again. `true` when that changed something.
    pub(super) fn close(&self) -> bool {
        !self.is_closed() && self.change(|state| (state != State::Closed).then_some(State::Closed)).is_some()
    }

    /// Changes the state in one step to what follows from it, and answers what it was if it changed.
    fn change(&self, follows: impl FnOnce(State) -> Option<State>) -> Option<State> {
        let mut before = None;
        self.state.send_if_modified(|state| {
            let Some(next) = follows(*state) else { return false };
            self.is_closed.store(next == State::Closed, Ordering::Relaxed);
            before = Some(std::mem::replace(state, next));
            true
        });
        before
    }

    fn open(&self, failures: u32, now: Instant) -> State {
        State::Open { failures, until: now + self.backoff.after(failures) }
    }
}

impl Permit {
    /// For what needs nothing but the log.
    pub(super) fn none() -> Permit {
        Permit { probe: None }
    }

    /// What every message needs is there. `true` when that closed the breaker.
    pub(super) fn reached(mut self) -> bool {
        self.probe.take().is_some_and(|breaker| breaker.close())
    }

    /// What every message needs is away. `true` when that opened the breaker.
    pub(super) fn failed(mut self, breaker: &Arc<Breaker>, now: Instant) -> bool {
        let is_probe = self.probe.take().is_some();
        let before = breaker.change(|state| match state {
            State::Closed => Some(breaker.open(1, now)),
            State::Probing { failures } if is_probe => Some(breaker.open(failures.saturating_add(1), now)),
            // Others that were on their way say what is known.
            State::Open { .. } | State::Probing { .. } => None,
        });
        before == Some(State::Closed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(breaker) = self.probe.take() {
            breaker.change(|state| match state {
                // At once: the probe said nothing.
                State::Probing { failures } => Some(State::Open { failures, until: Instant::now() }),
                State::Closed | State::Open { .. } => None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(4) };

    fn opened(now: Instant) -> Arc<Breaker> {
        let breaker = Breaker::new(BACKOFF);
        assert!(breaker.permit(now).unwrap().failed(&breaker, now));
        breaker
    }

    #[test]
    fn it_opens_once_and_lets_one_probe_through() {
        let now = Instant::now();
        let breaker = Breaker::new(BACKOFF);
        let (one, other) = (breaker.permit(now).unwrap(), breaker.permit(now).unwrap());
        assert!(one.failed(&breaker, now));
        assert!(!other.failed(&breaker, now));
        assert!(breaker.permit(now).is_none() && !breaker.is_closed());
        let later = now + Duration::from_secs(1);
        assert_eq!(breaker.until(), Some(later));
        let probe = breaker.permit(later).unwrap();
        assert!(breaker.permit(later).is_none(), "a second probe");
        assert!(probe.reached());
        assert!(breaker.is_closed() && breaker.permit(later).is_some());
    }

    #[test]
    fn a_probe_that_fails_doubles_the_wait() {
        let mut now = Instant::now();
        let breaker = opened(now);
        for seconds in [1, 2, 4, 4] {
            now += Duration::from_secs(seconds);
            assert!(!breaker.permit(now).unwrap().failed(&breaker, now));
        }
        assert!(breaker.permit(now + Duration::from_secs(3)).is_none());
    }

    #[test]
    fn a_probe_that_is_dropped_leaves_its_place() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + Duration::from_secs(1);
        drop(breaker.permit(later).unwrap());
        assert!(breaker.permit(Instant::now().max(later)).is_some());
    }

    #[test]
    fn who_closes_it_is_told_so_once() {
        let now = Instant::now();
        let breaker = opened(now);
        let probe = breaker.permit(now + Duration::from_secs(1)).unwrap();
        assert!(breaker.close() && !breaker.close());
        assert!(!probe.reached(), "it was closed before");
        assert!(breaker.is_closed());
    }

    #[tokio::test]
    async fn who_waits_learns_of_the_end() {
        let now = Instant::now();
        let breaker = opened(now);
        let probe = breaker.permit(now + Duration::from_secs(1)).unwrap();
        let mut changes = breaker.changes();
        assert!(probe.reached());
        changes.changed().await.unwrap();
    }
}
