//! Looks up where partitions start, beside the poll loop: in the store and in the log.

use super::partition::Next;
use super::start::Located;
use super::worker::{Handle, Place, Start};
use super::{Shared, backoff};
use crate::log::Extent;
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
            match look_up(&shared, &handle, &partitions).await {
                Ok(located) => return settle(&shared, &handle, &located),
                Err(error) => {
                    shared.report_not_ready(&format!("cannot look up where partitions start: {error}"));
                    attempt += 1;
                    tokio::select! {
                        () = tokio::time::sleep(backoff(attempt)) => {}
                        () = shared.shutdown.begun() => return,
                    }
                }
            }
        }
    });
}

async fn look_up(shared: &Shared, handle: &Handle, partitions: &[i32]) -> Result<Vec<Located>, String> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let (consumer, ids) = (handle.consumer.clone(), partitions.to_vec());
    let extents = tokio::task::spawn_blocking(move || consumer.extents(&ids));
    let stored = shared.store.partitions(&shared.topic, partitions).await.map_err(|e| e.to_string())?;
    let extents = extents.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let of = |id: i32| -> Result<Extent, String> {
        let found = extents.iter().find(|extent| extent.partition == id);
        found.copied().ok_or_else(|| format!("the log did not answer for partition {id}"))
    };
    partitions.iter().zip(stored).map(|(id, stored)| Ok(Located { stored, extent: of(*id)? })).collect()
}

fn settle(shared: &Shared, handle: &Handle, located: &[Located]) {
    let mut places = Vec::new();
    for one in located {
        let partition = one.extent.partition;
        let next =
            shared.registry.update(partition, |p| (p.located(one), p.generation(), p.stopped().map(str::to_owned)));
        match next {
            Some((Next::Start(offset), generation, _)) => {
                tracing::info!(partition, offset, "partition starts");
                places.push(Place { partition, generation, offset });
            }
            Some((_, _, Some(reason))) => shared.report_stopped(partition, &reason),
            // Revoked while it was looked up, or somebody else answered first.
            Some(_) | None => {}
        }
    }
    // A worker that is gone has no use for it.
    drop(handle.starts.send(Start(places)));
}
