//! Looks after the partitions, beside everything else: where the log ends (for the lag, and for the watermark of
//! partitions at rest), whether it is still the same log, whether a stopped partition can go on.

use super::partition::{Next, Partition};
use super::reading::Tail;
use super::start::Known;
use super::watchdog::Watchdog;
use super::worker::{Handle, Order};
use super::{Shared, locate};
use crate::clock::now_ms;
use crate::log::LogError;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Longest time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a partition that has read nothing may be behind the log's end before somebody looks what is there.
const TAIL: Duration = Duration::from_secs(3);
/// How often a stopped partition is looked up again.
const STOPPED: Duration = Duration::from_secs(3);
/// How often it is checked that the log is still the same.
const SAME_LOG: Duration = Duration::from_secs(30);

/// Looks until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, handles: Arc<[Handle]>) {
    let mut ticks = tokio::time::interval(INTERVAL.min(shared.config.flush_interval));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut stopped, mut same_log, mut tail) = (Every::new(STOPPED), Every::new(SAME_LOG), Every::new(TAIL));
    let (mut tails, mut watchdog) = (Tails::default(), Watchdog::default());
    loop {
        ticks.tick().await;
        let problem = look(&shared, &handles).await.err().map(|error| format!("the log does not answer: {error}"));
        if problem.is_none() && stopped.is_due() {
            try_stopped(&shared, &handles).await;
        }
        if problem.is_none() && same_log.is_due() {
            check_log(&shared, &handles).await;
        }
        if problem.is_none() && tail.is_due() {
            tails.check(&shared, &handles).await;
        }
        watchdog.look(&shared, now_ms());
        report(&shared, problem).await;
    }
}

/// Something that is done now and then.
struct Every {
    interval: Duration,
    last: Instant,
}

impl Every {
    fn new(interval: Duration) -> Every {
        Every { interval, last: Instant::now() }
    }

    /// Whether it is time; then the next time is an interval from now.
    fn is_due(&mut self) -> bool {
        let is_due = self.last.elapsed() >= self.interval;
        if is_due {
            self.last = Instant::now();
        }
        is_due
    }
}

async fn report(shared: &Shared, problem: Option<String>) {
    if let Some(reason) = problem.or_else(|| first_stopped(shared)) {
        shared.report_not_ready(&reason);
    } else if let Err(error) = shared.store.ready().await {
        shared.report_not_ready(&error.to_string());
    } else {
        shared.report_ready();
    }
}

async fn look(shared: &Arc<Shared>, handles: &Arc<[Handle]>) -> Result<(), LogError> {
    shared.registry.set_topic_partitions(shared.log.partitions().await?);
    for handle in handles.iter() {
        let ids = shared.registry.ids_of(handle.index);
        if ids.is_empty() {
            continue;
        }
        let consumer = handle.consumer.clone();
        // Read before the question: whatever comes after the answer is younger than this.
        let asked_ms = now_ms();
        let asked = tokio::task::spawn_blocking(move || consumer.ends(&ids)).await;
        // It fails only when the process ends.
        let Ok(ends) = asked else { return Ok(()) };
        for (id, end) in ends? {
            shared.registry.update(id, |p| p.ends_at(end, asked_ms, shared.timing.lateness_ms));
        }
    }
    Ok(())
}

/// What stopped a partition may have passed: somebody accepted the gap, or the records are there again.
async fn try_stopped(shared: &Arc<Shared>, handles: &Arc<[Handle]>) {
    for handle in handles.iter() {
        let mut ids = shared.registry.ids_of(handle.index);
        ids.retain(|id| shared.registry.look(*id, |p| p.stopped().is_some()).unwrap_or(false));
        if ids.is_empty() {
            continue;
        }
        if let Err(error) = locate::once(shared, handle, &ids).await {
            tracing::debug!(%error, "stopped partitions cannot be looked up now");
        }
    }
}

/// A record that was counted some time ago must still be what it was. The last one would not do: when the log was
/// exchanged meanwhile, it may be of the new one.
async fn check_log(shared: &Arc<Shared>, handles: &Arc<[Handle]>) {
    for handle in handles.iter() {
        if let Err(error) = check_partitions(shared, handle).await {
            tracing::warn!(error, "cannot check now whether the log is still the same");
        }
    }
}

