//! The layers of a configuration, laid over each other: a file's text, then the environment. Remembers where each
//! value came from.

use super::keys::{self, Key, Keys};
use super::problem::Problem;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

const PREFIX: &str = "STREAMGAUGE_";
/// The log filter: it belongs to the logging set-up, which is there before the configuration.
const LOG_FILTER: &str = "STREAMGAUGE_LOG";

#[derive(Debug)]
pub(super) struct Layers {
    pub(super) value: Table,
    pub(super) keys: Keys,
    places: BTreeMap<Key, String>,
    whole: String,
}

impl Layers {
    pub(super) fn none() -> Layers {
        Layers {
            value: Table::new(),
            keys: Keys::documented(),
            places: BTreeMap::new(),
            whole: "built-in defaults".into(),
        }
    }

    /// A file's text. `file` names it in places.
    pub(super) fn text(text: &str, file: &str) -> Result<Layers, Problem> {
        let wrong = |e: &toml::de::Error| Problem {
            place: e.span().map_or_else(|| file.to_owned(), |span| place(text, file, &span)),
            // Not the error's Display: it quotes the line, and that may hold a secret.
            message: format!("not TOML: {}", e.message().replace('\n', ", ")),
        };
        let spanned = DeTable::parse(text).map_err(|e| wrong(&e))?;
        let value = text.parse().map_err(|e| wrong(&e))?;
        let mut places = BTreeMap::new();
        note_table(spanned.get_ref(), &mut Vec::new(), &mut |key, span| {
            places.insert(key, place(text, file, &span));
        });
        Ok(Layers { value, keys: Keys::documented(), places, whole: file.to_owned() })
    }

    /// Lays `STREAMGAUGE_A__B` over what is there, for each such variable.
    pub(super) fn environment(&mut self, env: impl Iterator<Item = (String, String)>) -> Vec<Problem> {
        let mut ours: Vec<_> = env.filter(|(name, _)| name.starts_with(PREFIX) && name != LOG_FILTER).collect();
        // The shorter name first, so that a table does not undo a value inside it.
        ours.sort();
        ours.into_iter().filter_map(|(name, text)| self.variable(&name, &text).err()).collect()
    }

    fn variable(&mut self, name: &str, text: &str) -> Result<(), Problem> {
        let wrong = |message: String| Problem { place: name.to_owned(), message };
        let key = key_of(name);
        if key.len() == 1 && self.keys.value(&key).is_none() {
            return self.lone(name, &key);
        }
        let is_property = keys::is_property(&key);
        if self.keys.value(&key).is_none() && !is_property {
            let nearest = self.keys.nearest(&key).map(|near| format!(", the nearest is {}", variable_of(&near)));
            return Err(wrong(format!("no such key: {}{}", keys::name(&key), nearest.unwrap_or_default())));
        }
        let value = if is_property { Value::String(text.into()) } else { self.read(&key, text) };
        if !put(&mut self.value, &key, value) {
            return Err(wrong(format!("{} lies inside something that is no table", keys::name(&key))));
        }
        self.places.retain(|other, _| !other.starts_with(&key));
        self.places.insert(key, name.to_owned());
        Ok(())
    }

    /// A variable without `__` that names no key: other programs set such ones for a service of this name (an
    /// orchestrator's STREAMGAUGE_PORT), so only what looks like a slip is refused.
    fn lone(&self, name: &str, key: &[String]) -> Result<(), Problem> {
        let scalars = |key: &Key| key.len() == 1;
        let meant = self.keys.all().into_iter().filter(scalars).find(|k| keys::like(&k[0], &key[0]) > 0.7);
        meant.map_or(Ok(()), |meant| {
            let message = format!("no such key: {}, the nearest is {}", keys::name(key), variable_of(&meant[0]));
            Err(Problem { place: name.to_owned(), message })
        })
    }

