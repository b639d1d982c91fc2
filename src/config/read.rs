use super::keys::{self, Key};
use super::layers::Layers;
use super::problem::Problem;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::Value;

/// Makes a value of all layers. Every unknown key is a problem, and so is the first value that does not fit.
pub(super) fn read<T: DeserializeOwned>(layers: &Layers) -> Result<T, Vec<Problem>> {
    let mut unknown: Vec<Key> = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(ignored(&path));
    let values = serde_ignored::Deserializer::new(Value::Table(layers.value.clone()), &mut note);
    let made = serde_path_to_error::deserialize(values);
    let mut problems: Vec<Problem> = unknown.iter().map(|key| unknown_key(layers, key)).collect();
    match made {
        Ok(made) if problems.is_empty() => return Ok(made),
        Ok(_) => {}
        Err(error) => problems.push(unfit(layers, &failed(error.path()), error.inner().message())),
    }
    Err(problems)
}

fn unknown_key(layers: &Layers, key: &[String]) -> Problem {
    let nearest = layers.keys.nearest(key).map(|near| format!(", the nearest is `{near}`")).unwrap_or_default();
    Problem { place: layers.place(key), message: format!("no such key: `{}`{nearest}", keys::name(key)) }
}

fn unfit(layers: &Layers, key: &[String], why: &str) -> Problem {
    // Components that refuse unknown keys themselves do it in serde's words.
    if why.starts_with("unknown field") {
        return unknown_key(layers, key);
    }
    let name = keys::name(key);
    let message = match layers.shown(key) {
        // serde's message quotes the value, so of a secret one only the key is told.
        _ if keys::is_secret(key) => format!("`{name}`: not what is expected here (its value is not shown)"),
        Some(value) => format!("`{name}` = {value}: {why}"),
        None if name.is_empty() => why.to_owned(),
        None => format!("`{name}`: {why}"),
    };
    Problem { place: layers.place(key), message }
}

fn ignored(path: &serde_ignored::Path<'_>) -> Key {
    use serde_ignored::Path;
    let (parent, part) = match path {
        Path::Root => return Key::new(),
        Path::Seq { parent, index } => (parent, Some(index.to_string())),
        Path::Map { parent, key } => (parent, Some(key.clone())),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => (parent, None),
    };
    let mut key = ignored(parent);
    key.extend(part);
    key
}

fn failed(path: &serde_path_to_error::Path) -> Key {
    let part = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(part).collect()
}
