use crate::http::network;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// Wrong tokens of an address that are answered as such.
const BURST: i64 = 20;
/// After them, one more each time that this has passed.
const EACH_MS: i64 = 3_000;
/// Addresses that are remembered; beyond them all others share one place.
const MOST: usize = 10_000;

/// How many wrong tokens came from where: for each address, the time in ms at which all of them are forgotten.
#[derive(Default)]
pub(super) struct WrongTokens(HashMap<IpAddr, i64>);

impl WrongTokens {
    /// Notes a wrong token of an address, or tells in how many seconds the next may come where there were too many.
    pub(super) fn note(&mut self, peer: IpAddr, now_ms: i64) -> Result<(), i64> {
        if self.0.len() >= MOST {
            self.0.retain(|_, forgotten_ms| *forgotten_ms > now_ms);
        }
        let forgotten_ms = self.0.entry(self.place(peer)).or_insert(now_ms);
        let next_ms = (*forgotten_ms).max(now_ms) + EACH_MS;
        let wait_ms = next_ms - BURST * EACH_MS - now_ms;
        if wait_ms > 0 {
            // A part of a second is waited for as a whole one.
            return Err(wait_ms.div_euclid(1_000) + 1);
        }
        *forgotten_ms = next_ms;
        Ok(())
    }

    /// Where an address is noted.
    fn place(&self, peer: IpAddr) -> IpAddr {
        let place = network(peer);
        let known = self.0.len() < MOST || self.0.contains_key(&place);
        if known { place } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn peer(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(n))
    }

    #[test]
    fn after_a_burst_one_each_three_seconds() {
        let mut wrong = WrongTokens::default();
        for _ in 0..BURST {
            wrong.note(peer(1), 0).unwrap();
        }
        assert_eq!(wrong.note(peer(1), 0), Err(4));
        assert_eq!(wrong.note(peer(1), EACH_MS - 1), Err(1));
        assert_eq!((wrong.note(peer(1), EACH_MS), wrong.note(peer(2), 0)), (Ok(()), Ok(())));
        assert!(wrong.note(peer(1), EACH_MS).is_err());
        assert!(wrong.note(peer(1), 100 * EACH_MS).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_a_crowd_shares_a_place() {
        let mut wrong = WrongTokens::default();
        let noted = (1..=MOST as u32 + 1_000).filter(|n| wrong.note(peer(*n), 0).is_ok()).count();
        assert_eq!((noted, wrong.0.len()), (MOST + BURST as usize, MOST + 1));
        wrong.note(peer(u32::MAX), 10_000_000).unwrap();
        assert_eq!(wrong.0.len(), 1);
    }

    #[test]
    fn a_network_of_one_machine_counts_as_one() {
        let mut wrong = WrongTokens::default();
        for n in 0..BURST as u128 {
            wrong.note(IpAddr::V6(Ipv6Addr::from_bits(0x2001 << 112 | n)), 0).unwrap();
        }
        assert!(wrong.note("2001::ffff".parse().unwrap(), 0).is_err());
        assert!(wrong.note("2002::1".parse().unwrap(), 0).is_ok());
    }
}
