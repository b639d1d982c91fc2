//! Where new events go: to the log, or to the spool. No I/O, no clock: the caller says what time it is.
//!
//! What it keeps: an event that came after another one was answered never gets into the log before it. So as long as
//! anything is in the spool, everything goes through the spool. Under a steady load it would never be empty; therefore
//! new events wait for a moment ([`Way::Wait`]) while the forwarder takes the last ones over.

use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Where the events of a request go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the log; [`Ladder::settled`] or [`Ladder::failed`] has to follow.
    Log(Ticket),
    /// To the spool; [`Ladder::kept`] has to follow. With the reason when this request is the first one.
    Spool(Option<Why>),
    /// Ask again when something has changed, and after [`Ladder::patience`] at the latest.
    Wait,
}

/// An append to the log that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Why events go to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The log is known to be away.
    Away,
    /// The log has not acknowledged an append for too long.
    Slow,
    /// An append failed.
    Failed,
    /// Events wait in the spool since before the start.
    Waiting,
}

impl Why {
    pub(super) fn text(self) -> &'static str {
        match self {
            Why::Away => "it cannot be reached",
            Why::Slow => "it has not acknowledged events for ingest.spool.slow_after",
            Why::Failed => "it did not acknowledge events",
            Why::Waiting => "events from before the start wait in the spool",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Direct,
    Spooling,
    /// The forwarder takes the last events over; new ones wait, since then.
    HandingOver(Duration),
}

/// What the forwarder knew when it looked into the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Whatever it does not find will not come any more.
    last: bool,
}

/// See the module. Times are those since any moment, the same for all calls.
#[derive(Debug)]
pub(super) struct Ladder {
    mode: Mode,
    slow_after: Duration,
    /// So few events are taken over in one go.
    few: u64,
    next: u64,
    /// Appends to the log that are under way, and when they began: the first one is the oldest.
    direct: BTreeMap<Ticket, Duration>,
    /// Appends to the spool that are under way.
    keeping: u64,
    /// Events in the spool. Below 0 while the forwarder is faster than the word that they were kept.
    waiting: i64,
}

impl Ladder {
    /// `waiting` events are in the spool already.
    pub(super) fn new(waiting: u64, slow_after: Duration, few: u64) -> Ladder {
        let mode = if waiting > 0 { Mode::Spooling } else { Mode::Direct };
        let waiting = events_of(waiting);
        Ladder { mode, slow_after, few, next: 0, direct: BTreeMap::new(), keeping: 0, waiting }
    }

    /// Where the events of a request go. `away`: the log is known to be away.
    pub(super) fn route(&mut self, now: Duration, away: bool) -> Way {
        let why = match self.mode {
            Mode::Direct if away => Some(Why::Away),
            Mode::Direct if self.is_slow(now) => Some(Why::Slow),
            Mode::Direct => {
                let ticket = Ticket(self.next);
                self.next += 1;
                self.direct.insert(ticket, now);
                return Way::Log(ticket);
            }
            Mode::HandingOver(since) if !away && now < since + self.patience() => return Way::Wait,
            Mode::HandingOver(_) | Mode::Spooling => None,
        };
        self.mode = Mode::Spooling;
        self.keeping += 1;
        Way::Spool(why)
    }

    /// Nothing more has to be done for this append: it was acknowledged, or nobody wants its events.
    pub(super) fn settled(&mut self, ticket: Ticket) {
        self.direct.remove(&ticket);
    }

    /// This append failed. Its events go to the spool, as if [`Way::Spool`] was answered with this reason.
    pub(super) fn failed(&mut self, ticket: Ticket) -> Option<Why> {
        self.direct.remove(&ticket);
        let first = self.mode == Mode::Direct;
        self.mode = Mode::Spooling;
        self.keeping += 1;
        first.then_some(Why::Failed)
    }

    /// An append to the spool has ended, and so many events are in it now that were not before: none if it failed.
    pub(super) fn kept(&mut self, events: u64) {
        self.keeping = self.keeping.saturating_sub(1);
        self.waiting += events_of(events);
    }

    /// The forwarder is about to look into the spool. When few events are left there and nothing speaks against the log,
    /// it is to be the last time.
    pub(super) fn look(&mut self, now: Duration, away: bool) -> Look {
        if self.mode == Mode::Spooling && !away && !self.is_slow(now) && self.waiting() <= self.few {
            self.mode = Mode::HandingOver(now);
        }
        Look { last: matches!(self.mode, Mode::HandingOver(_)) && self.keeping == 0 }
    }

    /// The forwarder looked and found nothing. Whether events go to the log again from now on.
    pub(super) fn found_nothing(&mut self, look: Look) -> bool {
        // Since it looked, the patience may have ended; then events may have come.
        let over = look.last && matches!(self.mode, Mode::HandingOver(_));
        if over {
            self.mode = Mode::Direct;
            self.waiting = 0;
        }
        over
    }

    /// So many events left the spool, for good.
    pub(super) fn forwarded(&mut self, events: u64) {
        self.waiting -= events_of(events);
    }

    /// The log does not take what the forwarder has: nobody has to wait for it.
    pub(super) fn held_up(&mut self) {
        if let Mode::HandingOver(_) = self.mode {
            self.mode = Mode::Spooling;
        }
    }

    /// How long new events wait for the forwarder at most.
    pub(super) fn patience(&self) -> Duration {
        self.slow_after
    }

    /// Events in the spool.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.max(0).unsigned_abs()
    }

    /// Whether new events go straight to the log.
    pub(super) fn is_direct(&self) -> bool {
        self.mode == Mode::Direct
    }

    fn is_slow(&self, now: Duration) -> bool {
        self.direct.first_key_value().is_some_and(|(_, begun)| now.saturating_sub(*begun) >= self.slow_after)
    }
}

fn events_of(events: u64) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX)
}
