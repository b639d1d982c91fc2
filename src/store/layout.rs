//! What the store was begun with, compared to what is configured. Pure: both stores keep the same fields.

use super::{Layout, StoreError, StoredCounter};
use crate::counter::Spec;
use std::collections::BTreeMap;

/// The layout as it is stored: names and values.
pub(super) type Fields = BTreeMap<String, String>;

const FORMAT: &str = "1";
const COUNTER: &str = "counter:";
const SINCE: &str = "since:";

/// How to speak of the store in a message.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// What it is: "the keys with prefix `sg` in redis://h:6379".
    pub(super) what: String,
    /// How to take another one.
    pub(super) another: &'static str,
}

/// What has to be added to the stored fields for this configuration; nothing when all is there.
///
/// Counters that are no longer configured stay: their buckets are still there until they expire.
pub(super) fn additions(
    stored: &Fields,
    layout: &Layout,
    shards: u32,
    now_s: i64,
    place: &Place,
) -> Result<Fields, StoreError> {
    let mut wanted = Fields::new();
    for (name, value) in [("format", FORMAT), ("topic", &layout.topic), ("group", &layout.group)] {
        wanted.insert(name.to_owned(), value.to_owned());
    }
    wanted.insert("shards".to_owned(), shards.to_string());
    wanted.iter().try_for_each(|(name, value)| same(stored, name, value, place))?;
    let since = if stored.is_empty() { 0 } else { now_s };
    for spec in &layout.counters {
        let field = format!("{COUNTER}{}", spec.name);
        match stored.get(&field) {
            Some(text) => unchanged(spec, &parsed(text, place)?, place)?,
            None => {
                wanted.insert(field, definition(spec, place)?);
                wanted.insert(format!("{SINCE}{}", spec.name), since.to_string());
            }
        }
    }
    wanted.retain(|name, _| !stored.contains_key(name));
    Ok(wanted)
}

/// The counters of stored fields, by name.
pub(super) fn counters(stored: &Fields, place: &Place) -> Result<Vec<StoredCounter>, StoreError> {
    let definitions = stored.iter().filter_map(|(name, text)| Some((name.strip_prefix(COUNTER)?, text)));
    definitions
        .map(|(name, text)| {
            let since = stored.get(&format!("{SINCE}{name}")).and_then(|s| s.parse().ok());
            let since = since.ok_or_else(|| corrupt(place, format!("counter `{name}` has no `since`")))?;
            Ok(StoredCounter { spec: parsed(text, place)?, since })
        })
        .collect()
}

fn same(stored: &Fields, name: &str, value: &str, place: &Place) -> Result<(), StoreError> {
    let found = match stored.get(name) {
        None if stored.is_empty() => return Ok(()),
        None => return Err(corrupt(place, format!("a layout without `{name}`"))),
        Some(found) if found == value => return Ok(()),
        Some(found) => found,
    };
    let Place { what, another } = place;
    let message = match name {
        "format" => format!("{what} have format {found}, this version knows {value}: use the version that wrote them"),
        "shards" => format!(
            "{what} were begun with shards = {found}, not {value}, and counts cannot be moved between shards: set \
             store.redis.shards = {found}, or {another} to count anew"
        ),
        _ => format!(
            "{what} count {name} `{found}`, not `{value}`: configure that {name}, or {another} to count anew; two \
             configurations cannot share counts"
        ),
    };
    Err(StoreError::Layout(message))
}

fn unchanged(spec: &Spec, stored: &Spec, place: &Place) -> Result<(), StoreError> {
    if spec == stored {
        return Ok(());
    }
    let differs = [
        ("event", spec.event != stored.event),
        ("by", spec.by != stored.by),
        ("kind", spec.kind != stored.kind),
        ("of", spec.of != stored.of),
        ("factor", spec.factor != stored.factor),
        ("only", spec.only != stored.only),
        ("except", spec.except != stored.except),
        ("windows", spec.windows != stored.windows),
        ("max_keys", spec.max_keys != stored.max_keys),
    ];
    let differs: Vec<_> = differs.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect();
    Err(StoreError::Layout(format!(
        "counter `{}` is defined otherwise than the counts that exist ({} changed; {} hold {}): give the new \
         definition a new name, put the old one back, or {} to count anew",
        spec.name,
        differs.join(", "),
        place.what,
        definition(stored, place)?,
        place.another
    )))
}

