use crate::store::{CounterStore, StoreError, StoredPartition};

/// Partitions to ask for before it is known how many there are. Few topics have more, and a row that is not there
/// costs little.
const FIRST: i32 = 64;
/// A number of partitions above this is a damaged row, not a topic.
const MOST: i32 = 100_000;

/// All partitions of the topic as the store knows them, by number.
#[derive(Debug)]
pub struct Partitions(pub Vec<Option<StoredPartition>>);

impl Partitions {
    /// Reads them. How many the topic has is known from any row; before the first row there are none.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn read(store: &dyn CounterStore, topic: &str) -> Result<Partitions, StoreError> {
        let ids: Vec<i32> = (0..FIRST).collect();
        let mut rows = store.partitions(topic, &ids).await?;
        let declared = rows.iter().flatten().map(|row| row.condition.partitions).max().unwrap_or(0).clamp(0, MOST);
        if declared > FIRST {
            let rest: Vec<i32> = (FIRST..declared).collect();
            rows.extend(store.partitions(topic, &rest).await?);
        }
        // A row beyond the declared number is still somebody's count.
        let written = rows.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        rows.truncate(written.max(usize::try_from(declared).unwrap_or(0)));
        Ok(Partitions(rows))
    }

    /// Up to when every event is in, in ms: the lowest watermark. `None` while any partition has none.
    pub(super) fn complete_until_ms(&self) -> Option<i64> {
        let watermarks: Option<Vec<i64>> = self.0.iter().map(|row| row.as_ref()?.watermark_ms).collect();
        watermarks?.into_iter().min()
    }

    /// What is known of the windows of a counter that counts since then, in unix seconds.
    pub(super) fn coverage(&self, since: Option<i64>) -> Coverage {
        let lost_ms = self.0.iter().flatten().filter_map(|row| row.lost_ms).collect();
        Coverage { complete_until_ms: self.complete_until_ms(), since, lost_ms }
    }

    /// When the partition that was written the longest ago was written, in ms.
    pub(super) fn data_as_of_ms(&self) -> Option<i64> {
        self.0.iter().flatten().map(|row| row.updated_at_ms).min()
    }
}

/// How much of a counter's windows was counted. Known before their counts are read, so that none is called final with a
/// count from before that.
#[derive(Debug)]
pub(super) struct Coverage {
    complete_until_ms: Option<i64>,
    /// A counter that the store does not know never counted anything.
    since: Option<i64>,
    /// The times of records that were lost, from and until.
    lost_ms: Vec<(i64, i64)>,
}

impl Coverage {
    /// Whether every event is in of a window that ends then, in unix seconds.
    pub(super) fn is_final(&self, end: i64) -> bool {
        self.complete_until_ms.is_some_and(|until| end.saturating_mul(1_000) <= until)
    }

    /// Whether the counter did not exist for all of a window, in unix seconds, or records of it may be lost.
    pub(super) fn is_partial(&self, start: i64, end: i64) -> bool {
        let (start_ms, end_ms) = (start.saturating_mul(1_000), end.saturating_mul(1_000));
        let is_lost = |(from, until): &(i64, i64)| start_ms <= *until && *from < end_ms;
        self.since.is_none_or(|since| start < since) || self.lost_ms.iter().any(is_lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fake::{Fake, row};

    async fn read(fake: &Fake) -> Partitions {
        Partitions::read(fake, "t").await.unwrap()
    }

    #[tokio::test]
    async fn a_topic_that_nobody_counted_has_none() {
        let none = read(&Fake::default()).await;
        assert!(none.0.is_empty());
        assert_eq!((none.complete_until_ms(), none.data_as_of_ms()), (None, None));
    }

    #[tokio::test]
    async fn a_partition_without_a_row_keeps_the_topic_from_being_complete() {
        let fake = Fake::default();
        fake.put(0, row(3, 5_000, 9_000));
        fake.put(2, row(3, 4_000, 8_000));
        let gap = read(&fake).await;
        assert_eq!(gap.0.len(), 3);
        assert_eq!((gap.complete_until_ms(), gap.data_as_of_ms()), (None, Some(8_000)));
        fake.put(1, row(3, 6_000, 9_000));
        assert_eq!(read(&fake).await.complete_until_ms(), Some(4_000));
    }

    #[test]
    fn a_window_is_partial_where_anything_of_it_may_be_missing() {
        let mut lost = row(2, 30_000, 1);
        lost.lost_ms = Some((12_000, 19_999));
        let partitions = Partitions(vec![Some(row(2, 30_000, 1)), Some(lost)]);
        let coverage = partitions.coverage(Some(5));
        let partial = [(0, 5), (5, 10), (5, 12), (5, 13), (12, 13), (19, 20), (20, 30)];
        let partial = partial.map(|(start, end)| coverage.is_partial(start, end));
        assert_eq!(partial, [true, false, false, true, true, true, false]);
        assert!(coverage.is_final(30) && !coverage.is_final(31));
        assert!(partitions.coverage(None).is_partial(20, 30));
        assert!(!Partitions(vec![None]).coverage(Some(0)).is_final(i64::MIN));
    }

    #[tokio::test]
    async fn more_partitions_than_are_asked_for_at_first_are_all_read() {
        let fake = Fake::default();
        (0..100).for_each(|n| fake.put(n, row(100, 1_000 + i64::from(n), 9_000)));
        let all = read(&fake).await;
        assert_eq!(all.0.len(), 100);
        assert_eq!(all.complete_until_ms(), Some(1_000));
    }

    #[tokio::test]
    async fn a_damaged_row_takes_no_memory() {
        let fake = Fake::default();
        fake.put(0, row(i32::MAX, 1, 1));
        assert_eq!(read(&fake).await.0.len(), 100_000);
        fake.put(0, row(-1, 1, 1));
        assert_eq!(read(&fake).await.0.len(), 1);
    }
}
