use crate::window::Window;

/// Buckets that begin later than this after now hold nothing: the processors let no event in there.
pub(super) const AHEAD_MS: i64 = 60_000;

/// The starts of a window's buckets that may be asked for: in range, kept, not in the future. In unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Starts {
    first: i64,
    end: i64,
    size: i64,
    /// Whether retention cuts nothing off the begin.
    whole: bool,
}

impl Starts {
    /// Those with from <= start < to, `from` aligned down, at `now_ms`.
    pub(super) fn kept(window: &Window, from: i64, to: i64, now_ms: i64) -> Starts {
        let size = window.size_s();
        let aligned = from.div_euclid(size) * size;
        let oldest_kept = window.start_of(now_ms - (size + window.keep_s()) * 1_000) + size;
        let latest = (now_ms + AHEAD_MS).div_euclid(1_000) + 1;
        Starts { first: aligned.max(oldest_kept), end: to.min(latest), size, whole: aligned >= oldest_kept }
    }

    /// Whether all of the range is still kept.
    pub(super) fn is_whole(self) -> bool {
        self.whole
    }

    /// How many they are, by arithmetic: years of them must not become a list before they are refused.
    pub(super) fn count(self) -> u64 {
        u64::try_from((self.end - self.first + self.size - 1).div_euclid(self.size)).unwrap_or(0)
    }

    /// All of them.
    pub(super) fn list(self) -> Vec<i64> {
        let mut starts = Vec::new();
        let mut start = self.first;
        while start < self.end {
            starts.push(start);
            start += self.size;
        }
        starts
    }
}
