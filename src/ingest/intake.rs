//! What is decided about a request, from its head and from its body. No I/O, and told the time.

use super::batch::{Batch, Taking};
use super::client;
use super::clock::Clock;
use super::dry_run::{Counts, Rehearsal};
use super::format::{Content, Format};
use super::inflate::Encoding;
use super::news;
use super::parameter::is_dry_run;
use super::rate::Rates;
use super::reject::Reject;
use super::sites::{Sender, SiteError, Sites};
use super::{Config, Site};
use crate::event::{Invalid, text_time_ms};
use crate::http::Peer;
use crate::tail::Desk;
use crate::telemetry::TraceParent;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Where a request says when it was sent.
const SENT_AT: &str = "x-sent-at";

/// What the head of a request asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) format: Format,
    /// How the body is compressed, if it is.
    pub(super) encoding: Option<Encoding>,
    /// Nothing is to be stored.
    pub(super) dry_run: bool,
    /// The trace that the request belongs to.
    pub(super) trace: Option<TraceParent>,
    sender: Sender,
    /// When it was sent, in ms, by the client's clock.
    sent_at_ms: Option<i64>,
}

/// The rules of the door.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) config: Config,
    pub(super) sites: Sites,
    /// Who is told of what comes in.
    pub(super) tail: Arc<Desk>,
    counts: Counts,
    rates: Option<Rates>,
}

impl Intake {
    /// The configuration has been validated.
    pub(super) fn new(config: Config, sites: &[Site], counts: Counts) -> Result<Intake, SiteError> {
        let sites = Sites::open(sites, config.open)?;
        let tail = Arc::new(Desk::new(config.tail));
        Ok(Intake { sites, tail, counts, rates: Rates::per_second(config.rate_limit), config })
    }

    /// Reads the head of a request that brings events.
    ///
    /// # Errors
    /// When its body is not wanted.
    pub(super) fn head(&self, head: &Parts, trace: Option<TraceParent>) -> Result<Asked, Reject> {
        if let (Some(rates), Some(Peer(peer))) = (&self.rates, head.extensions.get()) {
            let address = client::address(peer.ip(), &head.headers, &self.config.trusted_proxies);
            rates.check(address).map_err(Reject::AddressRate)?;
        }
        let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let format = Format::of(content_type);
        // In what is not understood no key can be found either.
        let has_wrapper = format.is_some_and(Format::has_wrapper);
        let sender = self.sites.sender(&head.headers, &head.uri, has_wrapper)?;
        Ok(Asked {
            format: format.ok_or(Reject::ContentType)?,
            encoding: Encoding::of(&head.headers)?,
            dry_run: is_dry_run(head.uri.query())?,
            trace,
            sender,
            sent_at_ms: sent_at_ms(&head.headers)?,
        })
    }

    /// Reads a body that was received, and inflated, at this time.
    ///
    /// # Errors
    /// When nothing in it can be taken.
    pub(super) fn body(&self, body: &[u8], asked: &Asked, now_ms: i64) -> Result<Batch, Reject> {
        if let Some(array) = asked.format.array(body) {
            // It carries no key. That it holds nothing but good events is by far the most common.
            let sender = self.sender(asked, None)?;
            let batch = Batch::of_array(array, self.config.max_events, self.taking(asked, &sender, None, now_ms));
            if let Some(batch) = batch {
                return Ok(batch);
            }
        }
        let content = asked.format.read(body);
        // Who may not write is told so first, whatever the body is.
        let key = content.as_ref().ok().and_then(|content| content.write_key.as_deref());
        let sender = self.sender(asked, key)?;
        let Content { events, sent_at_ms, .. } = content?;
        let (found, most) = (events.len(), self.config.max_events);
        if found > most {
            return Err(Reject::TooManyEvents { found, most });
        }
        let taking = self.taking(asked, &sender, sent_at_ms, now_ms);
        let batch = Batch::of(&events, taking);
        if !asked.dry_run {
            news::events(&self.tail, taking.site, &events, &batch.faults, now_ms);
        }
        if batch.records.is_empty() { Err(Reject::NothingAccepted(batch.faults)) } else { Ok(batch) }
    }

    /// Who sends, now that the key in the body is known, if there is one.
    fn sender<'a>(&self, asked: &'a Asked, key: Option<&str>) -> Result<Cow<'a, Sender>, Reject> {
        match &asked.sender {
            Sender::Unknown(origin) => self.sites.sender_by_body(key, origin.as_ref()).map(Cow::Owned),
            known => Ok(Cow::Borrowed(known)),
        }
    }

    /// How the events of a request are taken. `sent_at_ms` is what its body says.
    fn taking<'a>(&'a self, asked: &Asked, sender: &'a Sender, sent_at_ms: Option<i64>, now_ms: i64) -> Taking<'a> {
        let clock = Clock { received_ms: now_ms, max_skew_ms: millis(self.config.max_skew) };
        Taking {
            key: self.config.key.key(),
            max_event: self.config.max_event.0,
            clock,
            skew_ms: sent_at_ms.or(asked.sent_at_ms).and_then(|sent_at_ms| clock.skew_ms(sent_at_ms)),
            site: match sender {
                Sender::Site(site) => Some(site),
                Sender::Anybody | Sender::Unknown(_) => None,
            },
            trace: asked.trace,
        }
    }

    /// What would become of a batch.
    pub(super) fn rehearse(&self, batch: Batch, now_ms: i64) -> Rehearsal {
        Rehearsal::of(batch, &self.counts, now_ms)
    }
}

fn sent_at_ms(headers: &HeaderMap) -> Result<Option<i64>, Reject> {
    let Some(value) = headers.get(SENT_AT) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Invalid::NotATime("X-Sent-At"));
    text.and_then(|text| text_time_ms("X-Sent-At", text)).map(Some).map_err(Reject::SentAt)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
