//! The simulated consumer group, and what each of its members believes.

use super::log::Topic;
use super::world::Outside;
use crate::log::Notice;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Processor and worker.
pub(super) type Member = (usize, usize);

/// Who has each partition, as the broker sees it.
#[derive(Debug, Default)]
pub(super) struct Group {
    owner: BTreeMap<i32, Member>,
}

impl Group {
    pub(super) fn owner(&self, id: i32) -> Option<Member> {
        self.owner.get(&id).copied()
    }

    pub(super) fn give(&mut self, id: i32, member: Member) {
        self.owner.insert(id, member);
    }

    /// A member gave a partition up; if it was still its own, it is free.
    pub(super) fn released(&mut self, id: i32, by: Member) {
        if self.owner(id) == Some(by) {
            self.owner.remove(&id);
        }
    }

    /// The session of these members is over.
    pub(super) fn drop_members(&mut self, are_gone: impl Fn(Member) -> bool) {
        self.owner.retain(|_, member| !are_gone(*member));
    }
}

/// A member's client.
#[derive(Debug, Default)]
pub(super) struct Consumer {
    /// What it believes to be assigned.
    pub(super) assigned: BTreeSet<i32>,
    /// Where it reads what was started.
    pub(super) fetch: BTreeMap<i32, i64>,
    coming: VecDeque<Notice>,
    /// The group has dropped it, and it does not know.
    pub(super) is_zombie: bool,
}

impl Consumer {
    pub(super) fn assign(&mut self, id: i32) {
        self.assigned.insert(id);
        self.coming.push_back(Notice::Assigned(vec![id]));
    }

    /// The group wants a partition back. Nothing is handed out of it any more.
    pub(super) fn revoke(&mut self, id: i32) {
        self.assigned.remove(&id);
        self.fetch.remove(&id);
        self.coming.push_back(Notice::Revoked(vec![id]));
    }

    /// It learns that it was dropped, and may be a member again before it has given anything up.
    pub(super) fn lose(&mut self) {
        self.is_zombie = false;
        self.fetch.clear();
        let lost = std::mem::take(&mut self.assigned).into_iter().collect();
        self.coming.push_back(Notice::Lost(lost));
    }

    /// Its position may be wrong: an error that names no partition.
    pub(super) fn doubt(&mut self) {
        self.coming.push_back(Notice::OutOfRange(None));
    }

    pub(super) fn start(&mut self, id: i32, from: i64) {
        if self.assigned.contains(&id) {
            self.fetch.insert(id, from);
        }
    }

    pub(super) fn release(&mut self, id: i32) {
        self.fetch.remove(&id);
    }

    pub(super) fn notices(&mut self, outside: &Outside) -> Vec<Notice> {
        let extents: Vec<_> = self.fetch.iter().map(|(id, at)| (*id, *at, outside.topic.extent(*id))).collect();
        for (id, at, extent) in extents {
            if at < extent.start || at > extent.end {
                self.fetch.remove(&id);
                self.coming.push_back(Notice::OutOfRange(Some(id)));
            }
        }
        self.coming.drain(..).collect()
    }

    /// The offset of the next record of a partition.
    pub(super) fn poll(&mut self, id: i32, topic: &Topic) -> Option<i64> {
        let at = self.fetch.get_mut(&id)?;
        let log = topic.log(id);
        let next = log.range(*at, log.end()).find(|(_, entry)| entry.what != super::log::What::Hole)?.0;
        *at = next + 1;
        Some(next)
    }
}
