//! What is decided about a request, from its head and from its body. No I/O, and told the time.

use super::batch::{Batch, Taking};
use super::client;
use super::clock::Clock;
use super::dry_run::{Counts, Rehearsal};
use super::enrich::{Enrichment, Told, Visit};
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
use crate::visitor::Salts;
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
    /// What it says of its visitor, where anybody wants it.
    visit: Option<Visit>,
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
    /// What ids of visitors are made with.
    pub(super) salts: Arc<Salts>,
    counts: Counts,
    rates: Option<Rates>,
    /// Whether anything is added to anybody's events.
    enriches: bool,
}

impl Intake {
    /// The configuration has been validated.
    pub(super) fn new(config: Config, sites: &[Site], counts: Counts) -> Result<Intake, SiteError> {
        let sites = Sites::open(sites, config.open, config.enrich)?;
        let tail = Arc::new(Desk::new(config.tail));
        let salts = Arc::new(Salts::new(sites.any(|wanted| wanted.visitor)));
        let (rates, enriches) = (Rates::per_second(config.rate_limit), sites.any(Enrichment::is_any));
        Ok(Intake { sites, tail, salts, counts, rates, enriches, config })
    }

    /// Reads the head of a request that brings events.
    ///
    /// # Errors
    /// When its body is not wanted.
    pub(super) fn head(&self, head: &Parts, trace: Option<TraceParent>) -> Result<Asked, Reject> {
        let trusted = &self.config.trusted_proxies;
        let address = || head.extensions.get().map(|Peer(peer)| client::address(peer.ip(), &head.headers, trusted));
        if let Some(rates) = &self.rates
            && let Some(address) = address()
        {
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
            visit: if self.enriches { Visit::of(&head.headers, address) } else { None },
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
            let told = self.told(asked, &sender, now_ms)?;
            let taking = self.taking(asked, &sender, told.as_ref(), None, now_ms);
            let batch = Batch::of_array(array, self.config.max_events, taking);
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
        let told = self.told(asked, &sender, now_ms)?;
        let taking = self.taking(asked, &sender, told.as_ref(), sent_at_ms, now_ms);
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

    /// What is added to the events of a request.
    fn told(&self, asked: &Asked, sender: &Sender, now_ms: i64) -> Result<Option<Told>, Reject> {
        let Some(visit) = &asked.visit else { return Ok(None) };
        let site = sender.site();
        let wanted = self.sites.enrichment(site);
        wanted.is_any().then(|| visit.told(wanted, site, &self.salts, now_ms)).transpose()
    }

    /// How the events of a request are taken. `sent_at_ms` is what its body says.
    fn taking<'a>(
        &'a self,
        asked: &Asked,
        sender: &'a Sender,
        told: Option<&'a Told>,
        sent_at_ms: Option<i64>,
        now_ms: i64,
    ) -> Taking<'a> {
        let clock = Clock { received_ms: now_ms, max_skew_ms: millis(self.config.max_skew) };
        Taking {
            key: self.config.key.key(),
            max_event: self.config.max_event.0,
            clock,
            skew_ms: sent_at_ms.or(asked.sent_at_ms).and_then(|sent_at_ms| clock.skew_ms(sent_at_ms)),
            site: sender.site(),
            told,
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
