use crate::counter::{Counters, WindowSpec};
use crate::store::StoredCounter;
use serde::Serialize;

/// The answer of `/api/v1/counters`.
#[derive(Debug, Serialize)]
pub(super) struct CounterList<'a> {
    counters: Vec<Listed<'a>>,
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    name: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<u64>,
    event: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    only: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    except: &'a [String],
    by: &'a [String],
    windows: &'a [WindowSpec],
    max_keys: u64,
    since: Option<i64>,
}

impl<'a> CounterList<'a> {
    /// The configured counters, in their order, each with what the store knows of it.
    pub(super) fn of(counters: &'a Counters, stored: &[StoredCounter]) -> CounterList<'a> {
        let listed = counters.iter().map(|counter| {
            let spec = counter.spec();
            Listed {
                name: &spec.name,
                kind: spec.kind.name(),
                of: spec.of.as_deref(),
                factor: counter.factor(),
                event: &spec.event,
                only: &spec.only,
                except: &spec.except,
                by: &spec.by,
                windows: &spec.windows,
                max_keys: spec.max_keys,
                since: since(stored, &spec.name),
            }
        });
        CounterList { counters: listed.collect() }
    }
}

/// Since when a counter counts, in unix seconds; `None` while the store does not know it.
pub(super) fn since(stored: &[StoredCounter], name: &str) -> Option<i64> {
    stored.iter().find(|counter| counter.spec.name == name).map(|counter| counter.since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::default_specs;
    use serde_json::{Value, json};

    #[test]
    fn a_counter_is_listed_as_configured() {
        let counters = Counters::new(default_specs()).unwrap();
        let stored = [StoredCounter { spec: default_specs().remove(0), since: 1_760_000_000 }];
        let list = serde_json::to_value(CounterList::of(&counters, &stored)).unwrap();
        assert_eq!(
            list["counters"][0],
            json!({"name": "page_views", "kind": "count", "event": ["page_view"], "by": ["payload.path"],
                "windows": [{"size": "10s", "keep": "1h"}, {"size": "1m", "keep": "1d"}, {"size": "1h", "keep": "30d"}],
                "max_keys": 10_000, "since": 1_760_000_000})
        );
        assert_eq!(list["counters"][3]["event"], json!([]));
        assert_eq!(list["counters"][3]["since"], Value::Null);
    }
}
