//! Under which names a listener of this machine alone is asked.
//!
//! Without a token it is the address that keeps others out. A page of another site gets past it when its own name is
//! made to lead to 127.0.0.1: to the browser it then is the same site. The name in the request gives it away.

use super::{Config, QueryError};
use crate::http::is_public;
use hyper::Uri;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use std::net::IpAddr;

/// Of a name that is refused this much is said back.
const SHOWN_CHARS: usize = 100;

/// The names that are answered.
#[derive(Debug)]
pub(super) enum Hosts {
    /// All: a token is asked for, or everybody may read who reaches the listener.
    All,
    /// Those that lead to this machine wherever they are looked up, and these.
    Local(Vec<String>),
}

impl Hosts {
    /// As a configuration has it.
    pub(super) fn of(config: &Config) -> Hosts {
        let has_token = config.token.is_some() || config.token_file.is_some();
        if has_token || config.open || is_public(config.listen) {
            return Hosts::All;
        }
        // Scripts of an allowed origin may read anyhow.
        let origins = config.allowed_origins.iter().filter_map(|origin| origin.split_once("://"));
        let origins = origins.map(|(_, host)| name_of(host).to_owned());
        Hosts::Local(config.allowed_hosts.iter().cloned().chain(origins).collect())
    }

    /// Refuses a request for a name that may lead anywhere. Browsers always send one.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), QueryError> {
        let Hosts::Local(allowed) = self else { return Ok(()) };
        let sent = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
        for host in sent.chain(uri.authority().map(|authority| authority.as_str().as_bytes())) {
            let host = String::from_utf8_lossy(host);
            let name = name_of(&host);
            if !is_local(name) && !allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)) {
                return Err(QueryError::OtherHost(name.chars().take(SHOWN_CHARS).collect()));
            }
        }
        Ok(())
    }
}

/// The name or address of `host` or `host:port`, without the dot at its end.
fn name_of(host: &str) -> &str {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a name leads to this machine for sure. An address does: nobody else's pages are at it.
fn is_local(name: &str) -> bool {
    let is_localhost = |name: &str| name.eq_ignore_ascii_case("localhost");
    name.is_empty() || name.parse::<IpAddr>().is_ok() || is_localhost(name.rsplit('.').next().unwrap_or(name))
}

/// Whether a text is a name as it stands in a request.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) && !text.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(toml: &str) -> Hosts {
        Hosts::of(&toml::from_str(toml).unwrap())
    }

    fn answers(hosts: &Hosts, host: &str) -> bool {
        let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        hosts.check(&"/".parse().unwrap(), &headers).is_ok()
    }

    #[test]
    fn only_names_that_lead_here_are_answered() {
        let local = hosts("");
        for host in ["localhost", "LocalHost:8080", "a.localhost", "localhost.", "127.0.0.1:1", "[::1]:8080", "[::1]"] {
            assert!(answers(&local, host), "{host}");
        }
        // Neither of them can be the name of a page elsewhere.
        assert!(answers(&local, "10.1.2.3:8080") && answers(&local, ""));
        for host in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "localhos"]
        {
            assert!(!answers(&local, host), "{host}");
        }
        local.check(&"/".parse().unwrap(), &HeaderMap::new()).unwrap();
        assert!(local.check(&"http://evil.example/".parse().unwrap(), &HeaderMap::new()).is_err());
    }

    #[test]
    fn what_is_configured_is_answered_too() {
        let hosts = hosts("allowed_hosts = [\"counts.example\"]\nallowed_origins = [\"https://app.example:3000\"]");
        for (host, answered) in
            [("Counts.Example:80", true), ("app.example", true), ("x.counts.example", false), ("example", false)]
        {
            assert_eq!(answers(&hosts, host), answered, "{host}");
        }
    }

    #[test]
    fn where_the_address_keeps_nobody_out_every_name_is_answered() {
        for all in [
            "token = \"a-long-and-random-text\"",
            "token_file = \"/run/secrets/token\"",
            "open = true",
            "listen = \"0.0.0.0:8080\"\nopen = true",
        ] {
            assert!(answers(&hosts(all), "streamgauge:8080"), "{all}");
        }
    }

    #[test]
    fn a_name_has_neither_scheme_nor_port() {
        assert!(is_name("counts.example") && is_name("query-1"));
        for wrong in ["", "*", "https://counts.example", "counts.example:8080", "counts.example.", "a b", "[::1]"] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }
}
