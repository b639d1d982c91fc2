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

    /// Whether records of this range, in unix seconds, may be among those that were lost.
    pub(super) fn is_incomplete(&self, start: i64, end: i64) -> bool {
        let lost = self.0.iter().flatten().filter_map(|row| row.lost_ms);
        lost.into_iter().any(|(from, until)| start.saturating_mul(1_000) <= until && from < end.saturating_mul(1_000))
    }

    /// When the partition that was written the longest ago was written, in ms.
    pub(super) fn data_as_of_ms(&self) -> Option<i64> {
        self.0.iter().flatten().map(|row| row.updated_at_ms).min()
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
