use super::values::{self, Spot};
use crate::counter::{Gap, Keyed};
use crate::store::merged::Addition;
use crate::store::{Flush, Flushed, PartitionFlush};
use rusqlite::{Connection, OptionalExtension, params};

/// Rows deleted by one flush at most, so that none takes long.
const DELETED: i64 = 2_000;

/// The conflict, if any partition's stored offset is not as expected.
pub(super) fn conflict(connection: &Connection, flush: &Flush) -> rusqlite::Result<Option<Flushed>> {
    let sql = "SELECT next_offset FROM store_partition WHERE topic = ?1 AND partition = ?2";
    let mut select = connection.prepare_cached(sql)?;
    let mut stored = Vec::with_capacity(flush.parts.len());
    for part in &flush.parts {
        let offset = select.query_row(params![flush.topic, part.partition], |row| row.get(0)).optional()?;
        stored.push((part.partition, offset.flatten()));
    }
    let same = flush.parts.iter().zip(&stored).all(|(part, (_, offset))| part.expected == *offset);
    Ok((!same).then_some(Flushed::Conflict(stored)))
}

pub(super) fn apply(connection: &Connection, flush: &Flush, additions: &[Addition<'_>]) -> rusqlite::Result<()> {
    additions.iter().try_for_each(|addition| add(connection, addition))?;
    for part in &flush.parts {
        note_condition(connection, flush, part)?;
        move_on(connection, flush, part)?;
    }
    Ok(())
}

fn add(connection: &Connection, addition: &Addition<'_>) -> rusqlite::Result<()> {
    let series = series(connection, addition)?;
    let mut held = connection.prepare_cached("SELECT keys FROM store_sum WHERE series = ?1 AND start = ?2")?;
    let held = held.query_row(params![series, addition.start], |row| row.get(0)).optional()?.unwrap_or(0_u64);
    let mut room = addition.max_keys.saturating_sub(held);
    let (mut fresh, mut other) = (0_u64, 0_u64);
    let mut update = connection
        .prepare_cached("UPDATE store_key SET count = count + ?4 WHERE series = ?1 AND start = ?2 AND key = ?3")?;
    let mut insert = connection.prepare_cached("INSERT INTO store_key VALUES (?1, ?2, ?3, ?4)")?;
    let start = addition.start;
    values::add(connection, Spot { series, start, key: None }, addition.measure)?;
    for Keyed { key, count, measure } in &addition.keys {
        if update.execute(params![series, start, key, count])? == 0 {
            if room == 0 {
                other += count;
                continue;
            }
            insert.execute(params![series, start, key, count])?;
            room -= 1;
            fresh += 1;
        }
        values::add(connection, Spot { series, start, key: Some(key) }, *measure)?;
    }
    let mut sum = connection.prepare_cached(
        "INSERT INTO store_sum (series, start, total, other, keys) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET
           total = total + excluded.total, other = other + excluded.other, keys = keys + excluded.keys",
    )?;
    sum.execute(params![series, addition.start, addition.total, other, fresh]).map(drop)
}

/// The number that stands for a counter's window; given when it is first counted.
fn series(connection: &Connection, addition: &Addition<'_>) -> rusqlite::Result<i64> {
    let Addition { counter, window, lasts_s, .. } = addition;
    let mut select = connection.prepare_cached("SELECT series FROM store_series WHERE counter = ?1 AND window = ?2")?;
    if let Some(series) = select.query_row(params![counter, window], |row| row.get(0)).optional()? {
        return Ok(series);
    }
    let mut insert =
        connection.prepare_cached("INSERT INTO store_series (counter, window, lasts) VALUES (?1, ?2, ?3)")?;
    insert.insert(params![counter, window, lasts_s])
}

fn note_condition(connection: &Connection, flush: &Flush, part: &PartitionFlush) -> rusqlite::Result<()> {
    let condition = &part.condition;
    let mut upsert = connection.prepare_cached(
        "INSERT INTO store_partition (topic, partition, partitions, state, reason, updated_at, high_watermark)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET
           partitions = excluded.partitions, state = excluded.state, reason = excluded.reason,
           updated_at = excluded.updated_at, high_watermark = coalesce(excluded.high_watermark, high_watermark)",
    )?;
    let reason = condition.reason.as_deref().filter(|reason| !reason.is_empty());
    let (state, high_watermark) = (condition.state.name(), condition.high_watermark);
    let values =
        params![flush.topic, part.partition, condition.partitions, state, reason, flush.now_ms, high_watermark];
    upsert.execute(values)?;
    let mut missing = connection.prepare_cached(match &condition.missing {
        Some(_) => {
            "INSERT INTO store_gap (topic, partition, missing) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET missing = excluded.missing"
        }
        None => "UPDATE store_gap SET missing = ?3 WHERE topic = ?1 AND partition = ?2",
    })?;
    missing.execute(params![flush.topic, part.partition, condition.missing]).map(drop)
}

fn move_on(connection: &Connection, flush: &Flush, part: &PartitionFlush) -> rusqlite::Result<()> {
    let Some(segment) = &part.segment else { return Ok(()) };
    let mut update = connection.prepare_cached(
        "UPDATE store_partition SET
           start_offset = CASE
             WHEN ?15 IS NOT NULL THEN ?15 WHEN next_offset IS NULL THEN ?3 ELSE start_offset END,
           next_offset = ?4,
           watermark = max(coalesce(watermark, ?5), coalesce(?5, watermark)),
           fingerprint = CASE WHEN ?15 IS NOT NULL THEN ?6 ELSE coalesce(?6, fingerprint) END,
           consumed = consumed + ?7, counted = counted + ?8, duplicate = duplicate + ?9, filtered = filtered + ?10,
           expired = expired + ?11, dead_lettered = dead_lettered + ?12, skipped = skipped + ?13, lost = lost + ?14
         WHERE topic = ?1 AND partition = ?2",
    )?;
    let l = &segment.ledger;
    let fingerprint = segment.fingerprint.map(|print| print.to_string());
    let values = params![
        flush.topic,
        part.partition,
        segment.from,
        segment.to,
        segment.watermark.ms(),
        fingerprint,
        l.consumed,
        l.counted,
        l.duplicate,
        l.filtered,
        l.expired,
        l.dead_lettered,
        l.skipped,
        l.lost,
        segment.gap.map(|gap| gap.start_offset),
    ];
    update.execute(values)?;
    segment.gap.map_or(Ok(()), |gap| note_gap(connection, flush, part.partition, gap))
}

fn note_gap(connection: &Connection, flush: &Flush, partition: i32, gap: Gap) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO store_gap (topic, partition, lost_from, lost_until) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET
           accepted = NULL,
           lost_from = min(coalesce(lost_from, ?3), ?3), lost_until = max(coalesce(lost_until, ?4), ?4)",
    )?;
    upsert.execute(params![flush.topic, partition, gap.missing_ms.0, gap.missing_ms.1]).map(drop)
}

