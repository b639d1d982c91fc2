use super::RedisStore;
use super::script::Call;
use crate::counter::{Keyed, Measure};
use crate::store::merged::{Addition, additions, cells, merged};
use crate::store::parts::Parts;
use crate::store::{Flush, Flushed, PartitionFlush, StoreError};

impl RedisStore {
    pub(super) async fn flush_once(&self, flush: &Flush) -> Result<Flushed, StoreError> {
        let deltas = merged(flush, self.shards)?;
        let additions = additions(&deltas, flush.now_ms, &self.counters)?;
        let mut script = self.flush.call();
        script.arg(flush.now_ms).arg(flush.parts.len()).arg(additions.len());
        for part in &flush.parts {
            script.key(self.names.partition(flush.shard, &flush.topic, part.partition));
            add_part(&mut script, part);
        }
        for addition in &additions {
            self.add_bucket(&mut script, flush.shard, addition);
        }
        let answer: Vec<String> = self.link.script(&script).await?;
        match answer.split_first() {
            Some((word, [])) if word == "applied" => Ok(Flushed::Applied { cells: cells(&additions) }),
            Some((word, stored)) if word == "conflict" && stored.len() == flush.parts.len() => {
                let offsets = flush.parts.iter().zip(stored);
                offsets
                    .map(|(part, text)| Ok((part.partition, self.offset(part, text)?)))
                    .collect::<Result<_, _>>()
                    .map(Flushed::Conflict)
            }
            _ => Err(self.corrupt(format!("the flush script answered {answer:?}"))),
        }
    }

    fn add_bucket(&self, script: &mut Call<'_>, shard: u32, addition: &Addition<'_>) {
        let Addition { counter, window, start, measure, keys, .. } = addition;
        let distinct = |key| self.names.distinct(shard, counter, window, *start, key);
        let kind = match measure {
            Measure::Count => "count",
            Measure::Amounts(_) => "sum",
            Measure::Members(_) => "distinct",
        };
        script.key(self.names.sum(shard, counter, window, *start));
        script.arg(addition.total).arg(addition.expires_at()).arg(addition.max_keys).arg(keys.len()).arg(kind);
        add_measure(script, *measure);
        if !keys.is_empty() {
            script.key(self.names.keys(shard, counter, window, *start));
        }
        match measure {
            Measure::Amounts(_) if !keys.is_empty() => {
                script.key(self.names.amounts(shard, counter, window, *start));
            }
            Measure::Members(_) => {
                script.key(distinct(None));
                for keyed in keys {
                    script.key(distinct(Some(keyed.key)));
                }
            }
            Measure::Amounts(_) | Measure::Count => {}
        }
        for Keyed { key, count, measure } in keys {
            script.arg(key).arg(*count);
            add_measure(script, *measure);
        }
    }

    fn offset(&self, part: &PartitionFlush, text: &str) -> Result<Option<i64>, StoreError> {
        if text.is_empty() {
            return Ok(None);
        }
        let offset = text.parse().map(Some);
        offset.map_err(|_| self.corrupt(format!("next_offset of partition {} is {text:?}", part.partition)))
    }

    pub(super) fn corrupt(&self, problem: String) -> StoreError {
        StoreError::Corrupt { place: self.place.what.clone(), problem }
    }
}

fn add_measure(script: &mut Call<'_>, measure: Measure<'_>) {
    match measure {
        Measure::Count => {}
        Measure::Amounts(amounts) => {
            let Parts { high, low } = amounts.sum.into();
            script.arg(high).arg(low).arg(amounts.min).arg(amounts.max);
        }
        Measure::Members(members) => {
            script.arg(members.len());
            for (_, name) in members.iter() {
                script.arg(name);
            }
        }
    }
}

fn add_part(script: &mut Call<'_>, part: &PartitionFlush) {
    script.arg(text(part.expected));
    match &part.segment {
        None => {
            script.arg(["0", "", "", "", "", "", "", ""].as_slice());
        }
        Some(segment) => {
            script.arg("1").arg(segment.from).arg(segment.to);
            script.arg(text(segment.watermark.ms())).arg(text(segment.fingerprint));
            script.arg(text(segment.gap.map(|gap| gap.start_offset)));
            script.arg(text(segment.gap.map(|gap| gap.missing_ms.0)));
            script.arg(text(segment.gap.map(|gap| gap.missing_ms.1)));
        }
    }
    let condition = &part.condition;
    script.arg(text(condition.high_watermark)).arg(condition.partitions).arg(condition.state.name());
    script.arg(condition.reason.as_deref().unwrap_or_default());
    script.arg(condition.missing.as_deref().unwrap_or_default());
    let ledger = part.segment.as_ref().map(|segment| segment.ledger).unwrap_or_default();
    for (_, n) in ledger.fields() {
        script.arg(n);
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
