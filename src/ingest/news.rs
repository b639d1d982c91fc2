//! What the live tail is told of requests and their events.

use super::batch::Fault;
use super::intake::Intake;
use super::reject::Reject;
use super::sites::Site;
use crate::log::NewRecord;
use crate::tail::{Desk, Refusal, Shape};
use hyper::http::request::Parts;
use serde::Deserialize;
use std::borrow::Cow;

/// Tells of a request that was refused as a whole. Where its events were refused one by one, that was told.
pub(super) fn request(intake: &Intake, head: &Parts, reject: &Reject, now_ms: i64) {
    if matches!(reject, Reject::NothingAccepted(_)) {
        return;
    }
    let site = intake.sites.owner(&head.headers, &head.uri);
    let refusal = Refusal {
        site: site.map(Site::name),
        reason: reject.reason().label(),
        status: Some(reject.status().as_u16()),
        field: reject.field(),
        error: &reject.to_string(),
    };
    intake.tail.refused(now_ms, &[refusal], |_| None);
}

/// Tells of the events of a request that were refused.
pub(super) fn events(tail: &Desk, site: Option<&Site>, events: &[Cow<'_, [u8]>], faults: &[Fault], now_ms: i64) {
    if faults.is_empty() || !tail.is_on() {
        return;
    }
    let refusals: Vec<_> = faults.iter().map(|fault| refusal(site, fault)).collect();
    tail.refused(now_ms, &refusals, |at| Some(Shape::of(events.get(faults[at].index)?)));
}

fn refusal<'a>(site: Option<&'a Site>, fault: &'a Fault) -> Refusal<'a> {
    Refusal {
        site: site.map(Site::name),
        reason: fault.reason.label(),
        status: None,
        field: fault.field.as_deref(),
        error: &fault.error,
    }
}

/// One of the events of a request that is to be stored, now and then.
pub(super) fn sample(tail: &Desk, records: &[NewRecord], now_ms: i64) -> Option<Sample> {
    if !tail.wants_sample(now_ms) {
        return None;
    }
    let any = usize::try_from(now_ms).ok()?.checked_rem(records.len())?;
    let value = records.get(any)?.value.as_deref()?;
    let site = serde_json::from_slice(value).ok().and_then(|Canonical { context }| context?.site);
    Some(Sample { site, shape: Shape::of(value) })
}

/// An event that is to be told of once it is stored.
pub(super) struct Sample {
    site: Option<String>,
    shape: Shape,
}

impl Sample {
    pub(super) fn stored(self, tail: &Desk, now_ms: i64) {
        tail.accepted(now_ms, self.site.as_deref(), self.shape);
    }
}

/// Where ingest says of which site an event is.
#[derive(Deserialize)]
struct Canonical {
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Context {
    site: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Batch, Taking};
    use super::super::clock::Clock;
    use super::super::format::Format;
    use super::*;
    use crate::envelope::JSON;
    use crate::event::Key;
    use crate::log::About;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Values of any kind at any field, each with a mark that nothing else has.
    fn event() -> impl Strategy<Value = Value> {
        let names = vec![
            "event_type",
            "type",
            "event_id",
            "event_version",
            "timestamp",
            "user_id",
            "session_id",
            "payload",
            "properties",
            "context",
            "received_at",
            "sent_at",
            "write_key",
            "events",
            "other",
        ];
        let value = prop_oneof![
            Just(json!("SECRET")),
            Just(json!("SECRET".repeat(60))),
            Just(json!("SECRET\u{1b}\n")),
            Just(json!(777_777)),
            Just(json!(-777_777.5)),
            Just(json!({"a": "SECRET"})),
            Just(json!(["SECRET", 777_777])),
        ];
        prop::collection::btree_map(prop::sample::select(names), value, 0..8).prop_map(|map| json!(map))
    }

    #[test]
    fn a_sample_says_of_which_site_it_is_and_they_are_few() {
        let desk = Desk::new(true);
        let value = br#"{"event_id":"e","event_type":"buy","user_id":"ann","context":{"site":"shop"}}"#;
        let about = About { event_type: "buy".into(), event_version: 1, content_type: JSON, trace: None };
        let records = [NewRecord::event("k", value.to_vec(), about)];
        let of_shop = sample(&desk, &records, 1_760_000_000_000).unwrap();
        assert_eq!((of_shop.site.as_deref(), of_shop.shape.event_type.as_deref()), (Some("shop"), Some("buy")));
        assert!(sample(&desk, &records, 1_760_000_000_001).is_none());
        assert!(sample(&desk, &[], 1_760_000_001_000).is_none());
    }

    proptest! {
        /// What is told of refusals repeats nothing that was sent; what is shown of events is `tail`'s to prove.
        #[test]
        fn no_refusal_repeats_what_was_sent(
            events in prop::collection::vec(event(), 1..4),
            until in any::<prop::sample::Index>(),
            is_whole in any::<bool>(),
        ) {
            let json = Value::from(events).to_string();
            let body = if is_whole { json.as_bytes() } else { &json.as_bytes()[..until.index(json.len())] };
            for body in [body, body.strip_prefix(b"[").unwrap_or(body)] {
                let said = match Format::Text.read(body) {
                    Err(malformed) => vec![malformed.to_string(), format!("{:?}", malformed.field())],
                    Ok(content) => {
                        let clock = Clock { received_ms: 1_760_000_000_000, max_skew_ms: 60_000 };
                        let taking =
                            Taking { key: &Key::Session, max_event: 400, clock, skew_ms: None, site: None, told: None, trace: None };
                        let faults = Batch::of(&content.events, taking).faults;
                        faults.iter().map(|fault| format!("{} {:?}", fault.error, fault.field)).collect()
                    }
                };
                for text in said {
                    prop_assert!(!text.contains("SECRET") && !text.contains("777777"), "{text}");
                }
            }
        }
    }
}
