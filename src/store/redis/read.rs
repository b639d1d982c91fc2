use super::RedisStore;
use crate::store::{Keys, Read, StoreError, StoredBucket};
use ::redis::{Pipeline, Value, from_redis_value, pipe};
use std::collections::HashMap;

/// Buckets of one transaction, by what it costs: Redis does nothing else meanwhile.
const SUMS: usize = 50;
const WHOLE: usize = 8;
/// Lengths asked for in one go.
const LENGTHS: usize = 1_000;

impl RedisStore {
    pub(super) async fn read_buckets(&self, read: &Read) -> Result<Vec<StoredBucket>, StoreError> {
        let chunk = if read.keys == Keys::All { WHOLE } else { SUMS };
        let mut buckets = Vec::with_capacity(read.starts.len());
        for starts in read.starts.chunks(chunk) {
            let mut sums = vec![StoredBucket::default(); starts.len()];
            let mut keys = vec![HashMap::new(); starts.len()];
            for shard in 0..self.shards {
                let replies: Vec<Value> = self.link.pipeline(&self.question(read, shard, starts)).await?;
                self.add_up(read, replies, &mut sums, &mut keys)?;
            }
            buckets.extend(sums.into_iter().zip(keys).map(|(sum, keys)| with_keys(sum, keys)));
        }
        Ok(buckets)
    }

    /// A transaction, so that sum and keys of a bucket are of one moment.
    fn question(&self, read: &Read, shard: u32, starts: &[i64]) -> Pipeline {
        let mut pipeline = pipe();
        pipeline.atomic();
        for start in starts {
            let (counter, window) = (&read.counter, &read.window);
            pipeline.cmd("HMGET").arg(self.names.sum(shard, counter, window, *start)).arg("total").arg("other");
            let keys = self.names.keys(shard, counter, window, *start);
            match &read.keys {
                Keys::None => {}
                Keys::One(key) => {
                    pipeline.cmd("HGET").arg(keys).arg(key);
                }
                Keys::All => {
                    pipeline.cmd("HGETALL").arg(keys);
                }
            }
        }
        pipeline
    }

    fn add_up(
        &self,
        read: &Read,
        replies: Vec<Value>,
        sums: &mut [StoredBucket],
        keys: &mut [HashMap<String, u64>],
    ) -> Result<(), StoreError> {
        let wrong = |what: &str| self.corrupt(format!("a bucket of {} {}: {what}", read.counter, read.window));
        let mut replies = replies.into_iter();
        let mut next = || replies.next().ok_or_else(|| wrong("too few replies"));
        for (sum, keys) in sums.iter_mut().zip(keys) {
            let [total, other]: [Option<u64>; 2] =
                from_redis_value(next()?).map_err(|_| wrong("`total` or `other` is no count"))?;
            sum.total += total.unwrap_or_default();
            sum.other += other.unwrap_or_default();
            match &read.keys {
                Keys::None => {}
                Keys::One(key) => {
                    let count: Option<u64> = from_redis_value(next()?).map_err(|_| wrong("a key has no count"))?;
                    count.into_iter().for_each(|n| *keys.entry(key.clone()).or_default() += n);
                }
                Keys::All => {
                    let all: HashMap<String, u64> =
                        from_redis_value(next()?).map_err(|_| wrong("a key has no count"))?;
                    all.into_iter().for_each(|(key, n)| *keys.entry(key).or_default() += n);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn count_keys(&self, counter: &str, window: &str, starts: &[i64]) -> Result<u64, StoreError> {
        let mut sum = 0;
        for starts in starts.chunks(LENGTHS) {
            for shard in 0..self.shards {
                let mut pipeline = pipe();
                for start in starts {
                    pipeline.cmd("HLEN").arg(self.names.keys(shard, counter, window, *start));
                }
                let lengths: Vec<u64> = self.link.pipeline(&pipeline).await?;
                sum += lengths.iter().sum::<u64>();
            }
        }
        Ok(sum)
    }
}

fn with_keys(mut sum: StoredBucket, keys: HashMap<String, u64>) -> StoredBucket {
    sum.keys = keys.into_iter().collect();
    sum
}
