//! A configuration for a test, as the text that a user would write.

use std::path::Path;

use toml::{Table, Value};

use super::{Kafka, Redis, RedisCluster, free_ports};

/// What the program counts unless a test says otherwise: the documented file.
const DOCUMENTED: &str = include_str!("../../../config/streamgauge.toml");

/// A configuration to be. Listens on ports that the system chooses, and flushes often, so that tests need not wait.
#[derive(Clone, Debug)]
pub(crate) struct Settings(Table);

impl Settings {
    /// Over Kafka and Redis. The consumer group is named after the prefix.
    pub(crate) fn kafka(kafka: &Kafka, redis: &Redis, topic: &str, prefix: &str) -> Settings {
        Settings(Table::new())
            .local()
            .with("log.kafka.brokers", kafka.brokers())
            .with("log.kafka.topic", topic)
            .with("log.kafka.group", format!("{prefix}-group"))
            .with("log.kafka.dead_letter_topic", format!("{topic}.dlq"))
            .with("store.redis.url", redis.url())
            .with("store.redis.prefix", prefix)
    }

    /// The same over a Redis Cluster.
    pub(crate) fn on_cluster(self, cluster: &RedisCluster) -> Settings {
        self.with("store.redis.url", cluster.url()).with("store.redis.cluster_nodes", cluster.other_nodes())
    }

    /// Over one file in this folder.
    pub(crate) fn embedded(dir: &Path) -> Settings {
        Settings(Table::new())
            .local()
            .with("log.kind", "embedded")
            .with("store.kind", "embedded")
            .with("embedded.path", dir.join("streamgauge.db").to_str().expect("a path that is text"))
    }

    fn local(self) -> Settings {
        self.with("ingest.listen", "127.0.0.1:0")
            .with("query.listen", "127.0.0.1:0")
            .with("admin.listen", "127.0.0.1:0")
            .with("pipeline.flush_interval", "200ms")
    }

    /// The same with another value at a dotted key.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Settings {
        let (tables, last) = key.rsplit_once('.').map_or((None, key), |(tables, last)| (Some(tables), last));
        let mut table = &mut self.0;
        for part in tables.into_iter().flat_map(|tables| tables.split('.')) {
            let inner = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            table = inner.as_table_mut().expect("a table");
        }
        table.insert(last.to_owned(), value.into());
        self
    }

    /// The same with a property of librdkafka, whose name has dots.
    pub(crate) fn with_property(self, name: &str, value: &str) -> Settings {
        let mut properties = self.get("log.kafka.properties").cloned().unwrap_or(Value::Table(Table::new()));
        properties.as_table_mut().expect("a table").insert(name.to_owned(), value.into());
        self.with("log.kafka.properties", properties)
    }

    /// The same with these counters, `[[counters]]` as a user writes them, in place of the documented ones.
    pub(crate) fn counting(self, counters: &str) -> Settings {
        let mut parsed: Table = counters.parse().expect("counters in TOML");
        let counters = parsed.remove("counters").expect("[[counters]]");
        self.with("counters", counters)
    }

    /// The same with these sites, `[[sites]]` as a user writes them.
    pub(crate) fn with_sites(self, sites: &str) -> Settings {
        let mut parsed: Table = sites.parse().expect("sites in TOML");
        let sites = parsed.remove("sites").expect("[[sites]]");
        self.with("sites", sites)
    }

    /// The same with listeners on ports of its own, for a process whose addresses cannot be asked for.
    pub(crate) fn on_own_ports(mut self) -> Settings {
        let ports: [u16; 3] = free_ports();
        for (listener, port) in ["ingest", "query", "admin"].into_iter().zip(ports) {
            self = self.with(&format!("{listener}.listen"), format!("127.0.0.1:{port}"));
        }
        self
    }

    /// The value at a dotted key, if it was set.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        let mut parts = key.split('.');
        let first = self.0.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// The text at a dotted key that was set.
    pub(crate) fn text_of(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("{key} was not set"))
    }

    /// What is counted: `[[counters]]` of this configuration, else the documented ones.
    pub(crate) fn counters(&self) -> Vec<Table> {
        let documented = || DOCUMENTED.parse::<Table>().expect("TOML").remove("counters").expect("[[counters]]");
        let counters = self.0.get("counters").cloned().unwrap_or_else(documented);
        counters.try_into().expect("a list of tables")
    }

    /// The file.
    pub(crate) fn to_toml(&self) -> String {
        self.0.to_string()
    }
}
