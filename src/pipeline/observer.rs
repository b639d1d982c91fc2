//! Asks the log where it ends, beside everything else: for the lag, and for the watermark of partitions at rest.

use super::worker::Handle;
use super::{Shared, now_ms};
use crate::log::LogError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Longest time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, handles: Arc<[Handle]>) {
    let mut ticks = tokio::time::interval(INTERVAL.min(shared.config.flush_interval));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = look(&shared, &handles).await {
            shared.report_not_ready(&format!("the log does not answer: {error}"));
        } else if let Some(reason) = first_stopped(&shared) {
            shared.report_not_ready(&reason);
        } else if let Err(error) = shared.store.ready().await {
            shared.report_not_ready(&error.to_string());
        } else {
            shared.report_ready();
        }
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

fn first_stopped(shared: &Shared) -> Option<String> {
    let stopped = |id: i32| shared.registry.look(id, |p| p.stopped().map(str::to_owned)).flatten();
    shared.registry.ids().into_iter().find_map(|id| Some(format!("partition {id} is stopped: {}", stopped(id)?)))
}
