//! Tumbling windows and watermarks over event time.
//!
//! Windows align to the Unix epoch in UTC. This room knows no clock: the caller says what time it is.
//! Times are milliseconds since the epoch (`_ms`) where they come from records, and whole seconds where they
//! name a window.

mod watermark;

pub use watermark::Watermark;

use std::time::Duration;

/// One window size of a counter and how long its buckets are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    label: Box<str>,
    size_s: i64,
    keep_s: i64,
}

/// Why a window cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The size is not a duration.
    #[error("window size `{0}` is not a duration: write it like \"10s\", \"1m\" or \"1h\"")]
    NotADuration(String),
    /// The size is below one second or not a whole number of seconds.
    #[error("window size `{0}` must be a whole number of seconds, at least 1s")]
    NotWholeSeconds(String),
    /// The retention is shorter than the window.
    #[error("window `{size}`: keep ({keep_s} s) must be at least the size of the window")]
    KeptTooShort {
        /// The window's size as configured.
        size: String,
        /// The configured retention in seconds.
        keep_s: i64,
    },
    /// The retention does not fit the arithmetic.
    #[error("window `{0}`: size and keep must stay below 1,000 years")]
    TooLong(String),
}

/// Sizes and retentions up to here cannot overflow the arithmetic on any accepted timestamp.
const LONGEST_S: i64 = 1_000 * 366 * 86_400;

impl Window {
    /// A window of the size that `label` says ("10s"), its buckets kept for `keep` after their end.
    ///
    /// # Errors
    /// When the label is no duration of whole seconds, or `keep` is shorter than the window.
    pub fn new(label: &str, keep: Duration) -> Result<Window, WindowError> {
        let size = humantime::parse_duration(label).map_err(|_| WindowError::NotADuration(label.into()))?;
        if size.subsec_nanos() != 0 || size.is_zero() {
            return Err(WindowError::NotWholeSeconds(label.into()));
        }
        let seconds = |d: Duration| i64::try_from(d.as_secs()).ok().filter(|s| *s <= LONGEST_S);
        let (Some(size_s), Some(keep_s)) = (seconds(size), seconds(keep)) else {
            return Err(WindowError::TooLong(label.into()));
        };
        if keep_s < size_s {
            return Err(WindowError::KeptTooShort { size: label.into(), keep_s });
        }
        Ok(Window { label: label.into(), size_s, keep_s })
    }

    /// The size as configured: "10s". It names the window in keys, queries and metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Length in seconds, at least 1.
    pub fn size_s(&self) -> i64 {
        self.size_s
    }

    /// How long a bucket is kept after its end, in seconds.
    pub fn keep_s(&self) -> i64 {
        self.keep_s
    }

    /// Start, in unix seconds, of the window that holds `time_ms`.
    pub fn start_of(&self, time_ms: i64) -> i64 {
        time_ms.div_euclid(self.size_s * 1_000) * self.size_s
    }

    /// End (exclusive), in unix seconds, of the window that starts at `start`.
    pub fn end_of(&self, start: i64) -> i64 {
        start + self.size_s
    }

    /// When, in unix seconds, the bucket that starts at `start` stops being kept.
    pub fn kept_until(&self, start: i64) -> i64 {
        start + self.size_s + self.keep_s
    }

    /// Whether the bucket that starts at `start` still takes events at `time_ms`.
    pub fn is_kept(&self, start: i64, time_ms: i64) -> bool {
        self.kept_until(start).saturating_mul(1_000) > time_ms
    }
}

/// The time at which an event counts, in ms: its own timestamp, unless that lies more than `max_ahead_ms` past
/// the record's time. One wrong clock must not open windows in the future.
pub fn event_time(timestamp_ms: i64, record_ms: i64, max_ahead_ms: i64) -> i64 {
    if timestamp_ms > record_ms.saturating_add(max_ahead_ms) { record_ms } else { timestamp_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(label: &str, keep_s: u64) -> Window {
        Window::new(label, Duration::from_secs(keep_s)).unwrap()
    }

    #[test]
    fn a_label_that_is_no_size_is_refused_with_a_reason() {
        let refuse = |label: &str, keep| Window::new(label, Duration::from_secs(keep)).unwrap_err().to_string();
        assert!(refuse("ten", 60).contains("not a duration"));
        assert!(refuse("1500ms", 60).contains("whole number of seconds"));
        assert!(refuse("0s", 60).contains("whole number of seconds"));
        assert!(refuse("1m", 59).contains("keep (59 s)"));
        assert!(refuse("9000y", u64::MAX).contains("1,000 years"));
    }

    #[test]
    fn a_bucket_is_kept_until_its_retention_has_passed() {
        let w = window("10s", 3_600);
        assert!(w.is_kept(0, 3_609_999));
        assert!(!w.is_kept(0, 3_610_000));
    }

    #[test]
    fn a_timestamp_too_far_ahead_counts_at_the_record_time() {
        assert_eq!(event_time(70_000, 10_000, 60_000), 70_000);
        assert_eq!(event_time(70_001, 10_000, 60_000), 10_000);
        assert_eq!(event_time(5, i64::MAX, 60_000), 5);
    }

    proptest! {
        #[test]
        fn every_time_lies_in_exactly_its_window(ms in -4_102_444_800_000_i64..4_133_980_800_000, size in 1_u32..1_000_000) {
            let w = window(&format!("{size}s"), 2_000_000);
            let start = w.start_of(ms);
            prop_assert!(start * 1_000 <= ms && ms < w.end_of(start) * 1_000);
            prop_assert_eq!(start.rem_euclid(i64::from(size)), 0);
        }
    }
}
