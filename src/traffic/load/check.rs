//! Whether everything that was accepted was counted, and nothing twice.

use super::mix::Mix;
use super::probes::{Listed, ListedWindow, Probe, Probes};
use super::query::{Bucket, NoAnswer, QuerySide};
use super::tally::Counts;
use super::{LoadError, WrongPlan};
use crate::event::Dimension;
use crate::shutdown::Shutdown;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Keys of a window that are told at most.
pub(super) const MOST_TOP: u64 = 10_000;
/// Between two questions.
const AGAIN: Duration = Duration::from_millis(250);
/// How far the clocks of ingest and the query side may be apart, and how long before the start a window may begin.
const MARGIN: Duration = Duration::from_secs(60);

/// What a counter says about a run's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Which counter.
    pub counter: String,
    /// The types of events whose counts were compared.
    pub types: Vec<String>,
    /// In windows of this size.
    pub window: String,
    /// What was sent of these types.
    #[serde(flatten)]
    pub events: Counts,
    /// Events of the run that were found under their keys.
    pub counted: u64,
    /// Events that were counted under no key of their own: some may be of the run.
    pub untold: u64,
    /// What follows from that.
    pub verdict: Verdict,
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Each accepted event was counted once, and nothing that was not sent.
    Exact,
    /// Accepted events are missing.
    Missing,
    /// More was counted than can have been stored.
    TooMany,
    /// What has no key of its own hides it.
    Untold,
}

