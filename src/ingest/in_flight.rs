use prometheus::IntGauge;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of request bodies that are held at the moment, by all requests together.
#[derive(Debug)]
pub(super) struct InFlight {
    bytes: AtomicU64,
    most: u64,
    gauge: IntGauge,
}

impl InFlight {
    pub(super) fn new(most: u64, gauge: IntGauge) -> InFlight {
        InFlight { bytes: AtomicU64::new(0), most, gauge }
    }

    /// A request that holds nothing yet.
    pub(super) fn begin(&self) -> Held<'_> {
        Held { of: self, bytes: 0 }
    }
}

/// What one request holds; given back when it is dropped, however the request ends.
#[derive(Debug)]
pub(super) struct Held<'a> {
    of: &'a InFlight,
    bytes: u64,
}

impl Held<'_> {
    /// Takes some more, unless that were more than all may hold.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let before = self.of.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.of.most {
            self.of.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        self.of.gauge.add(bytes as i64);
        true
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of.gauge.sub(self.bytes as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let gauge = IntGauge::new("held", "held").unwrap();
        let all = InFlight::new(10, gauge.clone());
        let (mut a, mut b) = (all.begin(), all.begin());
        assert!(a.take(6) && b.take(4));
        assert!(!b.take(1));
        assert_eq!(gauge.get(), 10);
        drop(a);
        assert!(b.take(6));
        drop(b);
        assert_eq!((gauge.get(), all.bytes.into_inner()), (0, 0));
    }
}
