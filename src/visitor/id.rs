use crate::store::Salt;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use uuid::Uuid;

/// What tells a visitor from others, for as long as a request is looked at.
#[derive(Clone, Copy)]
pub struct Traits<'a> {
    /// The site's name; empty without one. At most 64 bytes.
    pub site: &'a str,
    /// Where the request came from.
    pub address: IpAddr,
    /// What it says of its browser.
    pub user_agent: &'a [u8],
}

impl Traits<'_> {
    /// The id of these with a salt: 32 hexadecimal digits.
    pub(super) fn id(&self, salt: &Salt) -> String {
        let mut hasher = SipHasher24::new_with_key(salt.expose());
        // Each part is preceded by its length or its kind, so that no two visitors are one text.
        hasher.write(&(self.site.len() as u64).to_le_bytes());
        hasher.write(self.site.as_bytes());
        match self.address.to_canonical() {
            IpAddr::V4(address) => {
                hasher.write(&[4]);
                hasher.write(&address.octets());
            }
            // What one client has is a /64, in which it takes another address whenever it likes.
            IpAddr::V6(address) => {
                hasher.write(&[6]);
                hasher.write(&address.octets()[..8]);
            }
        }
        hasher.write(self.user_agent);
        Uuid::from_bytes(hasher.finish128().as_bytes()).as_simple().to_string()
    }
}

/// An address without what tells one client from its neighbours: the /24 of IPv4, the /48 of IPv6.
pub fn truncated(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(site: &str, address: &str, user_agent: &str, salt: u8) -> String {
        let traits = Traits { site, address: address.parse().unwrap(), user_agent: user_agent.as_bytes() };
        traits.id(&Salt::of(&[salt; 16]).unwrap())
    }

    #[test]
    fn an_id_is_the_same_for_the_same_and_another_for_all_else() {
        let first = id("shop", "203.0.113.7", "Firefox", 1);
        assert_eq!(first.len(), 32);
        assert!(first.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{first}");
        assert_eq!(id("shop", "203.0.113.7", "Firefox", 1), first);
        assert_eq!(id("shop", "::ffff:203.0.113.7", "Firefox", 1), first, "the same address in other words");
        for other in [
            id("shop", "203.0.113.7", "Firefox", 2),
            id("shop", "203.0.113.8", "Firefox", 1),
            id("shop", "203.0.113.7", "firefox", 1),
            id("", "203.0.113.7", "Firefox", 1),
            id("sho", "203.0.113.7", "Firefox", 1),
        ] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn of_ipv6_the_network_counts() {
        let of = |address: &str| id("shop", address, "Firefox", 1);
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:aaaa::1"));
        assert_ne!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:3:3:4:5:6"));
    }

    /// It has to stay: an id that another version makes in another way would be a second visitor. The texts were made by
    /// another implementation of the hash.
    #[test]
    fn an_id_is_what_it_was() {
        assert_eq!(id("shop", "203.0.113.7", "Firefox", 1), "aef12c850d60bd5eaf8406da1c8820ac");
        assert_eq!(id("", "2001:db8::1", "", 7), "e6224acca6a934405cb3128e123e09a1");
    }

    #[test]
    fn a_truncated_address_is_a_network() {
        for (address, expected) in [
            ("203.0.113.77", "203.0.113.0"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("::1", "::"),
        ] {
            assert_eq!(truncated(address.parse().unwrap()).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_part_runs_into_another(
            one in ("[ab]{0,3}", "[ab]{0,3}", any::<[u8; 4]>()), other in ("[ab]{0,3}", "[ab]{0,3}", any::<[u8; 4]>()),
        ) {
            let of = |(site, agent, address): &(String, String, [u8; 4])| {
                id(site, &IpAddr::from(*address).to_string(), agent, 1)
            };
            prop_assert_eq!(of(&one) == of(&other), one == other);
        }
    }
}
