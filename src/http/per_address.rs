use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use tokio::task::Id;

/// How many connections each address has, where that is limited.
#[derive(Debug, Default)]
pub(super) struct PerAddress {
    most: usize,
    connections: HashMap<IpAddr, usize>,
    tasks: HashMap<Id, IpAddr>,
}

impl PerAddress {
    /// Of at most so many; 0 for any number.
    pub(super) fn new(most: usize) -> PerAddress {
        PerAddress { most, ..PerAddress::default() }
    }

    /// Whether an address may have one more.
    pub(super) fn has_room(&self, peer: IpAddr) -> bool {
        self.most == 0 || self.connections.get(&network(peer)).is_none_or(|open| *open < self.most)
    }

    /// Notes a connection of this address, which a task serves.
    pub(super) fn opened(&mut self, task: Id, peer: IpAddr) {
        if self.most > 0 {
            let peer = network(peer);
            self.tasks.insert(task, peer);
            *self.connections.entry(peer).or_default() += 1;
        }
    }

    /// Notes that a task has ended, however it did.
    pub(super) fn closed(&mut self, task: Id) {
        let Some(peer) = self.tasks.remove(&task) else { return };
        if let Some(open) = self.connections.get_mut(&peer) {
            *open -= 1;
            if *open == 0 {
                self.connections.remove(&peer);
            }
        }
    }
}

/// What addresses are told apart by: an IPv6 network as a whole, for one client has all of its addresses.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(peer) => IpAddr::V4(peer),
        IpAddr::V6(peer) => IpAddr::V6(Ipv6Addr::from_bits(peer.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn each_address_has_its_own_places_and_gives_them_back() {
        let (mut all, mut tasks) = (PerAddress::new(2), tokio::task::JoinSet::new());
        let ids: Vec<Id> = (0..2).map(|_| tasks.spawn(async {}).id()).collect();
        all.opened(ids[0], peer("2001:db8::1"));
        assert!(all.has_room(peer("2001:db8::2")));
        all.opened(ids[1], peer("2001:db8::2"));
        assert!(!all.has_room(peer("2001:db8::3")) && all.has_room(peer("2001:db8:0:1::1")));
        ids.iter().for_each(|id| all.closed(*id));
        all.closed(ids[0]);
        assert!(all.connections.is_empty() && all.tasks.is_empty());
    }

    #[tokio::test]
    async fn without_a_limit_nothing_is_kept() {
        let (mut all, mut tasks) = (PerAddress::new(0), tokio::task::JoinSet::new());
        for _ in 0..3 {
            all.opened(tasks.spawn(async {}).id(), peer("::1"));
        }
        assert!(all.has_room(peer("::1")) && all.connections.is_empty() && all.tasks.is_empty());
    }
}
