//! Which counters can tell the events of a run from all others.

use super::mix::Mix;
use crate::event::Dimension;
use serde::Deserialize;

/// A counter, as the query side lists it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Listed {
    pub(super) name: String,
    event: Vec<String>,
    by: Vec<String>,
    pub(super) windows: Vec<ListedWindow>,
    max_keys: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ListedWindow {
    pub(super) size: String,
    pub(super) keep: String,
}

impl Listed {
    fn counts(&self, event_type: &str) -> bool {
        self.event.is_empty() || self.event.iter().any(|counted| counted == event_type)
    }

    /// The best of its dimensions that an event can be marked in; the lower, the better.
    fn field(&self) -> Option<(u8, Dimension)> {
        let fields = self.by.iter().filter_map(|path| Dimension::parse(path).ok());
        let ranked = fields.filter_map(|field| Some((rank(&field)?, field)));
        // By a user or a session the events would spread unevenly over the partitions, or not at all.
        ranked.min_by_key(|(rank, _)| *rank)
    }
}

fn rank(field: &Dimension) -> Option<u8> {
    match field {
        Dimension::Payload(_) => Some(0),
        Dimension::UserId => Some(1),
        Dimension::SessionId => Some(2),
        Dimension::EventType | Dimension::Context(_) => None,
    }
}

/// A counter by whose keys the events of a run can be told, and which of their types it counts.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) counter: Listed,
    pub(super) types: Vec<String>,
}

/// How a run can be checked.
#[derive(Debug, Clone)]
pub(super) struct Probes {
    pub(super) probes: Vec<Probe>,
    /// For each type of the mix, where its events carry their key.
    pub(super) fields: Vec<Dimension>,
    /// Types that no counter can tell.
    pub(super) untold: Vec<String>,
}

/// Where events carry their key if nobody asks how they are counted: as the documented counters count them.
pub(super) fn usual_fields(mix: &Mix) -> Vec<Dimension> {
    let usual = |event_type: &str| match event_type {
        "click" => "target",
        "search" => "query",
        _ => "path",
    };
    mix.types().map(|event_type| Dimension::Payload(vec![usual(event_type).into()])).collect()
}

impl Probes {
    /// Chooses for each type of the mix the counter that splits it by the fewest dimensions, one of which can be
    /// marked.
    pub(super) fn of(counters: &[Listed], mix: &Mix) -> Probes {
        let (mut fields, mut untold) = (usual_fields(mix), Vec::new());
        let mut chosen: Vec<(&Listed, Dimension)> = Vec::new();
        for (event_type, field) in mix.types().zip(&mut fields) {
            let able = counters.iter().filter(|counter| counter.counts(event_type));
            let able = able.filter_map(|counter| Some((counter, counter.field()?)));
            match able.min_by_key(|(counter, (rank, _))| (counter.by.len(), *rank)) {
                Some((counter, (_, marked))) => {
                    field.clone_from(&marked);
                    if !chosen.iter().any(|(known, _)| known.name == counter.name) {
                        chosen.push((counter, marked));
                    }
                }
                None => untold.push(event_type.to_owned()),
            }
        }
        let marked: Vec<_> = mix.types().zip(&fields).collect();
        let probes = chosen.into_iter().map(|(counter, field)| {
            // Also those for which another counter was chosen, if this one sees the same mark.
            let counted = marked.iter().filter(|(event_type, at)| **at == field && counter.counts(event_type));
            let types = counted.map(|(event_type, _)| (*event_type).to_owned()).collect();
            Probe { counter: counter.clone(), types }
        });
        Probes { probes: probes.collect(), untold, fields }
    }

    /// As many keys as each counter is sure to tell apart.
    pub(super) fn most_keys(&self) -> Option<(u64, &str)> {
        let most = self.probes.iter().map(|probe| (probe.counter.max_keys.min(super::check::MOST_TOP), probe));
        most.min_by_key(|(most, _)| *most).map(|(most, probe)| (most, probe.counter.name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listed(name: &str, event: &[&str], by: &[&str]) -> Listed {
        serde_json::from_value(json!({"name": name, "kind": "count", "event": event, "by": by, "max_keys": 100,
            "windows": [{"size": "10s", "keep": "1h"}], "since": 0}))
        .unwrap()
    }

    type Named = (String, Vec<String>);

    fn probes(counters: &[Listed], mix: &str) -> (Vec<Named>, Vec<Dimension>, Vec<String>) {
        let Probes { probes, fields, untold } = Probes::of(counters, &mix.parse().unwrap());
        (probes.into_iter().map(|probe| (probe.counter.name, probe.types)).collect(), fields, untold)
    }

    fn payload(name: &str) -> Dimension {
        Dimension::Payload(vec![name.into()])
    }

    fn named(counter: &str, types: &[&str]) -> Named {
        (counter.to_owned(), types.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn each_type_is_told_by_a_counter_of_its_own_field() {
        let counters = [
            listed("page_views", &["page_view"], &["payload.path"]),
            listed("clicks", &["click"], &["payload.target"]),
            listed("events", &[], &["event_type"]),
        ];
        let (probes, fields, untold) = probes(&counters, "page_view=7,click=2,search=1");
        assert_eq!(probes, [named("page_views", &["page_view"]), named("clicks", &["click"])]);
        assert_eq!(fields, [payload("path"), payload("target"), payload("query")]);
        assert_eq!(untold, ["search"]);
    }

    #[test]
    fn a_counter_that_sees_the_mark_of_another_type_counts_it_too() {
        let counters = [
            listed("views", &["page_view"], &["payload.path"]),
            listed("all", &[], &["payload.path", "event_type"]),
            listed("wide", &["click"], &["payload.target", "payload.x", "context.site"]),
        ];
        let (probes, fields, _) = probes(&counters, "page_view,click");
        assert_eq!(probes, [named("views", &["page_view"]), named("all", &["page_view", "click"])]);
        assert_eq!(fields, [payload("path"), payload("path")]);
    }

    #[test]
    fn a_payload_is_marked_rather_than_a_user_and_a_user_rather_than_a_session() {
        let counters = [listed("all", &[], &["session_id", "user_id", "payload.a"])];
        assert_eq!(probes(&counters, "x").1, [payload("a")]);
        let counters = [listed("all", &[], &["session_id", "user_id"])];
        assert_eq!(probes(&counters, "x").1, [Dimension::UserId]);
        let (none, _, untold) = probes(&[listed("all", &[], &["context.site"]), listed("total", &[], &[])], "x");
        assert!(none.is_empty());
        assert_eq!(untold, ["x"]);
    }

    #[test]
    fn the_smallest_counter_says_how_many_keys_there_may_be() {
        let probes = Probes::of(&[listed("all", &[], &["payload.a"])], &"x".parse().unwrap());
        assert_eq!(probes.most_keys(), Some((100, "all")));
    }
}
