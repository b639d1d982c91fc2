//! Where a group goes on in its partitions.

use super::leaving::apart;
use super::{Shared, Start};
use crate::log::{Consumer, Extent, LogError};
use crate::retry::Backoff;
use std::sync::Arc;

/// Asks until the log answers, or the consumer is closed. After `failures` it waits first.
pub(super) async fn locate<H: Send + Sync + 'static>(
    shared: Arc<Shared<H>>,
    consumer: Arc<dyn Consumer>,
    partitions: Vec<i32>,
    mut failures: u32,
) -> Vec<(i32, i64)> {
    loop {
        if failures > 0 {
            tokio::time::sleep(Backoff::AWAY.after(failures)).await;
        }
        let error = match look_up(&shared, &consumer, &partitions).await {
            Ok(extents) => return extents.iter().map(|extent| place(&shared, extent)).collect(),
            // Nobody wants to know any more.
            Err(LogError::Closed) => return Vec::new(),
            Err(error) => error,
        };
        failures += 1;
        tracing::warn!(group = shared.log.group(), ?partitions, failures, %error, "cannot look partitions up yet");
    }
}

async fn look_up<H>(
    shared: &Shared<H>,
    consumer: &Arc<dyn Consumer>,
    partitions: &[i32],
) -> Result<Vec<Extent>, LogError> {
    let extents = asked(consumer, partitions.to_vec()).await?;
    let is_known = extents.iter().all(|extent| extent.committed.is_some());
    if is_known || shared.config.start == Start::Earliest || !begin(shared, consumer).await? {
        return Ok(extents);
    }
    asked(consumer, partitions.to_vec()).await
}

/// A group that has no position at all begins at the end, in all partitions at once, also in those of other members: a
/// partition without a position beside others that have one was added to the topic later, and all of it is new.
/// `false`: the group has begun before.
async fn begin<H>(shared: &Shared<H>, consumer: &Arc<dyn Consumer>) -> Result<bool, LogError> {
    let all = asked(consumer, (0..shared.log.partitions().await?).collect()).await?;
    if all.iter().any(|extent| extent.committed.is_some()) {
        return Ok(false);
    }
    let ends: Vec<(i32, i64)> = all.iter().map(|extent| (extent.partition, extent.end)).collect();
    tracing::info!(group = shared.log.group(), ?ends, "a new group: it begins at the end");
    let consumer = consumer.clone();
    apart(move || consumer.commit_now(&ends)).await?;
    Ok(true)
}

async fn asked(consumer: &Arc<dyn Consumer>, partitions: Vec<i32>) -> Result<Vec<Extent>, LogError> {
    let consumer = consumer.clone();
    apart(move || consumer.extents(&partitions)).await
}

fn place<H>(shared: &Shared<H>, extent: &Extent) -> (i32, i64) {
    let at = position(extent);
    if let Position::Behind { committed } = at {
        shared.meters.lost(extent.partition, committed, extent.start);
    }
    if let Position::Ahead { committed } = at {
        let (group, partition, end) = (shared.log.group(), extent.partition, extent.end);
        tracing::warn!(group, partition, committed, end, "the log ends before the position: it begins anew");
    }
    (extent.partition, at.offset(extent))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Committed(i64),
    Earliest,
    /// Retention took records that the group had not read.
    Behind {
        committed: i64,
    },
    /// The topic was made anew: nothing of it was read.
    Ahead {
        committed: i64,
    },
}

impl Position {
    fn offset(self, extent: &Extent) -> i64 {
        match self {
            Position::Committed(offset) => offset,
            Position::Earliest | Position::Behind { .. } | Position::Ahead { .. } => extent.start,
        }
    }
}

fn position(extent: &Extent) -> Position {
    match extent.committed {
        Some(committed) if committed < extent.start => Position::Behind { committed },
        Some(committed) if committed > extent.end => Position::Ahead { committed },
        Some(committed) => Position::Committed(committed),
        None => Position::Earliest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_goes_on_where_it_was_as_far_as_the_log_has_it() {
        let at = |committed| {
            let extent = Extent { partition: 0, start: 10, end: 20, committed };
            let position = position(&extent);
            (position, position.offset(&extent))
        };
        assert_eq!(at(Some(15)), (Position::Committed(15), 15));
        assert_eq!(at(Some(20)), (Position::Committed(20), 20));
        assert_eq!(at(Some(9)), (Position::Behind { committed: 9 }, 10));
        assert_eq!(at(Some(21)), (Position::Ahead { committed: 21 }, 10));
        assert_eq!(at(None), (Position::Earliest, 10));
    }
}
