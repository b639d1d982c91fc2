//! What a member of the group holds, as far as it is known here: a list of facts without a client.
//!
//! librdkafka waits for an answer to every assignment and every revocation, and holds all partitions of the member
//! still until it has it. An assignment is answered at once, with nothing; partitions are added when it is known
//! where they start, which may take as long as it takes. A revocation is answered once, when the last of its
//! partitions is released. In between nothing else may take partitions from librdkafka, for that would count as the
//! answer: what has to be read from another place waits in `parked`.

use crate::log::Notice;
use std::collections::{BTreeMap, BTreeSet};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// Ours, as the group sees it.
    owned: BTreeSet<i32>,
    /// Those that librdkafka reads.
    started: BTreeSet<i32>,
    /// Of the revocation that waits for its answer: what is not released yet.
    revoking: Option<BTreeSet<i32>>,
    /// Released while it waits, but still to be taken from librdkafka.
    leaving: BTreeSet<i32>,
    /// Places to go on from once the revocation is answered.
    parked: BTreeMap<i32, i64>,
    notices: Vec<Notice>,
    pub(super) closing: bool,
}

impl Membership {
    /// The group gave these.
    pub(super) fn assigned(&mut self, partitions: Vec<i32>) {
        self.owned.extend(&partitions);
        self.notices.push(Notice::Assigned(partitions));
    }

    /// The group takes these back. Answers what has to be taken from librdkafka at once: with `at_once` it is what is
    /// read of them, and the revocation is done with; else nothing.
    pub(super) fn revoked(&mut self, partitions: Vec<i32>, at_once: bool) -> Option<Vec<i32>> {
        for partition in &partitions {
            self.owned.remove(partition);
            self.parked.remove(partition);
        }
        if at_once {
            let read = self.take_started(&partitions);
            self.revoking = None;
            self.leaving.clear();
            self.notices.push(Notice::Lost(partitions));
            return Some(read);
        }
        self.revoking = Some(partitions.iter().copied().collect());
        self.notices.push(Notice::Revoked(partitions));
        None
    }

    /// The client has failed for good: librdkafka took everything from it and says no more.
    pub(super) fn lost_all(&mut self) {
        let all: Vec<i32> = self.owned.iter().copied().collect();
        if !all.is_empty() {
            self.revoked(all, true);
        }
    }

    /// Whether the group still takes a commit of this partition from us: it is ours, or asked back. A commit of what was
    /// lost meets the group's next member of our static name, which is us again, and the client would be fenced by itself.
    pub(super) fn may_commit(&self, partition: i32) -> bool {
        self.owned.contains(&partition) || self.revoking.as_ref().is_some_and(|asked| asked.contains(&partition))
    }

    /// Where to read these from: those that are still ours. While a revocation waits they are parked.
    pub(super) fn place(&mut self, positions: &[(i32, i64)]) -> Vec<(i32, i64)> {
        let ours = positions.iter().copied().filter(|(partition, _)| self.owned.contains(partition));
        if self.revoking.is_none() {
            return ours.collect();
        }
        let ours: Vec<_> = ours.collect();
        self.parked.extend(ours);
        Vec::new()
    }

    /// Gives up these. Answers what has to be taken from librdkafka now, if anything has to be said to it.
    pub(super) fn released(&mut self, partitions: &[i32]) -> Option<Vec<i32>> {
        for partition in partitions {
            self.parked.remove(partition);
        }
        let Some(waiting) = self.revoking.as_mut() else {
            let read = self.take_started(partitions);
            return (!read.is_empty()).then_some(read);
        };
        self.leaving.extend(partitions);
        waiting.retain(|partition| !self.leaving.contains(partition));
        if !waiting.is_empty() {
            return None;
        }
        self.revoking = None;
        let leaving: Vec<i32> = std::mem::take(&mut self.leaving).into_iter().collect();
        Some(self.take_started(&leaving))
    }

    /// What was parked, once nothing waits any more.
    pub(super) fn unpark(&mut self) -> Vec<(i32, i64)> {
        if self.revoking.is_some() { Vec::new() } else { std::mem::take(&mut self.parked).into_iter().collect() }
    }

    /// Removes those of them that are read, and names them.
    pub(super) fn take_started(&mut self, partitions: &[i32]) -> Vec<i32> {
        partitions.iter().copied().filter(|partition| self.started.remove(partition)).collect()
    }

    #[cfg(test)]
    pub(super) fn is_started(&self, partition: i32) -> bool {
        self.started.contains(&partition)
    }

