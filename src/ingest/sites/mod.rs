//! Who may write: the sites, their keys, and the origins of their pages.

mod config;
mod origin;

pub(super) use config::validate;
pub use config::{Config, SiteError, check_keys};

use super::enrich::Enrichment;
use super::parameter::parameter;
use super::rate::Rate;
use super::reject::Reject;
use crate::http::same_secret;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, ORIGIN};
use origin::Origins;
use secrecy::{ExposeSecret, SecretString};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Where a key stands that a request carries in its head.
const WRITE_KEY: &str = "x-write-key";
const BEARER: &str = "bearer ";

/// A site, for as long as the process runs.
#[derive(Debug)]
pub(super) struct Site {
    /// What its events say of it: a JSON string.
    pub(super) quoted_name: Box<str>,
    /// The context of its events, where there is nothing else to say.
    pub(super) context: Box<str>,
    /// What is added to its events.
    pub(super) enrichment: Enrichment,
    origins: Origins,
}

#[derive(Debug)]
struct WriteKey {
    secret: SecretString,
    site: Arc<Site>,
    rate: Option<Rate>,
}

/// All sites. Without any, everybody writes, and a key means nothing.
#[derive(Debug)]
pub(super) struct Sites {
    /// Keys by a hash whose seeds nobody knows, so that the time of a look-up says nothing of a key that is similar.
    keys: HashMap<u64, Vec<WriteKey>>,
    hasher: ahash::RandomState,
    /// Whether a request without a key is taken too, as nobody's.
    open: bool,
    /// The origins of all sites together: whose pages may read an answer.
    pages: Origins,
    /// What is added to events without a site.
    enrichment: Enrichment,
}

/// Who sends.
#[derive(Debug, Clone)]
pub(super) enum Sender {
    /// Nobody that is known: there are no sites, or no key and that is allowed.
    Anybody,
    Site(Arc<Site>),
    /// Its key may be in the body. Its origin is kept until then.
    Unknown(Option<HeaderValue>),
}

impl Sender {
    /// The site, if it is one that is known.
    pub(super) fn site(&self) -> Option<&Site> {
        match self {
            Sender::Site(site) => Some(site),
            Sender::Anybody | Sender::Unknown(_) => None,
        }
    }
}

impl Site {
    pub(super) fn name(&self) -> &str {
        self.quoted_name.trim_matches('"')
    }
}

impl Sites {
    /// Reads the keys of all sites. The configuration has been validated. `enrichment` is what is added to events whose site
    /// does not say otherwise.
    ///
    /// # Errors
    /// When a file cannot be read, or its keys not be used.
    pub(super) fn open(configs: &[Config], open: bool, enrichment: Enrichment) -> Result<Sites, SiteError> {
        let mut pages = if configs.is_empty() || open { Origins::any() } else { Origins::default() };
        let mut all = Vec::new();
        for config in configs {
            let origins = config.origins()?;
            pages.extend(&origins);
            // A name has no character that JSON would escape.
            let quoted_name = format!("\"{}\"", config.name).into_boxed_str();
            let context = format!("{{\"site\":{quoted_name}}}").into_boxed_str();
            let site = Arc::new(Site { quoted_name, context, enrichment: enrichment.with(&config.enrich), origins });
            for secret in config.read_keys()? {
                let key = WriteKey { secret, site: site.clone(), rate: Rate::per_second(config.rate_limit) };
                all.push((config.name.as_str(), key));
            }
        }
        config::each_once(all.iter().map(|(site, key)| (*site, &key.secret)))?;
        let mut sites = Sites { keys: HashMap::new(), hasher: ahash::RandomState::new(), open, pages, enrichment };
        for (_, key) in all {
            let hash = sites.hasher.hash_one(key.secret.expose_secret().as_bytes());
            sites.keys.entry(hash).or_default().push(key);
        }
        Ok(sites)
    }

    /// What is added to the events of a sender.
    pub(super) fn enrichment(&self, site: Option<&Site>) -> Enrichment {
        site.map_or(self.enrichment, |site| site.enrichment)
    }

    /// Whether anything like this is added to the events of any sender.
    pub(super) fn any(&self, wanted: impl Fn(&Enrichment) -> bool) -> bool {
        let sites = self.keys.values().flatten().map(|key| &key.site.enrichment);
        let nobody = (self.open || self.keys.is_empty()).then_some(&self.enrichment);
        sites.chain(nobody).any(wanted)
    }

