//! Where a group goes on in its partitions.

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
        let (asked, ids) = (consumer.clone(), partitions.clone());
        let answer = tokio::task::spawn_blocking(move || asked.extents(&ids)).await;
        let error = match answer {
            Ok(Ok(extents)) => return extents.iter().map(|extent| place(&shared, extent)).collect(),
            // Nobody wants to know any more.
            Ok(Err(LogError::Closed)) => return Vec::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        failures += 1;
        tracing::warn!(group = shared.log.group(), ?partitions, failures, error, "cannot look partitions up yet");
    }
}

fn place<H>(shared: &Shared<H>, extent: &Extent) -> (i32, i64) {
    let at = position(extent, shared.config.start);
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
    Latest,
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
            Position::Latest => extent.end,
            Position::Earliest | Position::Behind { .. } | Position::Ahead { .. } => extent.start,
        }
    }
}

fn position(extent: &Extent, start: Start) -> Position {
    match (extent.committed, start) {
        (Some(committed), _) if committed < extent.start => Position::Behind { committed },
        (Some(committed), _) if committed > extent.end => Position::Ahead { committed },
        (Some(committed), _) => Position::Committed(committed),
        (None, Start::Earliest) => Position::Earliest,
        (None, Start::Latest) => Position::Latest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_goes_on_where_it_was_as_far_as_the_log_has_it() {
        let at = |committed, start| {
            let extent = Extent { partition: 0, start: 10, end: 20, committed };
            let position = position(&extent, start);
            (position, position.offset(&extent))
        };
        assert_eq!(at(Some(15), Start::Latest), (Position::Committed(15), 15));
        assert_eq!(at(Some(20), Start::Latest), (Position::Committed(20), 20));
        assert_eq!(at(Some(9), Start::Latest), (Position::Behind { committed: 9 }, 10));
        assert_eq!(at(Some(21), Start::Latest), (Position::Ahead { committed: 21 }, 10));
        assert_eq!(at(None, Start::Earliest), (Position::Earliest, 10));
        assert_eq!(at(None, Start::Latest), (Position::Latest, 20));
    }
}
