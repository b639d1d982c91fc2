//! Which keys there are. The documented configuration file is their one source: every key stands in it, those
//! without a default as a comment like `#token = "…"`.

use toml::{Table, Value};

/// The documented configuration, every key with its default.
pub const DOCUMENTED: &str = include_str!("../../config/streamgauge.toml");

/// A key, from the top: tables, indices of lists, and the name at last.
pub(super) type Key = Vec<String>;

/// The name of a key as messages write it: `counters[0].windows[1].size`.
pub(super) fn name(key: &[String]) -> String {
    let mut name = String::new();
    for part in key {
        if part.parse::<usize>().is_ok() {
            name.push_str(&format!("[{part}]"));
        } else if part.contains('.') {
            name.push_str(&format!(".\"{part}\""));
        } else {
            name.push('.');
            name.push_str(part);
        }
    }
    name.trim_start_matches('.').to_owned()
}

/// Whether values under this key, or of a table around it, must not be shown.
pub(super) fn is_secret(key: &[String]) -> bool {
    // `*` is any place in a list.
    const SECRET: [&[&str]; 4] = [
        &["store", "redis", "url"],
        &["query", "token"],
        &["log", "kafka", "properties"],
        &["sites", "*", "write_keys"],
    ];
    SECRET.iter().any(|secret| secret.iter().zip(key).all(|(a, b)| a == b || *a == "*"))
}

/// Whether a key is a property of librdkafka.
pub(super) fn is_property(key: &[String]) -> bool {
    key.len() == 4 && key[..3] == ["log", "kafka", "properties"]
}

/// All keys of the documented configuration.
#[derive(Debug)]
pub(super) struct Keys(Value);

impl Keys {
    pub(super) fn documented() -> Keys {
        let all: Vec<&str> = DOCUMENTED.lines().map(uncommented).collect();
        // A test loads the file, so this is never the empty table in a build that passed.
        Keys(Value::Table(all.join("\n").parse().unwrap_or_else(|_| Table::new())))
    }

    /// The documented value at a key; a list's first element stands for all of them.
    pub(super) fn value(&self, key: &[String]) -> Option<&Value> {
        key.iter().try_fold(&self.0, |value, part| match value {
            Value::Table(table) => table.get(part),
            Value::Array(list) => list.first(),
            _ => None,
        })
    }

    /// The key most like an unknown one: among those beside it, else, where nothing there is like it, the one
    /// anywhere that ends in the same name.
    pub(super) fn nearest(&self, key: &[String]) -> Option<String> {
        let (last, parent) = key.split_last()?;
        let beside = self.value(parent).and_then(Value::as_table);
        let best = beside.into_iter().flat_map(Table::keys).max_by(|a, b| like(a, last).total_cmp(&like(b, last)));
        match best {
            Some(best) if like(best, last) >= 0.5 => Some(name(&[parent, std::slice::from_ref(best)].concat())),
            _ => self.elsewhere(last).or_else(|| best.map(|b| name(&[parent, std::slice::from_ref(b)].concat()))),
        }
    }

    fn elsewhere(&self, wanted: &str) -> Option<String> {
        let mut all = Vec::new();
        flatten(&self.0, &mut Vec::new(), &mut all);
        let same = all.into_iter().find(|key| key.last().is_some_and(|last| last == wanted));
        same.map(|key| name(&key))
    }

    /// Every key that holds a value, for finding the one that a message is about.
    pub(super) fn all(&self) -> Vec<Key> {
        let mut all = Vec::new();
        flatten(&self.0, &mut Vec::new(), &mut all);
        all
    }
}

pub(super) fn like(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(a, b)
}

/// A key that stands as a comment directly after its `#`; explanations have a blank there.
fn uncommented(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
        _ => line,
    }
}

fn flatten(value: &Value, at: &mut Key, all: &mut Vec<Key>) {
    // A table without documented keys takes any: it stands for what is in it.
    if let Value::Table(table) = value
        && !table.is_empty()
    {
        for (part, value) in table {
            at.push(part.clone());
            flatten(value, at, all);
            at.pop();
        }
    } else {
        all.push(at.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn the_nearest_key_is_one_beside_it_or_of_the_same_name() {
        let keys = Keys::documented();
        assert_eq!(keys.nearest(&key("store.redis.ulr")).unwrap(), "store.redis.url");
        assert_eq!(keys.nearest(&key("ingset")).unwrap(), "ingest");
        assert_eq!(keys.nearest(&key("counters.3.max_key")).unwrap(), "counters[3].max_keys");
        assert_eq!(keys.nearest(&key("counters.0.windows.1.kep")).unwrap(), "counters[0].windows[1].keep");
        assert_eq!(keys.nearest(&key("flush_interval")).unwrap(), "pipeline.flush_interval");
    }

    #[test]
    fn a_secret_hides_whatever_holds_it() {
        assert!(is_secret(&key("store.redis.url")));
        assert!(is_secret(&key("store")));
        assert!(is_secret(&key("log.kafka.properties.sasl")));
        assert!(is_secret(&key("sites")) && is_secret(&key("sites.1.write_keys.0")));
        assert!(!is_secret(&key("sites.1.name")) && !is_secret(&key("sites.1.write_keys_file")));
        assert!(!is_secret(&key("store.redis.prefix")));
    }
}