    /// Who sends, as far as the head of a request says so.
    ///
    /// # Errors
    /// When the key is nobody's, the origin is not one of its site, or it was used too often.
    pub(super) fn sender(&self, headers: &HeaderMap, uri: &Uri, has_wrapper: bool) -> Result<Sender, Reject> {
        if self.keys.is_empty() {
            return Ok(Sender::Anybody);
        }
        match key_in_head(headers, uri) {
            Some(key) => self.admit(&key, headers.get(ORIGIN)).map(Sender::Site),
            None if has_wrapper => Ok(Sender::Unknown(headers.get(ORIGIN).cloned())),
            None => self.keyless(),
        }
    }

    /// Who sends, once the body is read as well.
    ///
    /// # Errors
    /// As [`Sites::sender`].
    pub(super) fn sender_by_body(&self, key: Option<&str>, origin: Option<&HeaderValue>) -> Result<Sender, Reject> {
        match key {
            Some(key) => self.admit(key.as_bytes(), origin).map(Sender::Site),
            None => self.keyless(),
        }
    }

    /// Whether a page of that origin may read answers: any page may, or this one.
    pub(super) fn pages(&self) -> Pages<'_> {
        if self.pages.are_any() { Pages::Any } else { Pages::Some(&self.pages) }
    }

    /// Whose key a request carries in its head, whether it may be used or not: for telling of what was refused.
    pub(super) fn owner(&self, headers: &HeaderMap, uri: &Uri) -> Option<&Site> {
        self.known(&key_in_head(headers, uri)?).map(|found| &*found.site)
    }

    fn known(&self, key: &[u8]) -> Option<&WriteKey> {
        let same_hash = self.keys.get(&self.hasher.hash_one(key)).map_or(&[][..], Vec::as_slice);
        same_hash.iter().find(|known| same_secret(known.secret.expose_secret().as_bytes(), key))
    }

    fn keyless(&self) -> Result<Sender, Reject> {
        if self.open { Ok(Sender::Anybody) } else { Err(Reject::NoKey) }
    }

    fn admit(&self, key: &[u8], origin: Option<&HeaderValue>) -> Result<Arc<Site>, Reject> {
        let found = self.known(key).ok_or(Reject::UnknownKey)?;
        if origin.is_some_and(|origin| !found.site.origins.allow(origin.as_bytes())) {
            return Err(Reject::Origin);
        }
        found.rate.as_ref().map_or(Ok(()), Rate::check).map_err(Reject::KeyRate)?;
        Ok(found.site.clone())
    }
}

/// Whose pages may read an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pages<'a> {
    Any,
    Some(&'a Origins),
}

impl Pages<'_> {
    /// The origin that a request names, where it matters.
    pub(super) fn asked(self, headers: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Pages::Any => None,
            Pages::Some(_) => headers.get(ORIGIN).cloned(),
        }
    }

    pub(super) fn allow(self, origin: &HeaderValue) -> bool {
        match self {
            Pages::Any => true,
            Pages::Some(origins) => origins.allow(origin.as_bytes()),
        }
    }
}

/// The key that a request carries in its head: in a header, as a bearer token, or as a parameter. The first of these
/// counts.
fn key_in_head<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<Cow<'a, [u8]>> {
    if let Some(key) = headers.get(WRITE_KEY) {
        return Some(key.as_bytes().into());
    }
    // A proxy on the way may have a use of its own for this header, in other schemes.
    let token = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(bearer);
    token.map(Cow::Borrowed).or_else(|| parameter(uri.query()?, "write_key"))
}