impl Verdict {
    fn of(events: Counts, counted: u64, untold: u64) -> Verdict {
        if counted + untold < events.accepted {
            Verdict::Missing
        } else if counted > events.accepted + events.unknown {
            Verdict::TooMany
        } else if counted < events.accepted {
            Verdict::Untold
        } else {
            Verdict::Exact
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// One for each counter that was asked.
    pub counters: Vec<Checked>,
    /// Types of events that no counter can tell from others of their type.
    pub unchecked: Vec<String>,
    /// How long it took until all of it was counted, or until the check gave up.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64())
}

impl Report {
    /// Whether at least one event was checked, and each that was is counted exactly once.
    pub fn is_exact(&self) -> bool {
        let accepted: u64 = self.counters.iter().map(|checked| checked.events.accepted).sum();
        accepted > 0 && self.counters.iter().all(|checked| checked.verdict == Verdict::Exact)
    }
}

/// What is needed to check a run, asked for before it.
#[derive(Debug)]
pub struct Check {
    side: QuerySide,
    probes: Probes,
    /// What stood without a key of its own before the run, by counter, size and start of the window.
    before: BTreeMap<(String, String, i64), u64>,
    begun: Instant,
}

impl Check {
    /// Asks what is counted, and how much of it has no key of its own already.
    ///
    /// # Errors
    /// When the query side does not answer, no counter can tell events of the mix from others, or not that many keys.
    pub async fn prepare(side: QuerySide, mix: &Mix, keys: u32) -> Result<Check, LoadError> {
        let counters = side.counters().await?;
        let probes = Probes::of(&counters, mix);
        if probes.probes.is_empty() {
            return Err(WrongPlan(format!(
                "nothing could be checked: none of the counters splits {} by a field of its events (`by`), so that \
                 those of this run could be told; choose other types by --mix, or take --no-check",
                mix.types().collect::<Vec<_>>().join(", ")
            ))
            .into());
        }
        if let Some((most, counter)) = probes.most_keys().filter(|(most, _)| u64::from(keys) > *most) {
            return Err(WrongPlan(format!(
                "{keys} keys cannot be checked: counter {counter} is sure to tell {most} of them apart; take --keys \
                 {most} or less, or --no-check"
            ))
            .into());
        }
        let mut check = Check { side, probes, before: BTreeMap::new(), begun: Instant::now() };
        check.before = check.untold().await?;
        Ok(check)
    }

    /// For each type of the mix, where its events are to carry their key.
    pub fn fields(&self) -> &[Dimension] {
        &self.probes.fields
    }

    async fn untold(&self) -> Result<BTreeMap<(String, String, i64), u64>, NoAnswer> {
        let mut untold = BTreeMap::new();
        for Probe { counter, .. } in &self.probes.probes {
            for window in &counter.windows {
                let answer = self.side.counted(&counter.name, &window.size, MARGIN.as_secs(), MOST_TOP).await?;
                for bucket in &answer.buckets {
                    let key = (counter.name.clone(), window.size.clone(), bucket.start);
                    untold.insert(key, bucket.other + hidden(bucket));
                }
            }
        }
        Ok(untold)
    }

    /// Asks until all is counted, the time is over or nobody wants to know any more. `events`: what was sent of each
    /// type, under keys that begin with `marker`.
    ///
    /// # Errors
    /// When the query side refuses to answer; it may be away for a while.
    pub async fn run(
        &self,
        marker: &str,
        events: &BTreeMap<String, Counts>,
        within: Duration,
        stop: &Shutdown,
    ) -> Result<Report, LoadError> {
        let began = Instant::now();
        let mut settled_at = None;
        loop {
            let looked = self.look(marker, events).await;
            let is_over = began.elapsed() >= within || stop.has_begun();
            match looked {
                Ok((counters, data_as_of)) => {
                    let reached = counters.iter().all(|checked| checked.counted >= checked.events.accepted);
                    // What is counted twice may come with the next flush.
                    let is_settled = reached && settled_at.is_some_and(|then| data_as_of > then);
                    if reached && settled_at.is_none() {
                        settled_at = Some(data_as_of);
                    }
                    if is_settled || is_over {
                        let unchecked = self.probes.untold.clone();
                        return Ok(Report { counters, unchecked, took: began.elapsed() });
                    }
                }
                Err(error) if is_over || !error.may_pass() => return Err(error.into()),
                Err(_) => {}
            }
            // Whoever wants no more waits for the answer to one last question.
            let _ = tokio::time::timeout(AGAIN, stop.begun()).await;
        }
    }

    async fn look(&self, marker: &str, events: &BTreeMap<String, Counts>) -> Result<(Vec<Checked>, f64), NoAnswer> {
        let (mut counters, mut as_of) = (Vec::new(), f64::INFINITY);
        for Probe { counter, types } in &self.probes.probes {
            let sent = types.iter().filter_map(|name| events.get(name));
            let events = sent.fold(Counts::default(), |sum, of| Counts {
                accepted: sum.accepted + of.accepted,
                unknown: sum.unknown + of.unknown,
            });
            let (window, counted, untold, data_as_of) = self.count(counter, marker).await?;
            as_of = as_of.min(data_as_of);
            let verdict = Verdict::of(events, counted, untold);
            let (counter, types) = (counter.name.clone(), types.clone());
            counters.push(Checked { counter, types, window, events, counted, untold, verdict });
        }
        Ok((counters, as_of))
    }

    /// Looks into the coarsest windows, and into finer ones where something without a key of its own is in the way.
    async fn count(&self, counter: &Listed, marker: &str) -> Result<(String, u64, u64, f64), NoAnswer> {
        let ago = self.begun.elapsed() + MARGIN;
        let mut best: Option<(String, u64, u64, f64)> = None;
        for window in coarsest_first(&counter.windows, ago) {
            let answer = self.side.counted(&counter.name, &window.size, ago.as_secs() + 1, MOST_TOP).await?;
            let (mut counted, mut untold) = (0, 0);
            for bucket in &answer.buckets {
                let ours = bucket.keys.iter().filter(|key| key.key.contains(marker));
                counted += ours.map(|key| key.count).sum::<u64>();
                let before = self.before.get(&(counter.name.clone(), window.size.clone(), bucket.start));
                untold += (bucket.other + hidden(bucket)).saturating_sub(before.copied().unwrap_or(0));
            }
            if best.as_ref().is_none_or(|(_, _, least, _)| untold < *least) {
                best = Some((window.size.clone(), counted, untold, answer.data_as_of.unwrap_or(0.0)));
            }
            if untold == 0 {
                break;
            }
        }
        Ok(best.unwrap_or_default())
    }
}

/// What a bucket counts under keys that are not told.
fn hidden(bucket: &Bucket) -> u64 {
    let told: u64 = bucket.keys.iter().map(|key| key.count).sum();
    bucket.total.saturating_sub(bucket.other + told)
}

/// The windows that are kept for longer than `ago`; if none is, the one that is kept longest.
fn coarsest_first(windows: &[ListedWindow], ago: Duration) -> Vec<&ListedWindow> {
    let duration = |text: &str| humantime::parse_duration(text).unwrap_or_default();
    let mut kept: Vec<_> = windows.iter().filter(|window| duration(&window.keep) >= ago).collect();
    if kept.is_empty() {
        kept.extend(windows.iter().max_by_key(|window| duration(&window.keep)));
    }
    kept.sort_by_key(|window| std::cmp::Reverse(duration(&window.size)));
    kept
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for checked in &self.counters {
            let Checked { counter, window, events: Counts { accepted, unknown }, counted, untold, .. } = checked;
            write!(f, "check       {counter} ({}, window {window}): {counted} counted", checked.types.join(", "))?;
            write!(f, " of {accepted} accepted")?;
            if *unknown > 0 {
                write!(f, " and {unknown} unknown")?;
            }
            match checked.verdict {
                Verdict::Exact => writeln!(f, ": exact")?,
                Verdict::Missing => writeln!(f, ": {} ARE MISSING", accepted - counted - untold)?,
                Verdict::TooMany => writeln!(f, ": {} TOO MANY", counted - accepted - unknown)?,
                Verdict::Untold => {
                    writeln!(
                        f,
                        ": CANNOT BE TOLD, {untold} events had no key of their own (`other`, or past the highest 10,000)"
                    )?;
                }
            }
        }
        for event_type in &self.unchecked {
            writeln!(f, "not checked {event_type}: no counter splits it by a field by which this run could be told")?;
        }
        let took = self.took.as_secs_f64();
        if self.is_exact() {
            write!(f, "result      everything accepted was counted exactly once, {took:.1} s after the last answer")
        } else {
            write!(f, "result      NOT everything accepted was seen to be counted exactly once, after {took:.1} s")
        }
    }
}
