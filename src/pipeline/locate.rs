//! Looks up where partitions start, beside the poll loop: in the store and in the log.

use super::Shared;
use super::partition::{Next, Partition};
use super::reading::Place;
use super::start::{Located, Start};
use super::worker::{Handle, Order};
use crate::clock::now_ms;
use crate::counter::Fingerprint;
use crate::log::{Extent, KeptRecord};
use crate::retry::Backoff;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Looks the partitions up after a while, until it succeeds, then tells the worker to start them. An empty list is
/// answered too.
pub(super) fn spawn(shared: &Arc<Shared>, handle: &Handle, partitions: Vec<i32>, wait: Duration) {
    let (shared, handle) = (shared.clone(), handle.clone());
    shared.runtime.clone().spawn(async move {
        tokio::time::sleep(wait).await;
        let mut attempt = 0;
        loop {
            match once(&shared, &handle, &partitions).await {
                Ok(()) => return,
                Err(error) => {
                    shared.report_not_ready(&format!("cannot look up where partitions start: {error}"));
                    attempt += 1;
                    tokio::select! {
                        () = tokio::time::sleep(Backoff::AWAY.after(attempt)) => {}
                        () = shared.shutdown.begun() => return,
                    }
                }
            }
        }
    });
}

/// The same, now and only once.
///
/// # Errors
/// Who did not answer.
pub(super) async fn once(shared: &Shared, handle: &Handle, partitions: &[i32]) -> Result<(), String> {
    let located = if partitions.is_empty() { Vec::new() } else { look_up(shared, handle, partitions).await? };
    settle(shared, handle, &located);
    Ok(())
}

async fn look_up(shared: &Shared, handle: &Handle, partitions: &[i32]) -> Result<Vec<Located>, String> {
    // The store first: what another processor counts meanwhile must not look as if the log ended before it.
    let stored = shared.store.partitions(&shared.topic, partitions).await.map_err(|e| e.to_string())?;
    let extents = handle.extents(partitions).await?;
    let of = |id: i32| -> Result<Extent, String> {
        let found = extents.iter().find(|extent| extent.partition == id);
        found.copied().ok_or_else(|| format!("the log did not answer for partition {id}"))
    };
    let mut located = Vec::with_capacity(partitions.len());
    for (id, stored) in partitions.iter().zip(stored) {
        let extent = of(*id)?;
        located.push(Located::at(now_ms(), stored, extent));
    }
    compare_records(shared, &mut located).await?;
    for one in &mut located {
        look_behind(shared, handle, one).await?;
    }
    Ok(located)
}

/// Whether the records that were counted last are still what they were.
async fn compare_records(shared: &Shared, located: &mut [Located]) -> Result<(), String> {
    let extents: Vec<Extent> = located.iter().map(|one| one.extent).collect();
    let last = |one: &Located| Some((one.extent.partition, one.stored.as_ref()?.fingerprint?));
    let other = differing(shared, &extents, located.iter().filter_map(last).collect()).await?;
    let anchor = |one: &Located| {
        let id = one.extent.partition;
        let record = shared.registry.look(id, Partition::anchor).flatten()?;
        one.counts(&record).then_some((id, record))
    };
    let other_log = differing(shared, &extents, located.iter().filter_map(anchor).collect()).await?;
    for one in located {
        one.same_record = !other.contains(&one.extent.partition);
        one.same_log = !other_log.contains(&one.extent.partition);
    }
    Ok(())
}

/// The partitions that hold another record than the one of this fingerprint at its place. Where it is no longer held,
/// nothing is known against it.
pub(super) async fn differing(
    shared: &Shared,
    extents: &[Extent],
    prints: Vec<(i32, Fingerprint)>,
) -> Result<Vec<i32>, String> {
    let extents: HashMap<i32, &Extent> = extents.iter().map(|extent| (extent.partition, extent)).collect();
    let held = |(id, print): &(i32, Fingerprint)| extents.get(id).is_some_and(|extent| extent.holds(print.offset));
    let prints: Vec<_> = prints.into_iter().filter(held).collect();
    if prints.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<(i32, i64)> = prints.iter().map(|(id, print)| (*id, print.offset)).collect();
    let records = shared.log.first_records(&places).await.map_err(|e| e.to_string())?;
    let both = prints.into_iter().zip(records);
    Ok(both.filter_map(|((id, print), record)| is_another(&print, &record?).then_some(id)).collect())
}

/// Whether this is another record than the one of the fingerprint, at its place. A later record says nothing: the one in
/// question was compacted away.
pub(super) fn is_another(print: &Fingerprint, record: &KeptRecord) -> bool {
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    let found = Fingerprint::of(record.offset, record.time_ms.unwrap_or(-1), key, value);
    record.offset == print.offset && found != *print
}

/// Where records are missing: how the log goes on behind them.
async fn look_behind(shared: &Shared, handle: &Handle, one: &mut Located) -> Result<(), String> {
    let id = one.extent.partition;
    let expected = shared.registry.look(id, Partition::was_stored).unwrap_or(false);
    if matches!(one.start(expected), Start::At(_)) {
        return Ok(());
    }
    if let Some(time_ms) = one.last_time_ms() {
        one.younger = shared.log.first_after(id, time_ms).await.map_err(|e| e.to_string())?;
    }
    let Start::Behind(missing) = one.start(expected) else { return Ok(()) };
    if one.extent.holds(missing.resume) {
        let records = shared.log.first_records(&[(id, missing.resume)]).await.map_err(|e| e.to_string())?;
        let time_ms = records.into_iter().next().flatten().and_then(|record| record.time_ms);
        one.resumes_ms = time_ms.unwrap_or(one.resumes_ms);
    }
    // What retention took meanwhile is in none of these answers.
    match handle.extents(&[id]).await?.first() {
        Some(extent) if extent.start == one.extent.start => Ok(()),
        _ => Err(format!("partition {id} was trimmed while it was looked up")),
    }
}

fn settle(shared: &Shared, handle: &Handle, located: &[Located]) {
    let mut places = Vec::new();
    for one in located {
        let (partition, on_gap) = (one.extent.partition, shared.config.on_gap);
        let has_room = shared.registry.running(partition) < shared.config.partitions_at_most();
        let change = |p: &mut Partition| {
            let before = p.stopped().map(str::to_owned);
            let next = if has_room {
                p.located(one, on_gap)
            } else {
                p.held_up(one, shared.config.no_room());
                Next::Nothing
            };
            let stopped = p.stopped().filter(|reason| before.as_deref() != Some(reason)).map(str::to_owned);
            (next, p.generation(), stopped)
        };
        match shared.registry.update_of(handle.index, partition, change) {
            Some((Next::Start(offset), generation, _)) => {
                tracing::info!(partition, offset, "partition starts");
                places.push(Place::of(one, generation, offset, shared.config.dedupe_horizon));
            }
            Some((_, _, Some(reason))) => shared.report_stopped(partition, &reason),
            // Revoked while it was looked up, somebody else answered first, or nothing has changed.
            Some(_) | None => {}
        }
    }
    shared.wake.notify_one();
    // A worker that is gone has no use for it.
    drop(handle.orders.send(Order::Start(places)));
}
