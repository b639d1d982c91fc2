use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands for itself in the name of a key's set. A colon or a brace does not, so no name can be forged.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// Names of keys. `{shard}` is a hash tag: all keys that one flush touches are in one slot of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Names {
        Names { prefix: prefix.to_owned() }
    }

    pub(super) fn layout(&self) -> String {
        format!("{}:{{0}}:layout", self.prefix)
    }

    pub(super) fn partition(&self, shard: u32, topic: &str, partition: i32) -> String {
        format!("{}:{{{shard}}}:partition:{topic}:{partition}", self.prefix)
    }

    pub(super) fn sum(&self, shard: u32, counter: &str, window: &str, start: i64) -> String {
        format!("{}:{{{shard}}}:sum:{counter}:{window}:{start}", self.prefix)
    }

    pub(super) fn keys(&self, shard: u32, counter: &str, window: &str, start: i64) -> String {
        format!("{}:{{{shard}}}:keys:{counter}:{window}:{start}", self.prefix)
    }

    /// What the events of each key add up to.
    pub(super) fn amounts(&self, shard: u32, counter: &str, window: &str, start: i64) -> String {
        format!("{}:{{{shard}}}:amounts:{counter}:{window}:{start}", self.prefix)
    }

    /// The set of what a bucket tells apart; with a key, that of the key.
    pub(super) fn distinct(&self, shard: u32, counter: &str, window: &str, start: i64, key: Option<&str>) -> String {
        let all = format!("{}:{{{shard}}}:distinct:{counter}:{window}:{start}", self.prefix);
        match key {
            Some(key) => format!("{all}:{}", utf8_percent_encode(key, ENCODED)),
            None => all,
        }
    }

    /// What processes tell each other of what lately came in.
    pub(super) fn tail(&self) -> String {
        format!("{}:{{0}}:tail", self.prefix)
    }

    /// There while somebody listens to it.
    pub(super) fn tail_call(&self) -> String {
        format!("{}:{{0}}:tail:call", self.prefix)
    }

    /// All notes of a group are in one slot, so that effects can be in it too.
    pub(super) fn handled(&self, group: &str, event_id: &str) -> String {
        format!("{}:{{{group}}}:handled:{event_id}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_readers_of_the_store_rely_on() {
        let names = Names::new("sg");
        assert_eq!(names.layout(), "sg:{0}:layout");
        assert_eq!(names.partition(1, "user.events", 3), "sg:{1}:partition:user.events:3");
        assert_eq!(names.sum(0, "page_views", "10s", 1_760_000_000), "sg:{0}:sum:page_views:10s:1760000000");
        assert_eq!(names.keys(0, "page_views", "10s", 1_760_000_000), "sg:{0}:keys:page_views:10s:1760000000");
        assert_eq!(names.amounts(2, "revenue", "1h", 3_600), "sg:{2}:amounts:revenue:1h:3600");
        assert_eq!(names.distinct(0, "visitors", "1h", 3_600, None), "sg:{0}:distinct:visitors:1h:3600");
        let forged = names.distinct(0, "visitors", "1h", 3_600, Some("/a{1}:x é"));
        assert_eq!(forged, "sg:{0}:distinct:visitors:1h:3600:/a%7B1%7D%3Ax%20%C3%A9");
        assert_eq!([names.tail(), names.tail_call()], ["sg:{0}:tail", "sg:{0}:tail:call"]);
        assert_eq!(names.handled("payment", "e1"), "sg:{payment}:handled:e1");
    }
}
