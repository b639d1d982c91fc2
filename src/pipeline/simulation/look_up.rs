//! A look-up of where partitions start, step by step as in `locate`: the store is asked first, then the log.

use super::store::{Look, Piece};
use super::world::Outside;
use crate::pipeline::registry::Registry;
use crate::pipeline::start::{Located, Start};
use crate::store::StoredPartition;

/// A look-up under way.
#[derive(Debug)]
pub(super) struct LookUp {
    pub(super) worker: usize,
    partitions: Vec<i32>,
    state: State,
}

#[derive(Debug)]
enum State {
    Begun,
    /// What the store says.
    Stored(Vec<Option<StoredPartition>>),
    /// And what the log holds. Not compared yet.
    Found(Vec<(Located, Look)>),
}

impl LookUp {
    pub(super) fn of(worker: usize, partitions: Vec<i32>) -> LookUp {
        LookUp { worker, partitions, state: State::Begun }
    }

    /// Its next step. The answer, once it is complete.
    pub(super) fn get_on(&mut self, registry: &Registry, outside: &Outside) -> Option<Vec<(Located, Look)>> {
        self.state = match std::mem::replace(&mut self.state, State::Begun) {
            State::Begun => State::Stored(self.partitions.iter().map(|id| outside.store.partition(*id)).collect()),
            State::Stored(stored) => {
                let both = self.partitions.iter().zip(&stored);
                State::Found(both.map(|(id, stored)| outside.extent(*id, stored)).collect())
            }
            State::Found(mut found) => {
                if found.iter_mut().all(|(one, look)| outside.compare(one, look, registry)) {
                    return Some(found);
                }
                // What the log does not hold any more it cannot answer for: the look-up begins anew.
                State::Begun
            }
        };
        None
    }
}

/// The gap that a partition crosses that was located so, if any.
pub(super) fn gap_of(located: &Located, look: &Look, expected: bool) -> Option<Piece> {
    let Start::Behind(missing) = located.start(expected) else { return None };
    let from = located.stored.as_ref().and_then(|stored| stored.next_offset).unwrap_or(0);
    Some(Piece { log: look.log, from, to: missing.resume, look: *look, gap: Some(missing.lost) })
}
