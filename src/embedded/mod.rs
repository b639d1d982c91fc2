//! The one file of the embedded log and the embedded store: SQLite in WAL mode, one thread that writes.
//!
//! Who writes hands a job to [`EmbeddedFile::write`]; many jobs share one commit, and each is answered after it.
//! Who reads opens a connection of its own by [`EmbeddedFile::reader`]. This room knows no table: log and store each
//! make theirs.

mod config;
mod error;
mod file;
#[cfg(test)]
mod tests;
mod writer;

pub use config::{Config, Synchronous};
pub use error::EmbeddedError;
pub use file::{EmbeddedFile, open_read_only, used_bytes};
