//! The one catalogue of metrics. A metric's name is `streamgauge_` and the field's name; its help is the doc comment.

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// Seconds that ingest takes to answer, and that the log takes to acknowledge.
const INGEST_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// Seconds from the receipt of an event until it is visible.
const FRESHNESS_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 300.0];
/// Seconds of a handler: from what is done in memory to what waits for others.
const HANDLER_SECONDS: &[f64] = &[0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Cells of a flush.
const CELLS: &[f64] = &[1.0, 10.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0];

const CODES: &[&str] =
    &["200", "202", "204", "304", "400", "401", "403", "404", "405", "408", "413", "415", "429", "500", "503"];
const QUERY_CODES: &[&str] =
    &["200", "204", "303", "304", "400", "401", "403", "404", "405", "408", "413", "415", "421", "429", "500", "503"];
const RESULTS: &[&str] = &["accepted", "rejected", "failed"];
/// Why a request was refused, and why an event was: the reasons that ingest knows.
const REFUSED_REQUESTS: &[&str] = &[
    "address",
    "format",
    "too_large",
    "incomplete",
    "malformed",
    "no_event",
    "parameter",
    "no_key",
    "unknown_key",
    "origin",
    "bot",
    "key_rate",
    "address_rate",
    "busy",
    "not_stored",
];
const REFUSED_EVENTS: &[&str] =
    &["not_an_object", "not_text", "no_type", "twice", "reserved", "field", "time", "event_too_large"];
const OUTCOMES: &[&str] = &["counted", "duplicate", "filtered", "expired", "dead_lettered"];

/// By consumer group, which who makes a worker names, and by something else. The worker sets its labels to 0.
type GroupCounterVec = IntCounterVec;

macro_rules! make {
    (IntCounter, $name:expr, $help:expr) => {
        IntCounter::new($name, $help)
    };
    (Gauge, $name:expr, $help:expr) => {
        Gauge::new($name, $help)
    };
    (IntGauge, $name:expr, $help:expr) => {
        IntGauge::new($name, $help)
    };
    (Histogram, $name:expr, $help:expr, $buckets:expr) => {
        Histogram::with_opts(HistogramOpts::new($name, $help).buckets($buckets.to_vec()))
    };
    (IntGaugeVec, $name:expr, $help:expr, $label:expr) => {
        IntGaugeVec::new(Opts::new($name, $help), &[$label])
    };
    (GaugeVec, $name:expr, $help:expr, $label:expr) => {
        GaugeVec::new(Opts::new($name, $help), &[$label])
    };
    (IntGaugeVec, $name:expr, $help:expr, $one:expr, $other:expr) => {
        IntGaugeVec::new(Opts::new($name, $help), &[$one, $other])
    };
    (GaugeVec, $name:expr, $help:expr, $one:expr, $other:expr) => {
        GaugeVec::new(Opts::new($name, $help), &[$one, $other])
    };
    (HistogramVec, $name:expr, $help:expr, $label:expr, $buckets:expr) => {
        HistogramVec::new(HistogramOpts::new($name, $help).buckets($buckets.to_vec()), &[$label])
    };
    (GroupCounterVec, $name:expr, $help:expr, $one:expr, $other:expr) => {
        IntCounterVec::new(Opts::new($name, $help), &[$one, $other])
    };
    (IntCounterVec, $name:expr, $help:expr, $label:expr, $values:expr) => {
        IntCounterVec::new(Opts::new($name, $help), &[$label]).inspect(|vec| {
            let values: &[&str] = $values;
            for value in values {
                vec.with_label_values(&[value]);
            }
        })
    };
}

macro_rules! catalogue {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ident $(($($arg:expr),+))?,)+) => {
        /// Every metric of the program. Handed to the components; there is no global.
        #[derive(Debug, Clone)]
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ pub $name: $kind,)+
        }

        impl Metrics {
            /// Names of all metrics, without those of the process itself.
            pub const NAMES: &[&str] = &[$(concat!("streamgauge_", stringify!($name)),)+];

            /// Builds the catalogue, label sets at 0.
            ///
            /// # Errors
            /// When a name stands there twice, which a test rules out.
            pub fn new() -> Result<Metrics, prometheus::Error> {
                let registry = Registry::new();
                $(let $name = make!(
                    $kind,
                    concat!("streamgauge_", stringify!($name)),
                    concat!($($help),+).trim() $($(, $arg)+)?
                )?;
                register(&registry, $name.clone())?;)+
                Metrics { registry, $($name,)+ }.with_process()
            }
        }
    };
}