async fn check_partitions(shared: &Arc<Shared>, handle: &Handle) -> Result<(), String> {
    let known = |id: i32| Some((id, shared.registry.look(id, Partition::known).flatten()?));
    let known: Vec<(i32, Known)> = shared.registry.ids_of(handle.index).into_iter().filter_map(known).collect();
    if known.is_empty() {
        return Ok(());
    }
    let extents = handle.extents(&known.iter().map(|(id, _)| *id).collect::<Vec<i32>>()).await?;
    let anchors = known.iter().filter_map(|(id, known)| Some((*id, known.anchor?))).collect();
    let differing = locate::differing(shared, &extents, anchors).await?;
    for (id, known) in known {
        let is_cut = extents.iter().any(|extent| extent.partition == id && known.is_cut(extent));
        let is_another = is_cut || differing.contains(&id);
        if shared.registry.update(id, |p| p.compared(&known, is_another)) == Some(Next::Locate) {
            tracing::warn!(partition = id, is_cut, "the log is another one than the one that was counted");
            locate::spawn(shared, handle, vec![id], Duration::ZERO);
        }
    }
    Ok(())
}

/// Finds partitions whose last offsets hold no record: the marker of a transaction, what compaction took. The client
/// does not tell how far it read behind the last record, so the log is asked whether there is another one.
#[derive(Default)]
struct Tails {
    /// Where each partition was at the last check.
    positions: HashMap<i32, i64>,
}

impl Tails {
    async fn check(&mut self, shared: &Arc<Shared>, handles: &Arc<[Handle]>) {
        let before = std::mem::take(&mut self.positions);
        for handle in handles.iter() {
            let mut quiet = Vec::new();
            for id in shared.registry.ids_of(handle.index) {
                let Some(tail) = shared.registry.look(id, Partition::tail).flatten() else { continue };
                self.positions.insert(id, tail.from);
                if before.get(&id) == Some(&tail.from) {
                    quiet.push((id, tail));
                }
            }
            if let Err(error) = skip(shared, handle, &quiet).await {
                tracing::debug!(error, "cannot look now what stands at the end of partitions");
            }
        }
    }
}

async fn skip(shared: &Shared, handle: &Handle, quiet: &[(i32, Tail)]) -> Result<(), String> {
    if quiet.is_empty() {
        return Ok(());
    }
    let ids: Vec<i32> = quiet.iter().map(|(id, _)| *id).collect();
    // A leader that was just elected may hide its last records from readers; it does not say where it ends until then.
    let shown = handle.extents(&ids).await?;
    let is_shown = |(id, tail): &&(i32, Tail)| shown.iter().any(|e| e.partition == *id && tail.to <= e.end);
    let quiet: Vec<&(i32, Tail)> = quiet.iter().filter(is_shown).collect();
    if quiet.is_empty() {
        return Ok(());
    }
    let places: Vec<(i32, i64)> = quiet.iter().map(|(id, tail)| (*id, tail.from)).collect();
    let records = shared.log.first_records(&places).await.map_err(|e| e.to_string())?;
    // Only now: so much it still held when it was read.
    let extents = handle.extents(&ids).await?;
    for ((partition, tail), record) in quiet.into_iter().zip(records) {
        let extent = extents.iter().find(|extent| extent.partition == *partition);
        if extent.is_some_and(|extent| tail.is_empty(record.map(|record| record.offset), extent)) {
            // A worker that is gone has no use for it.
            drop(handle.orders.send(Order::Skip { partition: *partition, tail: *tail }));
        }
    }
    Ok(())
}

fn first_stopped(shared: &Shared) -> Option<String> {
    let stopped = |id: i32| shared.registry.look(id, |p: &Partition| p.stopped().map(str::to_owned)).flatten();
    shared.registry.ids().into_iter().find_map(|id| Some(format!("partition {id} is stopped: {}", stopped(id)?)))
}
