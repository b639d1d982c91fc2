//! What time it is, for the edges of the program. What is further in is told.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time by this machine's clock, in ms since the epoch. Whatever decides a count is a function of the log, and must
/// not ask here.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