pub(super) fn accept_gap(connection: &Connection, topic: &str, partition: i32, at: &str) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO store_gap (topic, partition, accepted) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET accepted = excluded.accepted",
    )?;
    upsert.execute(params![topic, partition, at]).map(drop)
}

/// Deletes buckets past their retention, a bounded number of rows; whether that was all of them.
pub(super) fn expire(connection: &Connection, now_ms: i64) -> rusqlite::Result<bool> {
    let mut select = connection.prepare_cached("SELECT series, lasts FROM store_series")?;
    let all: Vec<(i64, i64)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut keys = connection.prepare_cached(
        "DELETE FROM store_key WHERE (series, start, key) IN
           (SELECT series, start, key FROM store_key WHERE series = ?1 AND start <= ?2 LIMIT ?3)",
    )?;
    let mut amounts = connection.prepare_cached(
        "DELETE FROM store_amount WHERE (series, start, keyed, key) IN
           (SELECT series, start, keyed, key FROM store_amount WHERE series = ?1 AND start <= ?2 LIMIT ?3)",
    )?;
    let mut distinct = connection.prepare_cached(
        "DELETE FROM store_distinct WHERE (series, start, keyed, key) IN
           (SELECT series, start, keyed, key FROM store_distinct WHERE series = ?1 AND start <= ?2 LIMIT ?3)",
    )?;
    let mut sums = connection.prepare_cached(
        "DELETE FROM store_sum WHERE (series, start) IN
           (SELECT series, start FROM store_sum WHERE series = ?1 AND start <= ?2 LIMIT ?3)",
    )?;
    let mut left = DELETED;
    for (series, lasts) in all {
        let last = now_ms.div_euclid(1_000).saturating_sub(lasts);
        // Sums go after their keys: they say how many keys there are.
        for delete in [&mut keys, &mut amounts, &mut distinct, &mut sums] {
            left -= i64::try_from(delete.execute(params![series, last, left])?).unwrap_or(left);
            if left <= 0 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
