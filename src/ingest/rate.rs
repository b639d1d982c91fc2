//! How often somebody may ask.

use crate::http::network;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Addresses that are remembered one by one; beyond them new ones share places.
const MOST_PLACES: usize = 100_000;
/// After so many requests it is looked which addresses can be forgotten.
const SWEEP_EACH: u32 = 1_024;

/// Seconds until the next request may come.
type WaitS = u64;

fn quota(per_second: u32) -> Option<Quota> {
    NonZeroU32::new(per_second).map(Quota::per_second)
}

/// Whole ones: a part of a second is waited for as a second.
fn seconds<C: Clock>(not_until: &NotUntil<C::Instant>, clock: &C) -> WaitS {
    let wait = not_until.wait_time_from(clock.now());
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Requests of one sender: as many a second as its limit says, and so many at once.
#[derive(Debug)]
pub(super) struct Rate(RateLimiter<NotKeyed, InMemoryState, DefaultClock, NoOpMiddleware>);

impl Rate {
    /// `None` for 0, which is no limit.
    pub(super) fn per_second(per_second: u32) -> Option<Rate> {
        quota(per_second).map(|quota| Rate(RateLimiter::direct(quota)))
    }

    /// Notes a request, or tells in how many seconds it may come again.
    pub(super) fn check(&self) -> Result<(), WaitS> {
        self.0.check().map_err(|not_until| seconds(&not_until, self.0.clock()))
    }
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    V4(u32),
    /// The network of an IPv6 address: one client has all of its addresses.
    V6(u64),
    /// One of a few that all others share while there are too many.
    Crowd(u8),
}

impl Place {
    fn of(address: IpAddr) -> Place {
        match network(address) {
            IpAddr::V4(address) => Place::V4(address.to_bits()),
            IpAddr::V6(address) => Place::V6((address.to_bits() >> 64) as u64),
        }
    }

    fn shared(self) -> Place {
        let bits = match self {
            Place::V4(bits) => u64::from(bits),
            Place::V6(bits) => bits,
            Place::Crowd(_) => return self,
        };
        // Multiplied, so that neighbours are spread as well.
        Place::Crowd((bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
    }
}

/// Requests by the address of who sends them. Its memory is bounded: whoever has been silent for a second is forgotten.
#[derive(Debug)]
pub(super) struct Rates<C: Clock = DefaultClock> {
    limiter: RateLimiter<Place, DashMapStateStore<Place>, C, NoOpMiddleware<C::Instant>>,
    checks: AtomicU32,
    crowded: AtomicBool,
}

impl Rates {
    /// `None` for 0, which is no limit.
    pub(super) fn per_second(per_second: u32) -> Option<Rates> {
        quota(per_second).map(|quota| Rates::with_clock(quota, DefaultClock::default()))
    }
}

impl<C: Clock> Rates<C> {
    fn with_clock(quota: Quota, clock: C) -> Rates<C> {
        Rates {
            limiter: RateLimiter::dashmap_with_clock(quota, clock),
            checks: AtomicU32::new(0),
            crowded: AtomicBool::new(false),
        }
    }

    /// Notes a request of an address, or tells in how many seconds it may come again.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), WaitS> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EACH == SWEEP_EACH - 1 {
            self.sweep();
        }
        let place = Place::of(address);
        let place = if self.crowded.load(Ordering::Relaxed) { place.shared() } else { place };
        self.limiter.check_key(&place).map_err(|not_until| seconds(&not_until, self.limiter.clock()))
    }

    fn sweep(&self) {
        self.limiter.retain_recent();
        self.crowded.store(self.limiter.len() > MOST_PLACES, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    fn v4(bits: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    }

    fn rates(per_second: u32) -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Rates::with_clock(quota(per_second).unwrap(), clock.clone()), clock)
    }

    #[test]
    fn zero_is_no_limit() {
        assert!(Rate::per_second(0).is_none() && Rates::per_second(0).is_none());
    }

    #[test]
    fn each_address_has_a_rate_of_its_own() {
        let (rates, clock) = rates(2);
        for _ in 0..2 {
            assert_eq!((rates.check(v4(1)), rates.check(v4(2))), (Ok(()), Ok(())));
        }
        assert_eq!(rates.check(v4(1)), Err(1));
        clock.advance(Duration::from_millis(499));
        assert_eq!(rates.check(v4(1)), Err(1));
        clock.advance(Duration::from_millis(1));
        assert_eq!((rates.check(v4(1)), rates.check(v4(1))), (Ok(()), Err(1)));
    }

    #[test]
    fn a_network_of_one_client_counts_as_one() {
        let (rates, _) = rates(1);
        let network = |bits: u128| IpAddr::V6(Ipv6Addr::from_bits(bits));
        rates.check(network(0x2001_0db8 << 96 | 1)).unwrap();
        assert!(rates.check(network(0x2001_0db8 << 96 | u128::from(u64::MAX))).is_err());
        rates.check(network(0x2001_0db8 << 96 | 1 << 64)).unwrap();
        rates.check("::ffff:1.2.3.4".parse().unwrap()).unwrap();
        assert!(rates.check("1.2.3.4".parse().unwrap()).is_err());
    }

    #[test]
    fn memory_is_bounded_and_the_silent_are_forgotten() {
        let (rates, clock) = rates(1);
        let most = MOST_PLACES as u32 + SWEEP_EACH + 256;
        for bits in 0..3 * most {
            let _ = rates.check(v4(bits));
        }
        assert!(rates.limiter.len() <= most as usize, "{}", rates.limiter.len());
        assert!(rates.crowded.load(Ordering::Relaxed));
        clock.advance(Duration::from_secs(2));
        for _ in 0..SWEEP_EACH {
            let _ = rates.check(v4(7));
        }
        assert!(rates.limiter.len() <= 2 && !rates.crowded.load(Ordering::Relaxed), "{}", rates.limiter.len());
    }
}
