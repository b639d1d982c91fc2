use super::RedisStore;
use crate::counter::{Amounts, Kind, Registers};
use crate::store::parts::Parts;
use crate::store::{Keys, Read, StoreError, StoredBucket, StoredValue};
use ::redis::{FromRedisValue, Pipeline, Value, from_redis_value, pipe};
use std::collections::HashMap;

/// Buckets of one transaction, by what it costs: Redis does nothing else meanwhile.
const SUMS: usize = 50;
const WHOLE: usize = 8;
/// Lengths asked for in one go.
const LENGTHS: usize = 1_000;
/// Sets asked for in one go: 12 KiB each.
const SETS: usize = 64;

/// A bucket while its shards are added up.
#[derive(Default)]
struct Sum {
    bucket: StoredBucket,
    keys: HashMap<String, u64>,
    amounts: Option<Amounts>,
    of_keys: HashMap<String, Amounts>,
    registers: Option<Registers>,
}

/// What Redis answered to a question, one reply after the other.
struct Replies<'a> {
    store: &'a RedisStore,
    read: &'a Read,
    replies: std::vec::IntoIter<Value>,
}

impl RedisStore {
    pub(super) async fn read_buckets(&self, read: &Read) -> Result<Vec<StoredBucket>, StoreError> {
        let chunk = if read.keys == Keys::All { WHOLE } else { SUMS };
        let mut buckets = Vec::with_capacity(read.starts.len());
        for starts in read.starts.chunks(chunk) {
            for (start, sum) in starts.iter().zip(self.sums(read, starts).await?) {
                let mut bucket = sum.whole();
                if read.kind == Kind::Distinct {
                    bucket.values = self.distinct_of_keys(read, *start, &bucket.keys).await?;
                }
                buckets.push(bucket);
            }
        }
        Ok(buckets)
    }

    async fn sums(&self, read: &Read, starts: &[i64]) -> Result<Vec<Sum>, StoreError> {
        let mut sums: Vec<Sum> = starts.iter().map(|_| Sum::default()).collect();
        for shard in 0..self.shards {
            let replies: Vec<Value> = self.link.pipeline(&self.question(read, shard, starts)).await?;
            let mut replies = Replies { store: self, read, replies: replies.into_iter() };
            sums.iter_mut().try_for_each(|sum| replies.add_to(sum))?;
        }
        Ok(sums)
    }

    /// A transaction, so that sum and keys of a bucket are of one moment.
    fn question(&self, read: &Read, shard: u32, starts: &[i64]) -> Pipeline {
        let Read { counter, window, kind, .. } = read;
        let mut pipeline = pipe();
        pipeline.atomic();
        for start in starts {
            pipeline.cmd("HMGET").arg(self.names.sum(shard, counter, window, *start)).arg(&["total", "other"]);
            match kind {
                Kind::Count => {}
                Kind::Sum => {
                    pipeline.arg(&AMOUNTS);
                }
                Kind::Distinct => {
                    pipeline.cmd("GET").arg(self.names.distinct(shard, counter, window, *start, None));
                }
            }
            let keys = self.names.keys(shard, counter, window, *start);
            let amounts = self.names.amounts(shard, counter, window, *start);
            let is_sum = *kind == Kind::Sum;
            match &read.keys {
                Keys::None => {}
                Keys::One(key) => {
                    pipeline.cmd("HGET").arg(keys).arg(key);
                    if is_sum {
                        pipeline.cmd("HMGET").arg(amounts).arg(&AMOUNTS.map(|name| format!("{name}:{key}")));
                    }
                }
                Keys::All => {
                    pipeline.cmd("HGETALL").arg(keys);
                    if is_sum {
                        pipeline.cmd("HGETALL").arg(amounts);
                    }
                }
            }
        }
        pipeline
    }

    /// How many different values each key of a bucket had, about.
    async fn distinct_of_keys(
        &self,
        read: &Read,
        start: i64,
        keys: &[(String, u64)],
    ) -> Result<HashMap<String, StoredValue>, StoreError> {
        let mut values = HashMap::with_capacity(keys.len());
        for some in keys.chunks(SETS) {
            let names = |shard| {
                some.iter()
                    .map(move |(key, _)| self.names.distinct(shard, &read.counter, &read.window, start, Some(key)))
            };
            let mut sets = vec![Registers::default(); some.len()];
            for shard in 0..self.shards {
                self.unite(names(shard), sets.iter_mut()).await?;
            }
            let distinct = sets.iter().map(|set| StoredValue::Distinct(set.estimate()));
            values.extend(some.iter().map(|(key, _)| key.clone()).zip(distinct));
        }
        Ok(values)
    }

    pub(super) async fn united_buckets(&self, read: &Read) -> Result<Registers, StoreError> {
        let key = if let Keys::One(key) = &read.keys { Some(key.as_str()) } else { None };
        let mut all = Registers::default();
        for starts in read.starts.chunks(SETS) {
            for shard in 0..self.shards {
                let names =
                    starts.iter().map(|start| self.names.distinct(shard, &read.counter, &read.window, *start, key));
                let mut sets = vec![Registers::default(); starts.len()];
                self.unite(names, sets.iter_mut()).await?;
                sets.iter().for_each(|set| all.unite(set));
            }
        }
        Ok(all)
    }

