//! How partitions are given up: their handlers end or are cancelled, and what they finished is committed.

use super::Config;
use super::poller::Running;
use crate::log::{Consumer, LogError};
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How much later than [`Config::drain`] a partition's task may end. It cancels its handlers at that time; one that
/// blocks its thread cannot be cancelled, and must not hold up the group or the end of the process.
const OVERDUE: Duration = Duration::from_secs(1);
/// How long the last commit of a partition may take before it is given up without.
const LAST_COMMIT: Duration = Duration::from_secs(3);
const COMMIT_AGAIN: Duration = Duration::from_millis(100);

/// Stops partitions, waits for their handlers, and commits where they stand. Returns within bounds whatever hangs.
pub(super) async fn settle(running: Vec<(i32, Running)>, consumer: Arc<dyn Consumer>, config: &Config, group: &str) {
    let ending = running.into_iter().map(|(id, running)| async move {
        let position = stand(id, running, config.drain + OVERDUE, group).await;
        Some((id, position?))
    });
    let positions: Vec<(i32, i64)> = join_all(ending).await.into_iter().flatten().collect();
    let mut last = None;
    let committed = timeout(LAST_COMMIT, async {
        while let Err(error) = commit_now(&consumer, &positions).await {
            last = Some(error);
            // A rebalance refuses it until this member has answered.
            tokio::time::sleep(COMMIT_AGAIN).await;
        }
    });
    if committed.await.is_err() {
        let error = last.unwrap_or_else(|| "no answer".to_owned());
        tracing::warn!(group, error, "the last positions are not committed: their messages are handled again");
    }
}

/// The position of a partition once its task has ended; `None` when that panicked.
async fn stand(id: i32, running: Running, within: Duration, group: &str) -> Option<i64> {
    let Running { stop, mut task, progress, .. } = running;
    // A task that ended already needs no telling.
    _ = stop.send(());
    if let Ok(ended) = timeout(within, &mut task).await {
        return ended.ok();
    }
    task.abort();
    tracing::error!(group, partition = id, "a handler blocks its thread and cannot be cancelled: it is left behind");
    Some(progress.position.load(Ordering::Acquire))
}

async fn commit_now(consumer: &Arc<dyn Consumer>, positions: &[(i32, i64)]) -> Result<(), String> {
    let (consumer, positions) = (consumer.clone(), positions.to_vec());
    apart(move || consumer.commit_now(&positions)).await.map_err(|error| error.to_string())
}

/// Asks a log on a thread of its own. With the log away that blocks for longer than anybody waits; a thread of the
/// runtime would hold up the end of the process.
pub(super) async fn apart<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let (answer, answered) = oneshot::channel();
    let thread = std::thread::Builder::new().name("worker-ask".to_owned());
    // Who no longer waits has no use for the answer.
    let started = thread.spawn(move || _ = answer.send(ask()));
    started.map_err(|error| LogError::Client(format!("a thread cannot be started: {error}")))?;
    answered.await.unwrap_or_else(|_| Err(LogError::Client("a thread panicked".to_owned())))
}