fn bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = credentials.split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER.as_bytes()).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(toml: &str, open: bool) -> Sites {
        #[derive(serde::Deserialize)]
        struct File {
            #[serde(default)]
            sites: Vec<Config>,
        }
        Sites::open(&toml::from_str::<File>(toml).unwrap().sites, open, Enrichment::default()).unwrap()
    }

    const TWO: &str = "[[sites]]\nname = \"shop\"\nwrite_keys = [\"k1\", \"k2\"]\nallowed_origins = [\"https://shop.example\"]\n\
                       [[sites]]\nname = \"api\"\nwrite_keys = [\"k3\"]\n";

    fn head(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn named(sender: Result<Sender, Reject>) -> Result<String, Reject> {
        sender.map(|sender| match sender {
            Sender::Anybody => "anybody".to_owned(),
            Sender::Site(site) => site.quoted_name.trim_matches('"').to_owned(),
            Sender::Unknown(_) => "unknown".to_owned(),
        })
    }

    #[test]
    fn the_first_key_of_the_head_counts() {
        let sites = sites(TWO, false);
        let of = |pairs: &[(&'static str, &str)], uri: &'static str| {
            named(sites.sender(&head(pairs), &Uri::from_static(uri), true))
        };
        for (pairs, uri, expected) in [
            (&[("x-write-key", "k1")][..], "/events", "shop"),
            (&[("authorization", "Bearer k2")], "/events", "shop"),
            (&[("authorization", "bearer  k3 ")], "/events", "api"),
            (&[], "/events?a=1&write_key=k3", "api"),
            (&[], "/events?write_key=%6b3", "api"),
            (&[("x-write-key", "k1"), ("authorization", "Bearer k3")], "/events?write_key=k3", "shop"),
            (&[("authorization", "Bearer k1")], "/events?write_key=k3", "shop"),
            (&[("authorization", "Basic eDp5")], "/events?write_key=k3", "api"),
            (&[("authorization", "Basic eDp5")], "/events", "unknown"),
            (&[], "/events", "unknown"),
        ] {
            assert_eq!(of(pairs, uri).as_deref(), Ok(expected), "{pairs:?} {uri}");
        }
        for (pairs, uri) in [
            (&[("x-write-key", "")][..], "/events?write_key=k3"),
            (&[("x-write-key", "K1")], "/events"),
            (&[("authorization", "Bearer k")], "/events"),
            (&[("authorization", "Bearer ")], "/events"),
            (&[], "/events?write_key="),
            (&[], "/events?write_key=k1k1"),
        ] {
            assert_eq!(of(pairs, uri), Err(Reject::UnknownKey), "{pairs:?} {uri}");
        }
    }

    #[test]
    fn without_a_key_nobody_writes_unless_it_is_open() {
        let uri = Uri::from_static("/events");
        let closed = sites(TWO, false);
        assert_eq!(named(closed.sender(&HeaderMap::new(), &uri, false)), Err(Reject::NoKey));
        assert_eq!(named(closed.sender_by_body(None, None)), Err(Reject::NoKey));
        assert_eq!(named(closed.sender_by_body(Some("k3"), None)).as_deref(), Ok("api"));
        assert_eq!(named(closed.sender_by_body(Some("k4"), None)), Err(Reject::UnknownKey));
        let open = sites(TWO, true);
        assert_eq!(named(open.sender(&HeaderMap::new(), &uri, false)).as_deref(), Ok("anybody"));
        assert_eq!(named(open.sender_by_body(None, None)).as_deref(), Ok("anybody"));
        assert_eq!(named(open.sender_by_body(Some("k4"), None)), Err(Reject::UnknownKey));
        let none = sites("", false);
        assert_eq!(named(none.sender(&head(&[("x-write-key", "k4")]), &uri, true)).as_deref(), Ok("anybody"));
    }

    #[test]
    fn an_origin_has_to_be_one_of_the_site() {
        let sites = sites(TWO, true);
        let from = |key: &str, origin: &'static str| {
            named(sites.sender_by_body(Some(key), Some(&HeaderValue::from_static(origin))))
        };
        assert_eq!(from("k1", "https://shop.example").as_deref(), Ok("shop"));
        assert_eq!(from("k2", "https://other.example"), Err(Reject::Origin));
        assert_eq!(from("k3", "https://shop.example"), Err(Reject::Origin), "its keys are for services");
        assert_eq!(from("k4", "https://shop.example"), Err(Reject::UnknownKey));
    }

    #[test]
    fn each_key_has_its_own_rate() {
        let sites = sites("[[sites]]\nname = \"a\"\nwrite_keys = [\"k1\", \"k2\"]\nrate_limit = 2", false);
        let mut last = Ok("a".to_owned());
        for _ in 0..3 {
            last = named(sites.sender_by_body(Some("k1"), None));
        }
        assert!(matches!(last, Err(Reject::KeyRate(1))), "{last:?}");
        assert!(named(sites.sender_by_body(Some("k2"), None)).is_ok());
    }

    #[test]
    fn no_key_is_ever_shown() {
        let text = format!("{:?}", sites("[[sites]]\nname = \"a\"\nwrite_keys = [\"hunter2\"]", false));
        assert!(text.contains("\\\"a\\\"") && !text.contains("hunter2"), "{text}");
    }
}
