use crate::telemetry::{Metrics, Readiness, Role};
use prometheus::core::Collector;
use serde::Serialize;

/// What this process itself saw since it started, and what never gets to the store: events that were not taken, and
/// errors. A part that runs in another process is null, for a 0 would claim that nothing went wrong there.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Process {
    ingest: Option<Ingest>,
    log: Option<Log>,
    processor: Option<Processor>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Ingest {
    /// Why it cannot take events; null when it can.
    reason: Option<String>,
    /// Events.
    accepted: u64,
    rejected: u64,
    failed: u64,
    /// Requests that were answered 4xx, and 5xx.
    refused_requests: u64,
    failed_requests: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Log {
    errors: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Processor {
    /// Why it cannot count; null when it can.
    reason: Option<String>,
    flush_conflicts: u64,
    flush_failures: u64,
    dead_letter_retries: u64,
}

impl Process {
    /// As the metrics say now.
    pub(super) fn of(metrics: &Metrics, readiness: &Readiness) -> Process {
        let roles = readiness.all();
        let has = |role| roles.iter().any(|(own, _)| *own == role);
        Process {
            ingest: has(Role::Ingest).then(|| Ingest::of(metrics, readiness)),
            log: (has(Role::Ingest) || has(Role::Process)).then(|| Log { errors: metrics.log_errors_total.get() }),
            processor: has(Role::Process).then(|| Processor {
                reason: readiness.reason(Role::Process),
                flush_conflicts: metrics.flush_conflicts_total.get(),
                flush_failures: metrics.flush_failures_total.get(),
                dead_letter_retries: metrics.dead_letter_retries_total.get(),
            }),
        }
    }
}

impl Ingest {
    fn of(metrics: &Metrics, readiness: &Readiness) -> Ingest {
        let events = |result| metrics.ingest_events_total.with_label_values(&[result]).get();
        let requests = |class| requests(&metrics.ingest_requests_total, class);
        Ingest {
            reason: readiness.reason(Role::Ingest),
            accepted: events("accepted"),
            rejected: events("rejected"),
            failed: events("failed"),
            refused_requests: requests('4'),
            failed_requests: requests('5'),
        }
    }
}

/// All requests whose status code begins with that digit.
fn requests(by_code: &prometheus::IntCounterVec, class: char) -> u64 {
    let families = by_code.collect();
    let all = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
    let of_class = all.filter(|metric| metric.get_label().iter().any(|code| code.value().starts_with(class)));
    // A count is a whole number, and exact in a float up to 2^53.
    of_class.map(|metric| metric.get_counter().get_value() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_this_process_does_not_do_is_null_and_not_zero() {
        let metrics = Metrics::new().unwrap();
        let alone = Process::of(&metrics, &Readiness::new(&[Role::Query]));
        assert_eq!(serde_json::to_value(alone).unwrap(), json!({"ingest": null, "log": null, "processor": null}));
        let front = Process::of(&metrics, &Readiness::new(&[Role::Ingest, Role::Query]));
        assert!(front.ingest.is_some() && front.log.is_some() && front.processor.is_none());
    }

    #[test]
    fn what_went_wrong_is_told_for_each_part() {
        let (metrics, readiness) = (Metrics::new().unwrap(), Readiness::new(&Role::ALL));
        readiness.ready(Role::Process);
        readiness.not_ready(Role::Ingest, "the log is away");
        for (result, n) in [("accepted", 7), ("rejected", 2), ("failed", 3)] {
            metrics.ingest_events_total.with_label_values(&[result]).inc_by(n);
        }
        for code in ["202", "204", "400", "400", "413", "503"] {
            metrics.ingest_requests_total.with_label_values(&[code]).inc();
        }
        metrics.log_errors_total.inc_by(4);
        metrics.flush_conflicts_total.inc_by(5);
        metrics.flush_failures_total.inc_by(6);
        metrics.dead_letter_retries_total.inc_by(8);
        assert_eq!(
            serde_json::to_value(Process::of(&metrics, &readiness)).unwrap(),
            json!({
                "ingest": {"reason": "the log is away", "accepted": 7, "rejected": 2, "failed": 3,
                    "refused_requests": 3, "failed_requests": 1},
                "log": {"errors": 4},
                "processor": {"reason": null, "flush_conflicts": 5, "flush_failures": 6, "dead_letter_retries": 8}
            })
        );
    }
}