    /// A TOML value if it is one, else a string; a string too where the documented value is one, so that a
    /// token of digits needs no quotes.
    fn read(&self, key: &[String], text: &str) -> Value {
        let parsed = format!("value = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| (table.len() == 1).then(|| table.remove("value")).flatten());
        match (parsed, self.keys.value(key)) {
            (Some(value @ Value::String(_)), _) => value,
            (Some(_), Some(Value::String(_))) | (None, _) => Value::String(text.to_owned()),
            (Some(value), _) => value,
        }
    }

    /// Where the value of a key came from, or of the table around it.
    pub(super) fn place(&self, key: &[String]) -> String {
        let around = (0..=key.len()).rev().find_map(|n| self.places.get(&key[..n]));
        around.unwrap_or(&self.whole).clone()
    }

    /// The value at a key, as it was written; not for keys that hold secrets.
    pub(super) fn shown(&self, key: &[String]) -> Option<String> {
        let (first, rest) = key.split_first()?;
        let found = rest.iter().try_fold(self.value.get(first)?, |value, part| match value {
            Value::Table(table) => table.get(part),
            Value::Array(list) => part.parse::<usize>().ok().and_then(|n| list.get(n)),
            _ => None,
        })?;
        (!keys::is_secret(key) && !found.is_table()).then(|| found.to_string())
    }

    /// Where the key that a message names was given: the component that refuses a value knows its key, not its line.
    pub(super) fn place_of_mentioned(&self, message: &str) -> String {
        if let Some(key) = self.mentioned_entry(message) {
            return self.place(&key);
        }
        let mentioned = |key: &Key| {
            let name = keys::name(key);
            message.match_indices(&name).any(|(at, _)| {
                let after = message[at + name.len()..].chars().next();
                !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
            })
        };
        let first = self.keys.all().into_iter().filter(mentioned).min_by_key(|key| message.find(&keys::name(key)));
        let Some(key) = first else { return self.whole.clone() };
        // Of a table that takes any key, the one that is named after it.
        let inside = |given: &&Key| given.len() > key.len() && given.starts_with(&key) && named_in(given, message);
        self.place(self.places.keys().find(inside).unwrap_or(&key))
    }
}

fn named_in(key: &[String], message: &str) -> bool {
    key.last().is_some_and(|last| message.contains(&format!("\"{last}\"")))
}

impl Layers {
    /// Of the counters and the sites, the one that a message is about.
    fn mentioned_entry(&self, message: &str) -> Option<Key> {
        let (list, rest) = [("counters", "counter `"), ("sites", "site `")]
            .into_iter()
            .find_map(|(list, begin)| message.strip_prefix(begin).map(|rest| (list, rest)))?;
        let named = rest.split('`').next()?;
        let name = |entry: &Value| entry.get("name").and_then(Value::as_str).is_some_and(|n| n == named);
        let index = self.value.get(list)?.as_array()?.iter().rposition(name)?;
        Some(vec![list.into(), index.to_string(), "name".into()])
    }
}

/// `STREAMGAUGE_STORE__REDIS__URL` → store, redis, url. Properties of librdkafka have dots, which no variable can.
fn key_of(name: &str) -> Key {
    let mut key: Key = name[PREFIX.len()..].to_ascii_lowercase().split("__").map(str::to_owned).collect();
    if key.len() > 3 && key[..3] == ["log", "kafka", "properties"] {
        let property = key.split_off(3).join(".").replace('_', ".");
        key.push(property);
    }
    key
}

fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "__").to_ascii_uppercase())
}

fn put(table: &mut Table, key: &[String], value: Value) -> bool {
    let Some((first, rest)) = key.split_first() else { return false };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return true;
    }
    let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
    inner.as_table_mut().is_some_and(|inner| put(inner, rest, value))
}

fn note_table(table: &DeTable<'_>, at: &mut Key, note: &mut impl FnMut(Key, Range<usize>)) {
    for (part, value) in table {
        at.push(part.get_ref().to_string());
        note(at.clone(), part.span());
        note_value(value.get_ref(), at, note);
        at.pop();
    }
}

fn note_value(value: &DeValue<'_>, at: &mut Key, note: &mut impl FnMut(Key, Range<usize>)) {
    match value {
        DeValue::Table(table) => note_table(table, at, note),
        DeValue::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                at.push(index.to_string());
                note(at.clone(), value.span());
                note_value(value.get_ref(), at, note);
                at.pop();
            }
        }
        _ => {}
    }
}

fn place(text: &str, file: &str, span: &Range<usize>) -> String {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{file}:{line}:{column}")
}
