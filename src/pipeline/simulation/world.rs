//! Everything outside of processors, and what may happen to it.

use super::group::Group;
use super::log::{MAX_AHEAD_MS, Topic};
use super::planted::Planted;
use super::random::Random;
use super::recount::{self, LATENESS_MS};
use super::store::{Look, Piece, Request, Store};
use crate::counter::{Counters, Fingerprint, Spec, Timing, WindowSpec};
use crate::log::Extent;
use crate::pipeline::OnGap;
use crate::pipeline::locate::is_another;
use crate::pipeline::partition::Partition;
use crate::pipeline::registry::Registry;
use crate::pipeline::start::{Located, Start};
use crate::store::{Flushed, StoredPartition};
use std::sync::{Arc, LazyLock};

pub(super) const TIMING: Timing = Timing { lateness_ms: LATENESS_MS, max_ahead_ms: MAX_AHEAD_MS };

static COUNTERS: LazyLock<Arc<Counters>> = LazyLock::new(|| {
    let spec = |name: &str, event: &[&str], by: &str, windows: &[(&str, &str)]| Spec {
        name: name.into(),
        event: event.iter().map(|event| (*event).to_owned()).collect(),
        by: vec![by.into()],
        windows: windows.iter().map(|(size, keep)| WindowSpec { size: (*size).into(), keep: (*keep).into() }).collect(),
        max_keys: 1_000,
        ..Spec::default()
    };
    let each = spec("each", &["view", "click"], "payload.n", &[("10s", "60s"), ("60s", "100s")]);
    let kinds = spec("kinds", &["view"], "payload.k", &[("10s", "20s")]);
    Arc::new(Counters::new(vec![each, kinds]).unwrap())
});

/// How this history's processors are configured.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) counters: Arc<Counters>,
    pub(super) shards: usize,
    pub(super) horizon: u64,
    /// Cells of a segment and of a flush.
    pub(super) cap: usize,
    pub(super) on_gap: OnGap,
}

/// What becomes of a flush in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// It gets on: to the store, or back from it.
    Arrives,
    /// The processor hears nothing more of it. If it is on its way to the store, it may arrive late.
    Lost,
}

pub(super) struct Outside {
    pub(super) topic: Topic,
    pub(super) store: Store,
    pub(super) group: Group,
    pub(super) settings: Settings,
    pub(super) random: Random,
    /// Requests that nobody waits for any more; each may still arrive.
    pub(super) late: Vec<Request>,
    pub(super) planted: Option<Planted>,
    /// What a store said that cannot be.
    pub(super) wrong: Option<String>,
    /// A request of the old log arrived when the new one had come to just the offset that it expects.
    pub(super) coincidence: bool,
    pub(super) traced: bool,
}

impl Outside {
    pub(super) fn new(seed: u64, planted: Option<Planted>, traced: bool) -> Outside {
        let mut random = Random::new(seed);
        let topic = Topic::new(1 + random.below(3));
        let settings = Settings {
            counters: COUNTERS.clone(),
            shards: 1 + random.below(2),
            horizon: random.below(7) as u64,
            cap: 4 + random.below(30),
            on_gap: if random.once_in(2) { OnGap::Stop } else { OnGap::Continue },
        };
        let store = Store::new(planted, seed);
        let group = Group::default();
        let late = Vec::new();
        Outside { topic, store, group, settings, random, late, planted, wrong: None, coincidence: false, traced }
    }

