//! The HTTP server that ingest, query and admin share, and the few answers that they have in common.
//!
//! It takes connections, keeps each within its limits and drains them at the end. What a request means is the
//! [`Handler`]'s business; this room knows no path and no role.

mod body;
mod condition;
mod origin;
mod patience;
mod per_address;
mod receive;
mod respond;
mod secret;
mod server;

pub use body::Body;
pub use condition::{has_already, not_modified};
pub use origin::is_origin;
pub use per_address::network;
pub use receive::{Unreceived, discard, receive};
pub use respond::{error, json, text};
pub use secret::same_secret;
pub use server::{Handler, Limits, Peer, Server};

use std::net::SocketAddr;

/// Whether others than this machine can reach a listener on that address. An unspecified address (`0.0.0.0`, `::`)
/// listens everywhere and so is public.
///
/// ```
/// # use streamgauge::http::is_public;
/// assert!(is_public("0.0.0.0:8080".parse()?));
/// assert!(!is_public("127.0.0.1:8080".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn is_public(addr: SocketAddr) -> bool {
    // ::ffff:127.0.0.1 is 127.0.0.1 in other clothes.
    !addr.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_private() {
        for private in ["127.0.0.1:1", "127.8.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "192.168.1.1:1", "[::ffff:0.0.0.0]:1", "[fe80::1]:1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
