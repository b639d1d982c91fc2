use hdrhistogram::{CreationError, Histogram};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// Latencies are kept in µs, up to an hour, to three digits.
const LONGEST_US: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

/// What ingest answers to a request that it took.
#[derive(Debug, Deserialize)]
pub(super) struct Taken<'a> {
    accepted: u64,
    rejected: u64,
    #[serde(borrow)]
    stored: Cow<'a, str>,
    #[serde(default)]
    errors: Vec<Fault>,
}

#[derive(Debug, Deserialize)]
struct Fault {
    index: usize,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// It was answered with this status and body.
    Answered(u16, &'a [u8]),
    /// It was sent, or begun to be sent, and there is no answer: its events may be stored.
    Unanswered(Silence),
    /// None of it was sent.
    NotSent,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// It did not come in time.
    TimedOut,
    /// The connection broke.
    Broken,
}

/// A request, as it is noted.
#[derive(Debug)]
pub(super) struct Noted<'a> {
    /// The type of each of its events.
    pub(super) types: &'a [u8],
    pub(super) outcome: Outcome<'a>,
    /// From the time at which it was due to the end of its answer.
    pub(super) latency: Duration,
    /// How long after the time at which it was due it was sent.
    pub(super) late: Duration,
    /// Whether no connection was free when it was due.
    pub(super) has_waited: bool,
    /// When it was sent, after the start of the run.
    pub(super) at: Duration,
}

/// Events of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Ingest said that it stored them.
    pub accepted: u64,
    /// Nobody knows whether they are stored: there was no answer, or one that does not say.
    pub unknown: u64,
}

/// What became of a run's requests and events so far.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// Requests that were sent.
    pub(super) sent: u64,
    pub(super) answers: BTreeMap<u16, u64>,
    pub(super) timed_out: u64,
    pub(super) broken: u64,
    /// Requests that found nobody to send them to.
    pub(super) not_sent: u64,
    pub(super) events_sent: u64,
    pub(super) rejected: u64,
    pub(super) stored_kafka: u64,
    pub(super) stored_disk: u64,
    pub(super) by_type: Vec<Counts>,
    pub(super) latency: Histogram<u64>,
    /// The same since the last [`Tally::take_recent`].
    recent: Histogram<u64>,
    /// By how much requests were late that found a free connection: the generator's own doing.
    pub(super) own_late: Histogram<u64>,
    pub(super) late: Histogram<u64>,
    /// Requests that found no free connection when they were due.
    pub(super) waited: u64,
    /// When the last request was sent, after the start of the run.
    pub(super) last_sent: Duration,
}

impl Tally {
    pub(super) fn new(types: usize) -> Result<Tally, CreationError> {
        let histogram = || Histogram::new_with_bounds(1, LONGEST_US, DIGITS);
        Ok(Tally {
            sent: 0,
            answers: BTreeMap::new(),
            timed_out: 0,
            broken: 0,
            not_sent: 0,
            events_sent: 0,
            rejected: 0,
            stored_kafka: 0,
            stored_disk: 0,
            by_type: vec![Counts::default(); types],
            latency: histogram()?,
            recent: histogram()?,
            own_late: histogram()?,
            late: histogram()?,
            waited: 0,
            last_sent: Duration::ZERO,
        })
    }

    pub(super) fn note(&mut self, noted: &Noted<'_>) {
        self.late.saturating_record(micros(noted.late));
        if noted.has_waited {
            self.waited += 1;
        } else {
            self.own_late.saturating_record(micros(noted.late));
        }
        let Outcome::NotSent = noted.outcome else { return self.note_sent(noted) };
        self.not_sent += 1;
    }

    fn note_sent(&mut self, noted: &Noted<'_>) {
        self.sent += 1;
        self.last_sent = self.last_sent.max(noted.at);
        self.events_sent += noted.types.len() as u64;
        self.latency.saturating_record(micros(noted.latency));
        self.recent.saturating_record(micros(noted.latency));
        match noted.outcome {
            Outcome::Answered(status, body) => {
                *self.answers.entry(status).or_default() += 1;
                self.answered(noted.types, status, body);
            }
            Outcome::Unanswered(silence) => {
                let silent = if silence == Silence::TimedOut { &mut self.timed_out } else { &mut self.broken };
                *silent += 1;
                self.unknown(noted.types);
            }
            Outcome::NotSent => {}
        }
    }