catalogue! {
    /// HTTP requests that ingest answered, by status code.
    ingest_requests_total: IntCounterVec("code", CODES),
    /// Events that ingest accepted (stored), rejected (invalid), or failed to store.
    ingest_events_total: IntCounterVec("result", RESULTS),
    /// Requests that ingest refused as a whole, by reason.
    ingest_refused_requests_total: IntCounterVec("reason", REFUSED_REQUESTS),
    /// Events that ingest rejected, by reason.
    ingest_refused_events_total: IntCounterVec("reason", REFUSED_EVENTS),
    /// Seconds from the head of a request to its answer.
    ingest_request_seconds: Histogram(INGEST_SECONDS),
    /// Bytes of request bodies that ingest holds at the moment, as they came and inflated.
    ingest_in_flight_bytes: IntGauge,
    /// Connections refused or closed because a limit was reached, by listener: too many of them, a head that was too
    /// large, or no head in time.
    connections_refused_total: IntCounterVec("listener", &["ingest", "query", "admin"]),
    /// Seconds until the log acknowledged an append.
    log_append_seconds: Histogram(INGEST_SECONDS),
    /// Events that ingest took without the id of a visitor that their site wants, because the salt of the day was not known:
    /// the store was away.
    ingest_visitor_missing_total: IntCounter,
    /// Events that ingest stored, by what they are stored on: kafka (all in-sync replicas), or disk (the spool or the embedded
    /// log).
    ingest_stored_events_total: IntCounterVec("stored", &["kafka", "disk"]),
    /// Bytes that ingest's spool takes on disk while events wait in it for Kafka; 0 when none does.
    spool_bytes: IntGauge,
    /// Events that wait in ingest's spool for Kafka.
    spool_waiting_events: IntGauge,
    /// Age in seconds of the oldest event that waits in ingest's spool; 0 when none does.
    spool_oldest_seconds: Gauge,
    /// 1 while new events go to ingest's spool and not straight to Kafka.
    spool_active: IntGauge,
    /// Events that were forwarded from ingest's spool to Kafka.
    spool_forwarded_events_total: IntCounter,
    /// Attempts to forward events from ingest's spool that failed, and are repeated.
    spool_forward_failures_total: IntCounter,
    /// Events that ingest's spool could not take, because it was full or could not be written.
    spool_refused_events_total: IntCounter,
    /// Events of ingest's spool that Kafka refused for their size, and that were kept as dead letters.
    spool_dead_letters_total: IntCounter,
    /// Errors that the log's client reported.
    log_errors_total: IntCounter,
    /// Records between the stored offset and the end of the partition.
    consumer_lag_records: IntGaugeVec("partition"),
    /// Age in seconds of the partition's stored watermark while records wait to be counted; 0 when none does.
    consumer_lag_seconds: GaugeVec("partition"),
    /// Records processed, by outcome, once they are in the store.
    processed_events_total: IntCounterVec("outcome", OUTCOMES),
    /// Records read and counted, once they are in the store; as many as all outcomes together.
    consumed_records_total: IntCounter,
    /// Offsets without a record (control records, compaction), once they are passed in the store.
    skipped_offsets_total: IntCounter,
    /// Records that were gone before they could be counted, in gaps that somebody accepted.
    lost_records_total: IntCounter,
    /// Seconds that the dedupe horizon reaches back, by partition.
    dedupe_horizon_seconds: GaugeVec("partition"),
    /// Records and offsets that the ledger does not explain. Anything but 0 is a bug.
    unaccounted_events: IntGauge,
    /// Seconds by which the lowest watermark of this process's partitions is behind the clock.
    watermark_delay_seconds: Gauge,
    /// Seconds that a flush to the store took.
    flush_seconds: Histogram(INGEST_SECONDS),
    /// Cells that a flush wrote.
    flush_cells: Histogram(CELLS),
    /// Flushes that found another stored offset than they expected.
    flush_conflicts_total: IntCounter,
    /// Flushes that failed and are tried again.
    flush_failures_total: IntCounter,
    /// When the store last applied a flush of this process and refused none, in unix seconds; 0 before the first. Each
    /// partition is flushed every interval, at rest too, so with partitions it only stands still when flushing does.
    last_flush_timestamp_seconds: Gauge,
    /// Seconds from the receipt of an event until it is visible in the store; the oldest event of each flush.
    freshness_seconds: Histogram(FRESHNESS_SECONDS),
    /// Cells that wait for a flush.
    pending_cells: IntGauge,
    /// Events that added to a counter, by counter.
    counter_events_total: IntCounterVec("counter", &[]),
    /// Events that a `sum` or `distinct` counter left out, for they lack the number or value that it measures, by counter.
    unmeasured_events_total: IntCounterVec("counter", &[]),
    /// Records that could not be read as events and were kept in the dead-letter topic.
    dead_letters_total: IntCounter,
    /// Dead letters that could not be stored at the first try.
    dead_letter_retries_total: IntCounter,
    /// 1 while a partition is stopped, by partition; the reason is in /api/v1/status.
    partition_stopped: IntGaugeVec("partition"),
    /// 1 while a partition with records to count has not got on for 30 seconds; the log says what it waits for.
    partition_stalled: IntGaugeVec("partition"),
    /// 1 while a partition waits because too much is pending, by partition.
    partition_paused: IntGaugeVec("partition"),
    /// Requests that the query side answered, by status code.
    query_requests_total: IntCounterVec("code", QUERY_CODES),
    /// Events that this process published: accepted (stored), rejected (against the rules of events, not sent), or failed
    /// (not acknowledged: it is open whether they are stored).
    published_events_total: IntCounterVec("result", RESULTS),
    /// Seconds that the query side took to answer.
    query_request_seconds: Histogram(INGEST_SECONDS),
    /// Live pages that are connected at the moment.
    live_streams: IntGauge,
    /// Times that a live page read too slowly, and got a new snapshot for what it had missed.
    live_slow_readers_total: IntCounter,
    /// Listeners to the live tail that are connected at the moment.
    tail_listeners: IntGauge,
    /// Entries of the live tail that a listener did not get: it was too slow, there were too many at a time (they are
    /// counted all the same), or they had to go before they were handed on.
    tail_dropped_entries_total: IntCounterVec("why", &["slow_reader", "rate", "ring"]),
    /// Times that the live tail could not be published, because the store was away.
    tail_publish_errors_total: IntCounter,
    /// Tokens that readers sent, by what came of it: a log-in that succeeded, a wrong token, or a wrong one after too
    /// many others of its address.
    logins_total: IntCounterVec("result", &["accepted", "refused", "limited"]),
    /// Messages that a worker is done with, by consumer group and by what came of them: handled, duplicate (its event
    /// was handled before), skipped (nobody wants it) or dead_lettered.
    worker_events_total: GroupCounterVec("group", "result"),
    /// Attempts of workers that failed, by consumer group and by kind: retryable,
    /// permanent, timeout, panic or unavailable.
    worker_failures_total: GroupCounterVec("group", "kind"),
    /// Seconds that a worker's handler took for one attempt, by consumer group.
    worker_handler_seconds: HistogramVec("group", HANDLER_SECONDS),
    /// Messages that a worker has read and is not done with, by consumer group.
    worker_in_flight: IntGaugeVec("group"),
    /// Workers whose circuit breaker is open, by consumer group: what their handler needs is away, and the topic waits.
    worker_breaker_open: IntGaugeVec("group"),
    /// Records that were gone before a worker's group had read them, by consumer group.
    worker_lost_records_total: IntCounterVec("group", &[]),
    /// Records that a worker's group has not committed yet, by consumer group and partition.
    worker_lag_records: IntGaugeVec("group", "partition"),
    /// Age in seconds of the oldest record that a worker is not done with, by consumer group and partition; 0 when it is
    /// done with all.
    worker_lag_seconds: GaugeVec("group", "partition"),
    /// 1 while a role of this process can do its job, 0 while it cannot; /readyz says why.
    ready: IntGaugeVec("role"),
    /// 1, with the version of the program as a label.
    build_info: IntGaugeVec("version"),
}

fn register(registry: &Registry, metric: impl Collector + 'static) -> Result<(), prometheus::Error> {
    registry.register(Box::new(metric))
}

impl Metrics {
    fn with_process(self) -> Result<Metrics, prometheus::Error> {
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        register(&self.registry, prometheus::process_collector::ProcessCollector::for_self())?;
        Ok(self)
    }

    /// All metrics in the Prometheus text format.
    ///
    /// # Errors
    /// When the encoder refuses a metric, which a test rules out.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|e| prometheus::Error::Msg(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_renders_with_its_label_sets_at_zero() {
        let text = Metrics::new().unwrap().render().unwrap();
        assert!(text.contains("streamgauge_processed_events_total{outcome=\"expired\"} 0"));
        assert!(text.contains("# HELP streamgauge_pending_cells Cells that wait for a flush."));
        assert!(text.contains("streamgauge_build_info{version=\"0.1.0\"} 1"));
        assert!(text.contains("process_resident_memory_bytes"));
    }
}