    pub(super) fn started(&mut self, partitions: impl IntoIterator<Item = i32>) {
        self.started.extend(partitions);
    }

    /// Those of them that are read: others cannot be paused.
    pub(super) fn read_of(&self, partitions: &[i32]) -> Vec<i32> {
        partitions.iter().copied().filter(|partition| self.started.contains(partition)).collect()
    }

    /// Everything that is read; afterwards nothing is ours.
    pub(super) fn close(&mut self) -> Vec<i32> {
        self.closing = true;
        self.owned.clear();
        self.revoking = None;
        self.parked.clear();
        std::mem::take(&mut self.started).into_iter().collect()
    }

    /// Whether records of some partitions must not be handed out: they are to be read from elsewhere, or given up.
    pub(super) fn withholds(&self) -> bool {
        self.revoking.is_some()
    }

    /// Whether a record of this partition must not be handed out.
    pub(super) fn withheld(&self, partition: i32) -> bool {
        !self.owned.contains(&partition) || self.parked.contains_key(&partition)
    }

    pub(super) fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(partitions: &[i32]) -> Membership {
        let mut members = Membership::default();
        members.assigned(partitions.to_vec());
        members.started(partitions.iter().copied());
        members.notices();
        members
    }

    #[test]
    fn a_revocation_is_answered_with_its_last_release() {
        let mut members = reading(&[0, 1, 2]);
        assert_eq!(members.revoked(vec![1, 2], false), None);
        assert_eq!(members.notices(), [Notice::Revoked(vec![1, 2])]);
        assert_eq!(members.released(&[1]), None);
        assert_eq!(members.released(&[2]), Some(vec![1, 2]));
        assert!(members.is_started(0) && !members.is_started(1));
    }

    #[test]
    fn what_is_lost_is_not_committed_and_what_is_asked_back_is() {
        let mut members = reading(&[0, 1, 2]);
        members.revoked(vec![1], false);
        members.revoked(vec![2], true);
        assert_eq!([0, 1, 2].map(|partition| members.may_commit(partition)), [true, false, false]);
        members.revoked(vec![0], false);
        assert!(members.may_commit(0));
        members.released(&[0]);
        assert!(!members.may_commit(0));
        let mut fatal = reading(&[0]);
        fatal.lost_all();
        assert!(!fatal.may_commit(0));
    }

    #[test]
    fn an_empty_revocation_and_one_of_nothing_started_are_answered_too() {
        let mut members = reading(&[0]);
        members.revoked(vec![], false);
        assert_eq!(members.released(&[]), Some(vec![]));
        members.assigned(vec![7]);
        members.revoked(vec![7], false);
        assert_eq!(members.released(&[7]), Some(vec![]));
    }

    #[test]
    fn what_is_lost_is_given_up_at_once_and_releasing_it_says_nothing() {
        let mut members = reading(&[0, 1]);
        assert_eq!(members.revoked(vec![0, 1], true), Some(vec![0, 1]));
        assert_eq!(members.notices(), [Notice::Lost(vec![0, 1])]);
        assert_eq!(members.released(&[0, 1]), None);
    }

    #[test]
    fn a_member_that_failed_has_lost_everything_once() {
        let mut members = reading(&[0, 1]);
        members.lost_all();
        members.lost_all();
        assert_eq!(members.notices(), [Notice::Lost(vec![0, 1])]);
        assert_eq!(members.place(&[(0, 5)]), []);
    }

    #[test]
    fn a_place_waits_while_a_revocation_does() {
        let mut members = reading(&[0, 1]);
        members.revoked(vec![1], false);
        assert_eq!(members.place(&[(0, 5), (1, 6)]), []);
        assert!(members.withholds() && members.withheld(0) && members.withheld(1));
        assert_eq!(members.unpark(), []);
        members.released(&[1]);
        assert_eq!(members.unpark(), [(0, 5)]);
        assert!(!members.withheld(0));
    }

    #[test]
    fn a_partition_that_is_no_longer_ours_is_not_started() {
        let mut members = reading(&[0]);
        members.revoked(vec![0], true);
        assert_eq!(members.place(&[(0, 5)]), []);
    }

    #[test]
    fn a_release_that_nobody_asked_for_can_be_taken_back() {
        let mut members = reading(&[0, 1]);
        assert_eq!(members.released(&[0]), Some(vec![0]));
        assert_eq!(members.place(&[(0, 3)]), [(0, 3)]);
    }
}
