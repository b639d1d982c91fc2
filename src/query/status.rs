use super::partitions::Partitions;
use super::time::seconds;
use crate::counter::Ledger;
use crate::store::{PartitionState, StoredPartition};
use serde::Serialize;

const NOT_COUNTED: &str = "not counted yet: no processor has taken it";

/// The answer of `/api/v1/status`.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    data_as_of: Option<f64>,
    complete_until: Option<f64>,
    unaccounted: u64,
    partitions: Vec<Partition<'a>>,
}

/// One partition. One that was never written is listed as stopped, with nulls: it holds records that nobody counts.
#[derive(Debug, Serialize)]
struct Partition<'a> {
    topic: &'a str,
    partition: usize,
    start_offset: Option<i64>,
    next_offset: Option<i64>,
    high_watermark: Option<i64>,
    /// Records that are not counted yet, as of the last flush.
    lag_records: Option<i64>,
    /// 0 when all is counted; else the age of the watermark, so `lateness` more than that of the newest event counted.
    lag_seconds: Option<f64>,
    watermark: Option<i64>,
    state: PartitionState,
    reason: Option<&'a str>,
    updated_at: Option<i64>,
    ledger: Ledger,
}

impl<'a> Status<'a> {
    /// The state of all partitions, seen at `now_ms`.
    pub(super) fn of(topic: &'a str, partitions: &'a Partitions, now_ms: i64) -> Status<'a> {
        let rows = partitions.0.iter().enumerate();
        Status {
            data_as_of: partitions.data_as_of_ms().map(seconds),
            complete_until: partitions.complete_until_ms().map(seconds),
            unaccounted: partitions.0.iter().flatten().map(unaccounted).fold(0, u64::saturating_add),
            partitions: rows
                .map(|(n, row)| match row {
                    Some(row) => Partition::written(topic, n, row, now_ms),
                    None => Partition::never_written(topic, n),
                })
                .collect(),
        }
    }
}

fn unaccounted(row: &StoredPartition) -> u64 {
    let offsets = row.next_offset.zip(row.start_offset).map_or(0, |(next, start)| next.saturating_sub(start));
    row.ledger.unaccounted(offsets)
}

impl<'a> Partition<'a> {
    fn written(topic: &'a str, partition: usize, row: &'a StoredPartition, now_ms: i64) -> Partition<'a> {
        let ends = row.condition.high_watermark.zip(row.next_offset);
        let lag_records = ends.map(|(end, next)| end.saturating_sub(next).max(0));
        let age = row.watermark_ms.map(|watermark| seconds(now_ms.saturating_sub(watermark).max(0)));
        let lag_seconds = lag_records.and_then(|lag| if lag == 0 { Some(0.0) } else { age });
        Partition {
            topic,
            partition,
            start_offset: row.start_offset,
            next_offset: row.next_offset,
            high_watermark: row.condition.high_watermark,
            lag_records,
            lag_seconds,
            watermark: row.watermark_ms,
            state: row.condition.state,
            reason: row.condition.reason.as_deref(),
            updated_at: Some(row.updated_at_ms),
            ledger: row.ledger,
        }
    }

    fn never_written(topic: &'a str, partition: usize) -> Partition<'a> {
        Partition {
            topic,
            partition,
            start_offset: None,
            next_offset: None,
            high_watermark: None,
            lag_records: None,
            lag_seconds: None,
            watermark: None,
            state: PartitionState::Stopped,
            reason: Some(NOT_COUNTED),
            updated_at: None,
            ledger: Ledger::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fake::row;
    use serde_json::{Value, json};

    fn status(rows: Vec<Option<StoredPartition>>) -> Value {
        serde_json::to_value(Status::of("t", &Partitions(rows), 20_500)).unwrap()
    }

    #[test]
    fn every_field_of_a_partition_is_told() {
        let mut behind = row(1, 12_000, 19_250);
        behind.condition.high_watermark = Some(17);
        assert_eq!(
            status(vec![Some(behind)]),
            json!({"data_as_of": 19.25, "complete_until": 12.0, "unaccounted": 0, "partitions": [{
                "topic": "t", "partition": 0, "start_offset": 0, "next_offset": 10, "high_watermark": 17,
                "lag_records": 7, "lag_seconds": 8.5, "watermark": 12_000, "state": "running", "reason": null,
                "updated_at": 19_250, "ledger": {"consumed": 10, "counted": 10, "duplicate": 0, "filtered": 0,
                    "expired": 0, "dead_lettered": 0, "skipped": 0, "lost": 0}}]})
        );
    }

    #[test]
    fn a_partition_that_was_never_taken_is_listed_as_stopped() {
        let status = status(vec![Some(row(2, 1, 1)), None]);
        assert_eq!(status["complete_until"], Value::Null);
        assert_eq!(status["partitions"][1]["state"], "stopped");
        assert_eq!(status["partitions"][1]["next_offset"], Value::Null);
        assert!(status["partitions"][1]["reason"].as_str().unwrap().contains("no processor has taken it"));
    }

    #[test]
    fn lag_is_never_negative_and_null_while_unknown() {
        let (mut ahead, mut unknown, mut future) = (row(3, 12_000, 1), row(3, 12_000, 1), row(3, 90_000, 1));
        ahead.condition.high_watermark = Some(5);
        unknown.condition.high_watermark = None;
        future.condition.high_watermark = Some(11);
        let status = status(vec![Some(ahead), Some(unknown), Some(future)]);
        let lag = |n: usize| (&status["partitions"][n]["lag_records"], &status["partitions"][n]["lag_seconds"]);
        assert_eq!(lag(0), (&json!(0), &json!(0.0)));
        assert_eq!(lag(1), (&Value::Null, &Value::Null));
        assert_eq!(lag(2), (&json!(1), &json!(0.0)));
    }

    #[test]
    fn what_no_ledger_explains_is_added_up() {
        let (mut one, mut other) = (row(2, 1, 1), row(2, 1, 1));
        one.next_offset = Some(12);
        other.ledger.counted = 9;
        assert_eq!(status(vec![Some(one), Some(other)])["unaccounted"], 3);
    }
}
