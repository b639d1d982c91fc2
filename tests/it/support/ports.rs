//! Ports for services that cannot be told to choose one themselves.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes the ports of outgoing connections: else, while a service
/// is down between kill and restart, some client's connection may sit on its port, or a client that
/// tries to reach it may connect to itself.
const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// `N` ports of 127.0.0.1 that nobody listens on and that this function gave to nobody else.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at the same time begin at different places.
    let offset = (std::process::id().wrapping_mul(131) % u32::from(COUNT)) as u16;
    std::array::from_fn(|_| {
        (0..COUNT)
            .map(|_| {
                let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
                FIRST + (offset + step) % COUNT
            })
            .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
            .expect("a free port")
    })
}
