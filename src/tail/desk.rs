use super::counts::Counts;
use super::entry::{Entry, Outcome, shown};
use super::ring::{Json, Ring};
use super::{Count, Shape};
use serde_json::value::to_raw_value;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Entries of each outcome that are kept, and their bytes.
const REFUSED: (usize, usize) = (400, 768 * 1024);
const ACCEPTED: (usize, usize) = (60, 128 * 1024);
/// Time between two samples of what is accepted.
const SAMPLE_MS: i64 = 250;
/// A clock that is further behind the next sample than this was set back.
const SET_BACK_MS: i64 = 10_000;

/// Takes what came in, and keeps the latest of it in memory.
///
/// What is accepted costs one look at an atomic, but for some in a second; what is refused one lock for a request.
#[derive(Debug)]
pub struct Desk {
    is_on: bool,
    next_sample_ms: AtomicI64,
    /// Whether somebody listens: what is not shown then is counted as dropped.
    is_heard: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    refused: Ring,
    accepted: Ring,
    counts: Counts,
    /// The highest number that was handed on.
    told: u64,
    dropped: Dropped,
}

/// Entries that no listener saw, since this was last asked for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Too many at a time: they were only counted.
    pub(super) rate: u64,
    /// They had to go before they were handed on.
    pub(super) ring: u64,
}

/// Why something was refused.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The site that it belongs to.
    pub site: Option<&'a str>,
    /// The reason in a word.
    pub reason: &'static str,
    /// The status of the answer, where the request was refused as a whole.
    pub status: Option<u16>,
    /// The field at fault.
    pub field: Option<&'a str>,
    /// What the client was told.
    pub error: &'a str,
}

/// What is to be handed on.
#[derive(Debug)]
pub(super) struct Latest {
    pub(super) entries: Vec<(u64, Json)>,
    pub(super) counts: Vec<Count>,
    pub(super) dropped: Dropped,
}

impl Desk {
    /// An empty one; one that is not `on` takes nothing.
    pub fn new(is_on: bool) -> Desk {
        let kept = Kept {
            number: 0,
            refused: Ring::new(REFUSED.0, REFUSED.1),
            accepted: Ring::new(ACCEPTED.0, ACCEPTED.1),
            counts: Counts::default(),
            told: 0,
            dropped: Dropped::default(),
        };
        let (next_sample_ms, is_heard) = (AtomicI64::new(i64::MIN), AtomicBool::new(false));
        Desk { is_on, next_sample_ms, is_heard, kept: Mutex::new(kept) }
    }

    /// Whether it takes anything.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether what is accepted now is to be sampled: who is told so hands one event to [`Desk::accepted`].
    pub fn wants_sample(&self, now_ms: i64) -> bool {
        let next = self.next_sample_ms.load(Ordering::Relaxed);
        if !self.is_on || (now_ms < next && next - now_ms < SET_BACK_MS) {
            return false;
        }
        let taken = (Ordering::Relaxed, Ordering::Relaxed);
        self.next_sample_ms.compare_exchange(next, now_ms + SAMPLE_MS, taken.0, taken.1).is_ok()
    }

    /// Notes an event that is stored, by its canonical form.
    pub fn accepted(&self, now_ms: i64, site: Option<&str>, event: Shape) {
        let entry = Entry {
            at: now_ms,
            outcome: Outcome::Accepted,
            site: site.map(shown),
            reason: None,
            status: None,
            field: None,
            error: None,
            event: Some(event),
        };
        self.keep(&entry);
    }

