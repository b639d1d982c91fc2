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
