use crate::embedded::EmbeddedError;
use crate::log::LogError;
use std::io;
use std::path::PathBuf;

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has the file.
    #[error("ingest.spool.path: {path} is in use by {holder}: each process needs a spool of its own")]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who has it.
        holder: String,
    },
    /// The folder cannot be made or written.
    #[error("ingest.spool.path: {path}: {source}: the folder must be possible to create, and be writable")]
    Folder {
        /// What could not be made.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file belongs to somebody else.
    #[error("ingest.spool.path: {0} is no file of streamgauge: choose another one; it was left untouched")]
    NotOurs(PathBuf),
    /// The file cannot be opened.
    #[error("ingest.spool.path: {0}")]
    Open(#[source] EmbeddedError),
    /// Its tables cannot be made or read.
    #[error("ingest.spool.path: {0}")]
    Queue(#[source] LogError),
}

impl From<EmbeddedError> for SpoolError {
    fn from(error: EmbeddedError) -> SpoolError {
        match error {
            EmbeddedError::InUse { path, holder } => SpoolError::InUse { path, holder },
            EmbeddedError::Folder { path, source } => SpoolError::Folder { path, source },
            EmbeddedError::NotOurs(path) => SpoolError::NotOurs(path),
            other => SpoolError::Open(other),
        }
    }
}

/// Why events were stored neither in the log nor in the spool.
#[derive(Debug, thiserror::Error)]
pub(in crate::ingest) enum NotStored {
    #[error("{0}")]
    Log(#[from] LogError),
    #[error("the spool is full ({max_bytes} bytes): raise ingest.spool.max_bytes, or see why Kafka takes no events")]
    Full { max_bytes: u64 },
    #[error("the spool cannot be written: {0}")]
    Spool(#[source] LogError),
    #[error("the log did not answer in time")]
    Unanswered,
    #[error("storing them was given up: {0}")]
    GivenUp(String),
}
