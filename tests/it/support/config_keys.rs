//! The keys that a configuration file in TOML documents, whether set or only shown in a comment.

use std::collections::BTreeMap;

/// Dotted key → line. `# key = value` counts as documented, and so does `# [section]`.
pub(crate) fn documented(toml: &str) -> BTreeMap<String, usize> {
    let mut keys = BTreeMap::new();
    let mut section = String::new();
    for (number, line) in (1..).zip(toml.lines()) {
        let line = line.trim().trim_start_matches('#').trim();
        if let Some(name) = section_name(line) {
            section = name.to_owned();
        } else if let Some(key) = line.split_once('=').map(|(key, _)| key.trim()).filter(|key| is_key(key)) {
            let path = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            keys.entry(path).or_insert(number);
        }
    }
    keys
}

fn section_name(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.split_once(']')?.0.trim_start_matches('[');
    name.split('.').all(is_key).then_some(name)
}

/// Prose in a comment may hold an equals sign too; a bare key holds no space.
fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
