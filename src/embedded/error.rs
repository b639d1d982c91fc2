use rusqlite::ErrorCode;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the embedded file cannot be used, or a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The folder or the lock file cannot be made.
    #[error("{path}: {source}: the folder of embedded.path must exist or be possible to create, and be writable")]
    Folder {
        /// What could not be made.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the file.
    #[error("{path} is in use by {holder}: stop that one first, or give this one another embedded.path")]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who has it, as far as the lock file tells.
        holder: String,
    },
    /// There is no file to read.
    #[error("{0} does not exist: check embedded.path; `run` and `demo` create it")]
    Missing(PathBuf),
    /// The file belongs to somebody else.
    #[error("{0} is not a streamgauge file: choose another embedded.path; it was left untouched")]
    NotOurs(PathBuf),
    /// The file was written by a newer version.
    #[error("{path} has format {found}, this version knows {known}: use a newer streamgauge, or another embedded.path")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that is known.
        known: i64,
    },
    /// The file cannot be opened or set up.
    #[error("{path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// One job failed; nothing of it was written, and others are not concerned.
    #[error("write failed: {}", advice(.0))]
    Job(#[source] rusqlite::Error),
    /// The transaction failed that the job was a part of; nothing of it was written.
    #[error("commit failed: {}", advice(.0))]
    Commit(#[source] Arc<rusqlite::Error>),
    /// The file was closed, or its writing thread has ended.
    #[error("the embedded file is closed")]
    Closed,
}

impl EmbeddedError {
    /// What SQLite said, if it was SQLite that failed.
    pub fn sqlite(&self) -> Option<&rusqlite::Error> {
        match self {
            EmbeddedError::Open { source, .. } | EmbeddedError::Job(source) => Some(source),
            EmbeddedError::Commit(source) => Some(source),
            _ => None,
        }
    }

    /// Whether the disk has no room left.
    pub fn is_disk_full(&self) -> bool {
        self.sqlite().and_then(rusqlite::Error::sqlite_error_code) == Some(ErrorCode::DiskFull)
    }
}

fn advice(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full: make room, writing goes on by itself".to_owned(),
        Some(ErrorCode::SystemIoFailure) => format!("{error}: check the disk, writing goes on by itself"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("{error}: another program holds a lock on the file")
        }
        _ => error.to_string(),
    }
}
