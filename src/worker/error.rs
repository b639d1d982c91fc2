use crate::log::LogError;
use crate::store::StoreError;

/// Why a worker could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A value of its configuration that cannot work.
    #[error("worker: {0}")]
    Config(String),
    /// The log cannot be used as it is configured.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The notes of handled events cannot be kept.
    #[error("notes of handled events: {0}")]
    Notes(#[from] StoreError),
    /// Its consumer reads nothing any more.
    #[error("the consumer of group `{group}` failed for good: {reason}")]
    Consumer {
        /// The consumer group.
        group: String,
        /// What the client said.
        reason: String,
    },
    /// Its thread could not be started, or ended by a panic.
    #[error("the worker's thread failed: {0}")]
    Thread(String),
}
