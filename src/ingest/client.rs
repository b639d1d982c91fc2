//! Where a request comes from: its address, or what proxies that are trusted say of it. It is used for limits, and not kept.

use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A network whose machines are proxies of ours, as a user writes it: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustedProxy(IpNet);

impl TryFrom<String> for TrustedProxy {
    type Error = String;

    fn try_from(text: String) -> Result<TrustedProxy, String> {
        let one = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse()
            .or_else(|_| one())
            .map(TrustedProxy)
            .map_err(|_| format!("`{text}` is no network: write it like \"10.0.0.0/8\", \"fd00::/8\" or \"192.0.2.1\""))
    }
}

impl From<TrustedProxy> for String {
    fn from(proxy: TrustedProxy) -> String {
        proxy.0.to_string()
    }
}

/// The address of the client. Only what a trusted proxy wrote is believed: each proxy adds, on the right, where it was
/// asked from, so the first from the right that is not trusted is the client.
///
/// There are two headers for it. A proxy that writes one of them may pass the other on as a client made it up, so where
/// both are there and differ, neither is believed.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[TrustedProxy]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|proxy| proxy.0.contains(&address));
    if !is_trusted(peer) {
        return peer;
    }
    let told = [(FORWARDED, forwarded as Node), (X_FORWARDED_FOR, x_forwarded_for as Node)].map(|(name, node)| {
        let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
        let elements = values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|b| *b == b','));
        let mut hops = elements.map(|element| node(element.trim_ascii()));
        (!values.is_empty()).then(|| walk(peer, &mut hops, is_trusted))
    });
    match told {
        [Some(one), Some(other)] if one != other => peer,
        [Some(told), _] | [None, Some(told)] => told,
        [None, None] => peer,
    }
}

/// Reads an element of a header.
type Node = fn(&[u8]) -> Option<IpAddr>;

/// From the peer to the client, as far as there are addresses.
fn walk(peer: IpAddr, hops: &mut dyn Iterator<Item = Option<IpAddr>>, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut last = peer;
    for hop in hops {
        let Some(hop) = hop else { break };
        last = hop;
        if !is_trusted(hop) {
            break;
        }
    }
    last
}

/// `for=192.0.2.60;proto=http`, `For="[2001:db8::17]:4711"`.
fn forwarded(element: &[u8]) -> Option<IpAddr> {
    let parameters = element.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let node = parameters
        .filter_map(|parameter| parameter.split_at_checked(4))
        .find_map(|(name, value)| name.eq_ignore_ascii_case(b"for=").then_some(value))?;
    let unquoted = node.strip_prefix(b"\"").and_then(|node| node.strip_suffix(b"\"")).unwrap_or(node);
    x_forwarded_for(unquoted)
}

/// An address, with a port or without.
fn x_forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|node| node.ip())).ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(HeaderName, &str)]) -> String {
        let trusted =
            ["10.0.0.0/8", "fd00::/8", "192.0.2.9"].map(|text| TrustedProxy::try_from(text.to_owned()).unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        address(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn nobody_else_is_believed() {
        for peer in ["203.0.113.1", "::1", "192.0.2.8"] {
            let lies = [(X_FORWARDED_FOR, "1.1.1.1"), (FORWARDED, "for=1.1.1.1")];
            assert_eq!(client(peer, &lies), peer);
        }
    }

    #[test]
    fn the_first_from_the_right_that_is_not_trusted_is_the_client() {
        for (value, expected) in [
            ("198.51.100.7", "198.51.100.7"),
            ("6.6.6.6, 198.51.100.7", "198.51.100.7"),
            ("6.6.6.6,198.51.100.7 , 10.1.1.1,192.0.2.9", "198.51.100.7"),
            ("198.51.100.7:4711", "198.51.100.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:80, fd00::5", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            // All of them are ours: the one that is farthest.
            ("10.7.7.7, 10.1.1.1", "10.7.7.7"),
            // What is no address ends it: the proxy that wrote it is all that is known.
            ("6.6.6.6, unknown, 10.1.1.1", "10.1.1.1"),
            ("unknown", "10.0.0.1"),
            ("", "10.0.0.1"),
            ("198.51.100.7,", "10.0.0.1"),
            ("198.51.100.7 6.6.6.6", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[(X_FORWARDED_FOR, value)]), expected, "{value}");
        }
        let two_lines = [(X_FORWARDED_FOR, "6.6.6.6, 198.51.100.7"), (X_FORWARDED_FOR, "10.1.1.1")];
        assert_eq!(client("::ffff:10.0.0.1", &two_lines), "198.51.100.7");
    }

    #[test]
    fn the_standard_header_is_read_too() {
        for (value, expected) in [
            ("for=198.51.100.7", "198.51.100.7"),
            ("for=6.6.6.6, For=\"198.51.100.7:47011\";proto=https;by=10.0.0.1, for=10.1.1.1", "198.51.100.7"),
            ("proto=http; FOR=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=_hidden", "10.0.0.1"),
            ("for=6.6.6.6, by=10.0.0.1", "10.0.0.1"),
            ("for=\"198.51.100.7", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[(FORWARDED, value)]), expected, "{value}");
        }
    }

    #[test]
    fn of_two_headers_that_differ_neither_is_believed() {
        let same = [(X_FORWARDED_FOR, "198.51.100.7"), (FORWARDED, "for=198.51.100.7")];
        assert_eq!(client("10.0.0.1", &same), "198.51.100.7");
        let made_up = [(X_FORWARDED_FOR, "198.51.100.7"), (FORWARDED, "for=6.6.6.6")];
        assert_eq!(client("10.0.0.1", &made_up), "10.0.0.1");
    }

    #[test]
    fn a_network_that_is_none_is_answered_with_an_example() {
        for wrong in ["", "proxy", "10.0.0.0/33", "10.0.0", "*"] {
            assert!(TrustedProxy::try_from(wrong.to_owned()).unwrap_err().contains("10.0.0.0/8"), "{wrong}");
        }
    }
}
