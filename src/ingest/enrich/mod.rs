//! What ingest adds to the `context` of events that come from browsers.
//!
//! Most of it is a matter of the request, so it is made once for all its events: [`Visit`] is what the head says,
//! [`Told`] what a site wants of it as text. Only what stands in an event's own address is looked up event by event.
//! The address of the client and its user agent are used here, and leave no trace but what is documented.

mod agent;
mod config;
mod page;

pub use config::{Bots, Enrichment, EnrichmentOverride, Ip};

use super::reject::Reject;
use super::sites::Site;
use crate::event::{Event, push_quoted};
use crate::visitor::{Salts, Traits, truncated};
use agent::Agent;
use hyper::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderValue, ORIGIN, USER_AGENT};
use page::Found;
use std::borrow::Cow;
use std::net::IpAddr;

/// What the head of a request says of its visitor. Only browsers have one, and programs that say that they are none.
#[derive(Clone)]
pub(super) struct Visit {
    agent: Agent,
    user_agent: Option<HeaderValue>,
    language: Option<HeaderValue>,
    origin: Option<HeaderValue>,
    address: Option<IpAddr>,
}

/// Not the address, and not what the visitor was told by.
impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit").field("agent", &self.agent).finish_non_exhaustive()
    }
}

impl Visit {
    /// What a head says, if its request is one of a page: it has a user agent, and names an origin, as scripts of pages cannot
    /// but do; or its user agent is a browser's or that of a bot which says its name. What services send by a library is none
    /// of it, for their address and user agent are those of no visitor.
    pub(super) fn of(headers: &HeaderMap, address: impl FnOnce() -> Option<IpAddr>) -> Option<Visit> {
        let (user_agent, origin) = (headers.get(USER_AGENT), headers.get(ORIGIN));
        let agent = Agent::of(user_agent.map_or(b"", |value| value.as_bytes()));
        if !agent.is_telling && (origin.is_none() || agent.browser.is_none()) {
            return None;
        }
        Some(Visit {
            agent,
            user_agent: user_agent.cloned(),
            language: headers.get(ACCEPT_LANGUAGE).cloned(),
            origin: origin.cloned(),
            address: address(),
        })
    }

    /// Whether it is no person's. Libraries are told apart by their origin: without one they have no visit.
    fn is_bot(&self) -> bool {
        self.agent.is_bot || self.agent.is_library
    }

    /// What is added to the events of a request, for a site that wants this much of it.
    ///
    /// # Errors
    /// When the site takes nothing from bots, and this is one.
    pub(super) fn told(
        &self,
        wanted: Enrichment,
        site: Option<&Site>,
        salts: &Salts,
        received_ms: i64,
    ) -> Result<Told, Reject> {
        let is_bot = self.is_bot() && wanted.bots != Bots::Off;
        if is_bot && wanted.bots == Bots::Refuse {
            return Err(Reject::Bot);
        }
        let mut members = String::with_capacity(192);
        let mut add = |name: &str, text: &str| push_member(name, text, &mut members);
        if wanted.user_agent
            && let Some(browser) = self.agent.browser
        {
            add("browser", browser);
            add("os", self.agent.os);
            add("device", self.agent.device);
        }
        let accepted = self.language.as_ref().filter(|_| wanted.language);
        if let Some(language) = accepted.and_then(|accepted| language(accepted.as_bytes())) {
            add("language", &language);
        }
        let address = self.address.filter(|_| wanted.visitor && !is_bot);
        let visitor = address.map(|address| salts.id(received_ms, &self.traits(site, address)));
        if let Some(Some(visitor)) = &visitor {
            add("visitor", visitor);
        }
        if let (Ip::Truncated, Some(address)) = (wanted.ip, self.address) {
            add("ip", &truncated(address).to_string());
        }
        if is_bot {
            members.push_str(",\"bot\":true");
        }
        let own_host = self.origin.as_ref().filter(|_| wanted.referrer).and_then(|origin| origin.to_str().ok());
        Ok(Told {
            whole: whole(site, None, &members),
            members,
            own_host: own_host.and_then(page::host).map(Cow::into_owned),
            referrer: wanted.referrer,
            utm: wanted.utm,
            lacks_visitor: matches!(visitor, Some(None)),
        })
    }

    fn traits<'a>(&'a self, site: Option<&'a Site>, address: IpAddr) -> Traits<'a> {
        let user_agent = self.user_agent.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let user_agent = &user_agent[..user_agent.len().min(agent::MOST_BYTES)];
        Traits { site: site.map_or("", Site::name), address, user_agent }
    }
}

/// What is added to the events of a request.
#[derive(Debug)]
pub(super) struct Told {
    /// The members of the context that all of them share, each after a comma.
    members: String,
    /// The context of an event of which there is nothing else to say; empty when there is nothing at all.
    whole: String,
    own_host: Option<String>,
    referrer: bool,
    utm: bool,
    /// There should be the id of a visitor, and the salt for it is not known.
    pub(super) lacks_visitor: bool,
}

impl Told {
    /// The context of an event whose time was moved by so much.
    pub(super) fn context(
        &self,
        event: &Event<'_>,
        site: Option<&Site>,
        moved_by_ms: Option<i64>,
    ) -> Option<Cow<'_, str>> {
        let found = Found::of(event, self.referrer, self.utm, self.own_host.as_deref());
        let mut fields = found.fields().peekable();
        if fields.peek().is_none() && moved_by_ms.is_none() {
            return (!self.whole.is_empty()).then_some(Cow::Borrowed(&self.whole));
        }
        let mut members = String::with_capacity(self.members.len() + 128);
        members.push_str(&self.members);
        fields.for_each(|(name, text)| push_member(name, text, &mut members));
        Some(Cow::Owned(whole(site, moved_by_ms, &members)))
    }
}

/// What ingest says of any event: whose it is, and by how much its time was moved.
pub(super) fn plain(site: Option<&Site>, moved_by_ms: Option<i64>) -> Option<Cow<'_, str>> {
    match (site, moved_by_ms) {
        (None, None) => None,
        (Some(site), None) => Some(Cow::Borrowed(&site.context)),
        (_, Some(_)) => Some(Cow::Owned(whole(site, moved_by_ms, ""))),
    }
}

/// A context of all its parts; empty when there are none.
fn whole(site: Option<&Site>, moved_by_ms: Option<i64>, members: &str) -> String {
    let mut context = String::with_capacity(members.len() + 128);
    if let Some(site) = site {
        context.push_str(",\"site\":");
        context.push_str(&site.quoted_name);
    }
    if let Some(ms) = moved_by_ms {
        context.push_str(",\"clock_skew_ms\":");
        context.push_str(itoa::Buffer::new().format(ms));
    }
    context.push_str(members);
    if !context.is_empty() {
        // The first comma is where the object begins.
        context.replace_range(..1, "{");
        context.push('}');
    }
    context
}

fn push_member(name: &str, text: &str, out: &mut String) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    push_quoted(text, out);
}

/// The language that a browser names first, without its region: `de` of `de-AT,de;q=0.9,en;q=0.8`.
fn language(accepted: &[u8]) -> Option<String> {
    let first = accepted.trim_ascii_start().split(|b| b",;- ".contains(b)).next()?;
    let is_tag = (2..=3).contains(&first.len()) && first.iter().all(u8::is_ascii_alphabetic);
    is_tag.then(|| first.iter().map(|b| char::from(b.to_ascii_lowercase())).collect())
}

#[cfg(test)]
mod tests;
