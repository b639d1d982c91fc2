//! Says of each partition that does not get on what it waits for.

use super::Shared;
use super::partition::Partition;
use std::collections::HashMap;

/// How long a partition with records to count may stand still before somebody is told, in ms.
const PATIENCE_MS: i64 = 30_000;

/// Where each partition was when it last got on.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    seen: HashMap<i32, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    stored: Option<i64>,
    since_ms: i64,
    told: bool,
}

impl Watchdog {
    /// Looks at all partitions, at this time.
    pub(super) fn look(&mut self, shared: &Shared, now_ms: i64) {
        let ids = shared.registry.ids();
        self.seen.retain(|id, _| ids.contains(id));
        for id in ids {
            let Some((stored, hindrance)) = shared.registry.look(id, |p| (p.stored(), hindrance(p))) else { continue };
            let idle = shared.registry.look(id, |p| p.lag_records() == Some(0)).unwrap_or(true);
            if let Some(for_ms) = self.stalled(id, stored, idle, now_ms) {
                shared.report_stalled(id, for_ms, hindrance);
            }
            let stalls = self.seen.get(&id).is_some_and(|seen| seen.told);
            shared.report_stalling(id, stalls);
        }
    }

    /// For how long it has been standing still, when that is worth telling, which is once.
    fn stalled(&mut self, id: i32, stored: Option<i64>, idle: bool, now_ms: i64) -> Option<i64> {
        let fresh = Seen { stored, since_ms: now_ms, told: false };
        let seen = self.seen.entry(id).or_insert(fresh);
        if idle || seen.stored != stored {
            *seen = fresh;
        }
        let for_ms = now_ms - seen.since_ms;
        if seen.told || for_ms < PATIENCE_MS {
            return None;
        }
        seen.told = true;
        Some(for_ms)
    }
}

/// What a partition waits for, from what it knows itself.
fn hindrance(partition: &Partition) -> String {
    if let Some(reason) = partition.stopped() {
        format!("it is stopped: {reason}")
    } else if partition.is_locating() {
        "where it starts is not known: the log or the store does not answer".to_owned()
    } else if partition.awaits_letters() {
        "dead letters are not stored in the dead-letter topic".to_owned()
    } else if !partition.is_settled() {
        "the store does not take its counts".to_owned()
    } else {
        "no records come, though the log has more: the client, the brokers or an open transaction".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_once_until_the_partition_gets_on() {
        let mut dog = Watchdog::default();
        assert_eq!(dog.stalled(1, Some(5), false, 1_000), None);
        assert_eq!(dog.stalled(1, Some(5), false, 30_999), None);
        assert_eq!(dog.stalled(1, Some(5), false, 31_500), Some(30_500));
        assert_eq!(dog.stalled(1, Some(5), false, 90_000), None);
        assert_eq!(dog.stalled(1, Some(6), false, 91_000), None);
        assert_eq!(dog.stalled(1, Some(6), false, 121_000), Some(30_000));
    }

    #[test]
    fn a_partition_with_nothing_to_count_does_not_stall() {
        let mut dog = Watchdog::default();
        for now in [0, 50_000, 100_000] {
            assert_eq!(dog.stalled(1, Some(5), true, now), None);
        }
        assert_eq!(dog.stalled(1, Some(5), false, 120_000), None);
        assert_eq!(dog.stalled(1, Some(5), false, 130_000), Some(30_000));
    }
}