    /// Adds the sets of these names to those.
    async fn unite<'a>(
        &self,
        names: impl Iterator<Item = String>,
        sets: impl Iterator<Item = &'a mut Registers>,
    ) -> Result<(), StoreError> {
        let mut pipeline = pipe();
        for name in names {
            pipeline.cmd("GET").arg(name);
        }
        let stored: Vec<Option<Vec<u8>>> = self.link.pipeline(&pipeline).await?;
        for (set, stored) in sets.zip(stored) {
            if let Some(stored) = stored {
                set.unite(&self.registers(&stored)?);
            }
        }
        Ok(())
    }

    fn registers(&self, stored: &[u8]) -> Result<Registers, StoreError> {
        Registers::read(stored).map_err(|e| self.corrupt(format!("what a counter tells apart is {e}")))
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

/// Fields of amounts: those of a key are followed by a colon and the key.
const AMOUNTS: [&str; 4] = ["value", "value_high", "min", "max"];

impl Replies<'_> {
    fn add_to(&mut self, sum: &mut Sum) -> Result<(), StoreError> {
        let counts: Vec<Option<i64>> = self.next("`total`, `other` or an amount is no number")?;
        let count =
            |at: usize| u64::try_from(counts.get(at).copied().flatten().unwrap_or_default()).unwrap_or_default();
        sum.bucket.total += count(0);
        sum.bucket.other += count(1);
        match self.read.kind {
            Kind::Count => {}
            Kind::Sum => add(&mut sum.amounts, amounts(counts.get(2..).unwrap_or_default())),
            Kind::Distinct => {
                let stored: Option<Vec<u8>> = self.next("its set is no text")?;
                let stored = stored.map(|stored| self.store.registers(&stored)).transpose()?;
                sum.registers.get_or_insert_default().unite(&stored.unwrap_or_default());
            }
        }
        match &self.read.keys {
            Keys::None => Ok(()),
            Keys::One(key) => self.add_key(sum, key),
            Keys::All => self.add_keys(sum),
        }
    }

    fn add_key(&mut self, sum: &mut Sum, key: &str) -> Result<(), StoreError> {
        let count: Option<u64> = self.next("a key has no count")?;
        count.into_iter().for_each(|n| *sum.keys.entry(key.to_owned()).or_default() += n);
        if self.read.kind == Kind::Sum {
            let found: Vec<Option<i64>> = self.next("a key's amount is no number")?;
            add_for(sum, key, amounts(&found));
        }
        Ok(())
    }

    fn add_keys(&mut self, sum: &mut Sum) -> Result<(), StoreError> {
        let all: HashMap<String, u64> = self.next("a key has no count")?;
        let found: HashMap<String, i64> =
            if self.read.kind == Kind::Sum { self.next("a key's amount is no number")? } else { HashMap::new() };
        for (key, n) in all {
            if !found.is_empty() {
                add_for(sum, &key, amounts(&AMOUNTS.map(|name| found.get(&format!("{name}:{key}")).copied())));
            }
            *sum.keys.entry(key).or_default() += n;
        }
        Ok(())
    }

    fn next<T: FromRedisValue>(&mut self, or: &str) -> Result<T, StoreError> {
        let Read { counter, window, .. } = self.read;
        let wrong = |what: &str| self.store.corrupt(format!("a bucket of {counter} {window}: {what}"));
        let reply = self.replies.next().ok_or_else(|| wrong("too few replies"))?;
        from_redis_value(reply).map_err(|_| wrong(or))
    }
}

impl Sum {
    fn whole(self) -> StoredBucket {
        let mut bucket = self.bucket;
        bucket.keys = self.keys.into_iter().collect();
        bucket.value = self.amounts.map(StoredValue::Amounts);
        // An empty set says 0; whether anything was counted is what `total` says.
        let distinct = self.registers.filter(|_| bucket.total > 0).map(|set| StoredValue::Distinct(set.estimate()));
        bucket.value = bucket.value.or(distinct);
        bucket.values = self.of_keys.into_iter().map(|(key, amounts)| (key, StoredValue::Amounts(amounts))).collect();
        bucket
    }
}

/// Amounts of these fields, if they are there.
fn amounts(found: &[Option<i64>]) -> Option<Amounts> {
    let [low, high, min, max] = *found else { return None };
    let sum = Parts { high: high.unwrap_or_default(), low: low? }.into();
    Some(Amounts { sum, min: min?, max: max? })
}

fn add(to: &mut Option<Amounts>, amounts: Option<Amounts>) {
    match (to, amounts) {
        (Some(to), Some(amounts)) => to.add(&amounts),
        (to @ None, amounts) => *to = amounts,
        (Some(_), None) => {}
    }
}

fn add_for(sum: &mut Sum, key: &str, amounts: Option<Amounts>) {
    if let Some(amounts) = amounts {
        let of_key = sum.of_keys.entry(key.to_owned());
        of_key.and_modify(|sum| sum.add(&amounts)).or_insert(amounts);
    }
}