    fn answered(&mut self, types: &[u8], status: u16, body: &[u8]) {
        match status {
            200..300 => match serde_json::from_slice::<Taken<'_>>(body) {
                Ok(taken) => self.taken(types, &taken),
                Err(_) => self.unknown(types),
            },
            // Refused before anything was stored.
            400..500 if status != 408 => self.rejected += types.len() as u64,
            _ => self.unknown(types),
        }
    }

    fn taken(&mut self, types: &[u8], taken: &Taken<'_>) {
        let whole = taken.accepted + taken.rejected == types.len() as u64;
        if !whole || taken.errors.len() as u64 != taken.rejected {
            return self.unknown(types);
        }
        self.rejected += taken.rejected;
        let stored = if taken.stored == "disk" { &mut self.stored_disk } else { &mut self.stored_kafka };
        *stored += taken.accepted;
        for (index, place) in types.iter().enumerate() {
            let is_rejected = !taken.errors.is_empty() && taken.errors.iter().any(|fault| fault.index == index);
            if !is_rejected {
                self.by_type[usize::from(*place)].accepted += 1;
            }
        }
    }

    fn unknown(&mut self, types: &[u8]) {
        for place in types {
            self.by_type[usize::from(*place)].unknown += 1;
        }
    }

    /// Requests that are answered, whatever the answer.
    pub(super) fn answered_requests(&self) -> u64 {
        self.answers.values().sum()
    }

    /// Requests that did not end in a 2xx.
    pub(super) fn failed_requests(&self) -> u64 {
        let refused: u64 =
            self.answers.iter().filter(|(status, _)| !(200..300).contains(*status)).map(|(_, n)| n).sum();
        refused + self.timed_out + self.broken + self.not_sent
    }

    /// All events, whatever their type.
    pub(super) fn counts(&self) -> Counts {
        let sum = |of: fn(&Counts) -> u64| self.by_type.iter().map(of).sum();
        Counts { accepted: sum(|c| c.accepted), unknown: sum(|c| c.unknown) }
    }

    /// The latencies since this was last asked for.
    pub(super) fn take_recent(&mut self) -> Latencies {
        let recent = Latencies::of(&self.recent);
        self.recent.reset();
        recent
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A distribution of times, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Latencies {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

impl Latencies {
    pub(super) fn of(histogram: &Histogram<u64>) -> Latencies {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Latencies { p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), max: histogram.max() as f64 / 1_000.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted<'a>(types: &'a [u8], outcome: Outcome<'a>) -> Noted<'a> {
        let (latency, late) = (Duration::from_millis(5), Duration::from_millis(1));
        Noted { types, outcome, latency, late, has_waited: false, at: late }
    }

    fn tally(types: &[u8], outcome: Outcome<'_>) -> Tally {
        let mut tally = Tally::new(2).unwrap();
        tally.note(&noted(types, outcome));
        tally
    }

    #[test]
    fn what_is_accepted_is_known_by_type() {
        let body = br#"{"accepted":2,"rejected":1,"stored":"disk","event_ids":["a","b"],
            "errors":[{"index":1,"field":"x","error":"y"}]}"#;
        let tally = tally(&[0, 1, 1], Outcome::Answered(202, body));
        let one = Counts { accepted: 1, unknown: 0 };
        assert_eq!((&tally.by_type[..], tally.rejected), (&[one, one][..], 1));
        assert_eq!((tally.stored_disk, tally.stored_kafka, tally.answers[&202]), (2, 0, 1));
    }

    #[test]
    fn what_nobody_knows_is_unknown() {
        let lies = br#"{"accepted":3,"rejected":0,"stored":"kafka","event_ids":[]}"#;
        let unnamed = br#"{"accepted":1,"rejected":1,"stored":"kafka","event_ids":[]}"#;
        for outcome in [
            Outcome::Answered(202, lies),
            Outcome::Answered(202, unnamed),
            Outcome::Answered(202, b"hello"),
            Outcome::Answered(503, b""),
            Outcome::Answered(408, b""),
            Outcome::Unanswered(Silence::TimedOut),
            Outcome::Unanswered(Silence::Broken),
        ] {
            let tally = tally(&[0, 1], outcome);
            assert_eq!((tally.counts(), tally.rejected), (Counts { accepted: 0, unknown: 2 }, 0));
            assert_eq!((tally.sent, tally.latency.len()), (1, 1));
        }
    }

    #[test]
    fn what_is_refused_or_never_sent_is_not_unknown() {
        let refused = tally(&[0, 1], Outcome::Answered(429, b""));
        assert_eq!((refused.counts(), refused.rejected, refused.failed_requests()), (Counts::default(), 2, 1));
        let not_sent = tally(&[0, 1], Outcome::NotSent);
        assert_eq!((not_sent.counts(), not_sent.sent, not_sent.not_sent), (Counts::default(), 0, 1));
        assert_eq!(not_sent.latency.len(), 0);
    }

    #[test]
    fn lateness_tells_whose_doing_it_is() {
        let mut tally = Tally::new(1).unwrap();
        for has_waited in [true, true, false] {
            tally.note(&Noted { has_waited, ..noted(&[0], Outcome::NotSent) });
        }
        assert_eq!((tally.waited, tally.own_late.len(), tally.late.len()), (2, 1, 3));
    }

    #[test]
    fn recent_latencies_are_told_once() {
        let mut tally = tally(&[0], Outcome::Answered(202, b""));
        let about_5_ms = 4.99..5.01;
        assert!(about_5_ms.contains(&tally.take_recent().p50));
        assert!(tally.take_recent().max < 0.01);
        assert!(about_5_ms.contains(&Latencies::of(&tally.latency).max));
    }
}