    /// For the trace of a history that is replayed.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.traced {
            println!("{}", what());
        }
    }

    /// Brings a request to the store. `None`: there is no answer.
    pub(super) fn deliver(&mut self, request: &Request) -> Option<Flushed> {
        if request.flush.parts.iter().any(|part| self.coincides(part.partition, part.expected, request)) {
            self.coincidence = true;
            return None;
        }
        let flushed = self.store.flush(request);
        let parts = || request.flush.parts.iter().map(|part| (part.partition, part.expected, part.segment.as_ref()));
        let ranges = || parts().map(|(id, at, s)| (id, at, s.map(|s| (s.from, s.to)))).collect::<Vec<_>>();
        self.tell(|| format!("  flush {:?}: {flushed:?}", ranges()));
        match flushed {
            Ok(flushed) => Some(flushed),
            Err(crash) if crash.starts_with("crashed") => None,
            Err(wrong) => {
                self.wrong = Some(wrong);
                None
            }
        }
    }

    /// The offset is the only thing that a store compares, and a log made anew gives the same offsets again. A request
    /// that outlives the log which it was read of, and the gap behind it, is beyond what can be told apart.
    fn coincides(&self, id: i32, expected: Option<i64>, request: &Request) -> bool {
        let Some(kept) = self.store.kept(id).filter(|kept| kept.next() == expected) else { return false };
        let first = request.pieces.get(&id).and_then(|pieces| pieces.first());
        let (Some(last), Some(first)) = (kept.pieces.last(), first) else { return false };
        let older = |piece: &Piece| piece.look.log < last.at() && piece.log < last.at();
        older(first) && self.topic.same_below(id, first.at(), last.at()) < first.to
    }

    /// A request whose answer got lost goes out again, with the start offset that is stored now.
    pub(super) fn read_anew(&self, request: &mut Request) {
        for part in &mut request.flush.parts {
            part.expected = self.store.next(part.partition);
            if let (Some(segment), Some(next)) = (&mut part.segment, part.expected) {
                Arc::make_mut(segment).from = next;
            }
        }
    }

    /// What the log says of a partition whose stored state is known.
    pub(super) fn extent(&self, id: i32, stored: &Option<StoredPartition>) -> (Located, Look) {
        let extent = self.topic.extent(id);
        let look = Look {
            log: self.topic.newest(id),
            start: extent.start,
            committed: extent.committed.is_some(),
            accepted: stored.as_ref().is_some_and(|stored| stored.gap_accepted),
            shows: stored.as_ref().and_then(|s| s.fingerprint).is_some_and(|print| self.shows(id, &extent, &print)),
        };
        (Located::at(self.topic.clock_ms, stored.clone(), extent), look)
    }

    /// Whether anybody could see that the log holds another record than the one the store counted last.
    fn shows(&self, id: i32, extent: &Extent, print: &Fingerprint) -> bool {
        let Some(last) = self.store.kept(id).and_then(|kept| kept.pieces.last()) else { return false };
        let counted = self.topic.logs(id)[last.at()].entry(print.offset);
        let there = self.topic.record(id, print.offset).filter(|record| record.offset == print.offset);
        let (Some(counted), Some(there)) = (counted, there) else { return false };
        extent.holds(print.offset) && (counted.time_ms, &counted.value) != (there.time_ms, &there.value)
    }

    /// Compares records and looks behind what is missing, as `locate` does. `false`: the log does not answer.
    pub(super) fn compare(&self, one: &mut Located, look: &mut Look, registry: &Registry) -> bool {
        let id = one.extent.partition;
        if self.planted != Some(Planted::FingerprintNotCompared) {
            let last = one.stored.as_ref().and_then(|stored| stored.fingerprint);
            let anchor = registry.look(id, Partition::anchor).flatten().filter(|record| one.counts(record));
            let (Some(record), Some(log)) = (self.differs(one, last), self.differs(one, anchor)) else { return false };
            (one.same_record, one.same_log) = (!record, !log);
        }
        let expected = registry.look(id, Partition::was_stored).unwrap_or(false);
        if let Start::At(_) = one.start(expected) {
            return true;
        }
        if let Some(time_ms) = one.last_time_ms() {
            one.younger = self.topic.first_after(id, time_ms);
        }
        if let Start::Behind(missing) = one.start(expected)
            && one.extent.holds(missing.resume)
        {
            let time_ms = self.topic.record(id, missing.resume).and_then(|record| record.time_ms);
            one.resumes_ms = time_ms.unwrap_or(one.resumes_ms);
        }
        look.accepted |= one.stored.as_ref().is_some_and(|stored| stored.gap_accepted);
        // What retention took meanwhile is in none of these answers.
        self.topic.extent(id).start == one.extent.start
    }

    /// `None`: the log does not hold the offset any more, although it just did.
    fn differs(&self, one: &Located, print: Option<Fingerprint>) -> Option<bool> {
        let id = one.extent.partition;
        let Some(print) = print.filter(|print| one.extent.holds(print.offset)) else { return Some(false) };
        let held = self.topic.extent(id).holds(print.offset);
        held.then(|| self.topic.record(id, print.offset).is_some_and(|record| is_another(&print, &record)))
    }

    /// Whether the log shows another record than this one at its place.
    pub(super) fn shows_another(&self, id: i32, print: &Fingerprint) -> bool {
        let record = self.topic.record(id, print.offset).filter(|_| self.topic.extent(id).holds(print.offset));
        record.is_some_and(|record| is_another(print, &record))
    }

    /// Everything that must be right at any moment.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&mut self) -> Result<(), String> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        if !self.store.take_changed() {
            return Ok(());
        }
        let horizon = self.settings.horizon as i64;
        let kept = |id: i32| self.store.kept(id).map(|kept| (id, kept));
        self.topic.ids().filter_map(kept).try_for_each(|(id, kept)| recount::check(&self.topic, id, kept, horizon))
    }
}