    /// Notes what was refused of one request. `refusals` are all of them, and `shape` is asked for the event of some of
    /// these, by its place.
    pub fn refused(&self, now_ms: i64, refusals: &[Refusal<'_>], shape: impl Fn(usize) -> Option<Shape>) {
        if !self.is_on || refusals.is_empty() {
            return;
        }
        for at in self.count(now_ms, refusals) {
            let Refusal { site, reason, status, field, error } = refusals[at];
            let entry = Entry {
                at: now_ms,
                outcome: Outcome::Refused,
                site: site.map(shown),
                reason: Some(reason.to_owned()),
                status,
                field: field.map(shown),
                error: Some(shown(error)),
                event: shape(at),
            };
            self.keep(&entry);
        }
    }

    /// Counts refusals, and answers the places of those that are to be shown.
    fn count(&self, now_ms: i64, refusals: &[Refusal<'_>]) -> Vec<usize> {
        let mut kept = self.kept();
        let mut shows = Vec::new();
        for (at, refusal) in refusals.iter().enumerate() {
            if kept.counts.add(now_ms, refusal.site.unwrap_or_default(), refusal.reason) {
                shows.push(at);
            }
        }
        if self.is_heard.load(Ordering::Relaxed) {
            kept.dropped.rate += (refusals.len() - shows.len()) as u64;
        }
        shows
    }

    fn keep(&self, entry: &Entry) {
        // An entry has texts and numbers only, so this cannot fail.
        let Ok(json) = to_raw_value(entry) else { return };
        let mut kept = self.kept();
        kept.number += 1;
        let number = kept.number;
        let ring = if entry.outcome == Outcome::Refused { &mut kept.refused } else { &mut kept.accepted };
        let gone = ring.push(number, json);
        if gone.is_some_and(|gone| gone > kept.told) && self.is_heard.load(Ordering::Relaxed) {
            kept.dropped.ring += 1;
        }
    }

    /// Entries with a number above this one, in their order, and the counts.
    pub(super) fn latest(&self, after: u64, now_ms: i64) -> Latest {
        self.is_heard.store(true, Ordering::Relaxed);
        let mut kept = self.kept();
        let mut entries: Vec<_> = kept.refused.after(after).chain(kept.accepted.after(after)).cloned().collect();
        entries.sort_unstable_by_key(|(number, _)| *number);
        kept.told = kept.number;
        let (counts, dropped) = (kept.counts.rows(now_ms), std::mem::take(&mut kept.dropped));
        Latest { entries, counts, dropped }
    }

    /// Nobody listens any more.
    pub(super) fn unheard(&self) {
        self.is_heard.store(false, Ordering::Relaxed);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_760_000_000_000;

    fn refusal(error: &str) -> Refusal<'_> {
        Refusal { site: Some("shop"), reason: "field", status: None, field: Some("user_id"), error }
    }

    fn entries(desk: &Desk, after: u64) -> Vec<(u64, Entry)> {
        let entries = desk.latest(after, NOW).entries;
        entries.iter().map(|(number, json)| (*number, serde_json::from_str(json.get()).unwrap())).collect()
    }

    #[test]
    fn what_was_refused_is_kept_with_its_reason_and_counted() {
        let desk = Desk::new(true);
        let error = format!("`user_id`\u{1b} is too long {}", "x".repeat(5_000));
        desk.refused(NOW, &[refusal(&error)], |at| Some(Shape::of([r#"{"type":"a","user_id":"ann"}"#][at].as_bytes())));
        desk.accepted(NOW + 1, None, Shape::of(b"{\"type\":\"b\"}"));
        let entries = entries(&desk, 0);
        assert_eq!(entries.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
        let (first, second) = (&entries[0].1, &entries[1].1);
        assert_eq!((first.outcome, first.site.as_deref(), first.at), (Outcome::Refused, Some("shop"), NOW));
        assert_eq!((first.reason.as_deref(), first.field.as_deref()), (Some("field"), Some("user_id")));
        let error = first.error.as_deref().unwrap();
        assert!(error.starts_with("`user_id`\\u{1b} is too long xxx") && error.len() < 310, "{error}");
        assert_eq!(first.event.as_ref().unwrap().fields, ["type", "user_id"]);
        assert_eq!((second.outcome, second.site.as_deref()), (Outcome::Accepted, None));
        let counts = desk.latest(2, NOW).counts;
        assert_eq!((counts.len(), counts[0].count, counts[0].site.as_deref()), (1, 1, Some("shop")));
    }

    #[test]
    fn only_some_of_what_is_accepted_is_sampled() {
        let desk = Desk::new(true);
        let sampled = (0..10_000).filter(|ms| desk.wants_sample(NOW + ms)).count();
        assert_eq!(sampled, 40);
        assert!(!desk.wants_sample(NOW + 5_000), "the clock is a little behind");
        assert!(desk.wants_sample(NOW - 3_600_000), "a clock that was set back does not end the sampling");
        assert!(!Desk::new(false).wants_sample(NOW));
    }

    #[test]
    fn a_flood_leaves_the_counts_exact_and_the_room_bounded() {
        let desk = Desk::new(true);
        desk.latest(0, NOW);
        for second in 0..200 {
            let flood = [refusal("no"); 50];
            desk.refused(NOW + second * 1_000, &flood, |_| Some(Shape::of(b"{}")));
            desk.accepted(NOW, None, Shape::default());
        }
        let Latest { entries, counts, dropped } = desk.latest(0, NOW + 199_000);
        assert_eq!((entries.len(), counts[0].count), (400 + 60, 10_000));
        assert_eq!(dropped, Dropped { rate: 200 * 47, ring: 200 + 140 });
        assert!(entries.is_sorted_by_key(|(number, _)| *number));
        assert_eq!(desk.latest(800, NOW).dropped, Dropped::default());
        desk.unheard();
        desk.refused(NOW, &[refusal("no"); 50], |_| None);
        assert_eq!(desk.latest(800, NOW).dropped, Dropped::default(), "nobody missed it");
    }

    #[test]
    fn one_that_is_off_takes_nothing() {
        let desk = Desk::new(false);
        desk.refused(NOW, &[refusal("no")], |_| unreachable!("it is off"));
        let latest = desk.latest(0, NOW);
        assert!(latest.entries.is_empty() && latest.counts.is_empty());
    }
}