/// A definition as text. An empty list of events is left out, as a user leaves it out.
fn definition(spec: &Spec, place: &Place) -> Result<String, StoreError> {
    let text = serde_json::to_value(spec).map(|mut value| {
        if spec.event.is_empty()
            && let Some(fields) = value.as_object_mut()
        {
            fields.remove("event");
        }
        value.to_string()
    });
    text.map_err(|e| corrupt(place, format!("counter `{}`: {e}", spec.name)))
}

fn parsed(text: &str, place: &Place) -> Result<Spec, StoreError> {
    serde_json::from_str(text).map_err(|e| corrupt(place, format!("a counter's definition that cannot be read ({e})")))
}

fn corrupt(place: &Place, problem: String) -> StoreError {
    StoreError::Corrupt { place: place.what.clone(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::default_specs;

    fn place() -> Place {
        Place { what: "the keys with prefix `sg`".into(), another: "choose another store.redis.prefix" }
    }

    fn layout() -> Layout {
        Layout { topic: "t".into(), group: "g".into(), counters: default_specs() }
    }

    fn begun() -> Fields {
        additions(&Fields::new(), &layout(), 2, 1_000, &place()).unwrap()
    }

    fn refused(shards: u32, change: impl FnOnce(&mut Layout)) -> String {
        let mut layout = layout();
        change(&mut layout);
        additions(&begun(), &layout, shards, 2_000, &place()).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_store_gets_all_of_it_and_counts_from_the_first_record() {
        let stored = begun();
        assert_eq!(stored["format"], "1");
        let counters = counters(&stored, &place()).unwrap();
        assert_eq!(counters.len(), 4);
        assert!(counters.iter().all(|c| c.since == 0 && default_specs().contains(&c.spec)));
        assert!(additions(&stored, &layout(), 2, 2_000, &place()).unwrap().is_empty());
    }

    #[test]
    fn a_counter_added_later_counts_since_then_and_one_left_out_stays() {
        let mut less = layout();
        let left_out = less.counters.remove(1);
        let mut stored = additions(&Fields::new(), &less, 2, 1_000, &place()).unwrap();
        stored.extend(additions(&stored, &layout(), 2, 2_000, &place()).unwrap());
        assert!(additions(&stored, &less, 2, 3_000, &place()).unwrap().is_empty());
        let counters = counters(&stored, &place()).unwrap();
        assert_eq!(counters.iter().find(|c| c.spec == left_out).unwrap().since, 2_000);
        assert_eq!(counters.len(), 4);
    }

    #[test]
    fn another_configuration_is_refused_and_told_what_to_do() {
        assert!(refused(2, |l| l.topic = "u".into()).contains("count topic `t`, not `u`"));
        assert!(refused(2, |l| l.group = "h".into()).contains("choose another store.redis.prefix"));
        assert!(refused(3, |_| ()).contains("set store.redis.shards = 2"));
        let changed = refused(2, |l| l.counters[0].max_keys = 5);
        assert!(changed.contains("counter `page_views`") && changed.contains("max_keys changed"), "{changed}");
        assert!(changed.contains("a new name"));
        let newer = Fields::from([("format".to_owned(), "2".to_owned())]);
        assert!(additions(&newer, &layout(), 2, 0, &place()).unwrap_err().to_string().contains("format 2"));
    }

    #[test]
    fn a_layout_with_holes_is_not_ours() {
        let mut stored = begun();
        stored.remove("group");
        assert!(matches!(additions(&stored, &layout(), 2, 0, &place()), Err(StoreError::Corrupt { .. })));
        stored.insert("counter:x".into(), "{".into());
        assert!(matches!(counters(&stored, &place()), Err(StoreError::Corrupt { .. })));
    }
}
