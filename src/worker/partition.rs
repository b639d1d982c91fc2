//! What one partition's messages wait for: the order of their key, a free place, another attempt. No I/O, no clock.
//!
//! What must stay true: messages of a key are handled one after the other, in the order of the log; at most `limit`
//! are handled at a time; and [`Partition::position`] never passes a message that is not finished.

use super::Message;
use ahash::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// A message and how often it was tried.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) message: Message,
    /// Attempts that failed so far.
    pub(super) failures: u32,
    /// Its key by its hash, for [`Partition`]: two keys with one hash wait for each other, which does no harm.
    key: u64,
    /// Whether messages of its key wait for it.
    holds_key: bool,
}

/// A message that is not finished, or neighbours that are: what is kept follows what is not finished, however far the
/// others have got behind it.
#[derive(Debug)]
struct Slot {
    /// The first offset.
    offset: i64,
    time_ms: Option<i64>,
    is_finished: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Partition {
    limit: usize,
    hasher: RandomState,
    /// Where the next message is expected: the position when nothing is open.
    next: i64,
    /// From the first that is not finished on.
    open: VecDeque<Slot>,
    /// Keys of which a message is under way or waits for another attempt, and the messages behind it.
    keys: HashMap<u64, VecDeque<Message>>,
    /// First of their keys: they only wait for a place.
    ready: VecDeque<Task>,
    /// Not looked at yet.
    incoming: VecDeque<Message>,
    running: usize,
    unfinished: usize,
    bytes: usize,
}

impl Partition {
    /// Starts at an offset, with at most `limit` messages at a time.
    pub(super) fn at(offset: i64, limit: usize) -> Partition {
        Partition {
            limit,
            hasher: RandomState::new(),
            next: offset,
            open: VecDeque::new(),
            keys: HashMap::new(),
            ready: VecDeque::new(),
            incoming: VecDeque::new(),
            running: 0,
            unfinished: 0,
            bytes: 0,
        }
    }

    /// Takes the next message of the log. One from before the position is an old delivery, and left out.
    pub(super) fn accept(&mut self, message: Message) {
        if message.offset() < self.next {
            return;
        }
        self.next = message.offset() + 1;
        self.open.push_back(Slot { offset: message.offset(), time_ms: message.time_ms(), is_finished: false });
        self.unfinished += 1;
        self.bytes += message.weight();
        self.incoming.push_back(message);
    }

    /// A message that may be handled now. It has its place until [`Partition::finished`], [`Partition::waits`] or
    /// [`Partition::put_back`]; if one of these does not come before the next call, [`Partition::holds`] has to.
    pub(super) fn next(&mut self) -> Option<Task> {
        if self.running >= self.limit {
            return None;
        }
        let task = self.ready.pop_front().or_else(|| self.first_of_its_key())?;
        self.running += 1;
        Some(task)
    }

    fn first_of_its_key(&mut self) -> Option<Task> {
        while let Some(message) = self.incoming.pop_front() {
            let key = match message.key() {
                Some(key) => self.hasher.hash_one(key),
                // Without a key there is no order to keep.
                None => self.hasher.hash_one(message.offset()),
            };
            match self.keys.get_mut(&key) {
                Some(behind) => behind.push_back(message.detached()),
                None => return Some(Task { message, failures: 0, key, holds_key: false }),
            }
        }
        None
    }

    /// It takes longer: messages of its key wait for it.
    pub(super) fn holds(&mut self, task: &mut Task) {
        if !task.holds_key {
            task.holds_key = true;
            self.keys.insert(task.key, VecDeque::new());
        }
    }

    /// It is done with, whatever came of it.
    pub(super) fn finished(&mut self, task: &Task) {
        self.running -= 1;
        self.unfinished -= 1;
        self.bytes -= task.message.weight();
        self.close(task.message.offset());
        if !task.holds_key {
            return;
        }
        match self.keys.get_mut(&task.key).and_then(VecDeque::pop_front) {
            Some(message) => self.ready.push_back(Task { message, failures: 0, key: task.key, holds_key: true }),
            None => _ = self.keys.remove(&task.key),
        }
    }

    fn close(&mut self, offset: i64) {
        match self.open.front() {
            Some(first) if first.offset == offset => _ = self.open.pop_front(),
            _ => {
                if let Ok(at) = self.open.binary_search_by_key(&offset, |slot| slot.offset) {
                    self.open[at].is_finished = true;
                    let is_finished = |at: usize| self.open.get(at).is_some_and(|slot| slot.is_finished);
                    let (before, behind) = (at > 0 && is_finished(at - 1), is_finished(at + 1));
                    if behind {
                        self.open.remove(at + 1);
                    }
                    if before {
                        self.open.remove(at);
                    }
                }
            }
        }
        while self.open.front().is_some_and(|slot| slot.is_finished) {
            self.open.pop_front();
        }
    }

    /// It gives up its place for a while; its key waits with it.
    pub(super) fn waits(&mut self, task: &mut Task) {
        self.running -= 1;
        self.holds(task);
        task.message = task.message.detached();
    }

    /// It may be handled again: before all that came later.
    pub(super) fn again(&mut self, task: Task) {
        self.ready.push_front(task);
    }

    /// It gives up its place, and may have one at once.
    pub(super) fn put_back(&mut self, mut task: Task) {
        self.running -= 1;
        self.holds(&mut task);
        self.again(task);
    }

    /// Whether a message only waits for a place.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty() || !self.incoming.is_empty()
    }

    /// Everything before it is finished: what may be committed.
    pub(super) fn position(&self) -> i64 {
        self.open.front().map_or(self.next, |slot| slot.offset)
    }

    /// The record time of the oldest message that is not finished.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        self.open.front()?.time_ms
    }

    /// Messages that are not finished, and their bytes.
    pub(super) fn unfinished(&self) -> (usize, usize) {
        (self.unfinished, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogRecord;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn message(offset: i64, key: Option<&str>) -> Message {
        let key = key.map(str::as_bytes);
        let record = LogRecord { partition: 0, offset, time_ms: None, key, value: None, headers: None };
        Message::alone(&"test".into(), &record)
    }

    fn partition(limit: usize, keys: &[&str]) -> Partition {
        let mut partition = Partition::at(0, limit);
        (0..).zip(keys).for_each(|(offset, key)| partition.accept(message(offset, Some(key))));
        partition
    }

    /// The next one, whose handler takes longer.
    fn begun(partition: &mut Partition) -> Task {
        let mut task = partition.next().unwrap();
        partition.holds(&mut task);
        task
    }

    #[test]
    fn a_key_waits_for_itself_and_for_nobody_else() {
        let mut partition = partition(9, &["a", "a", "b"]);
        let (a, b) = (begun(&mut partition), begun(&mut partition));
        assert_eq!((a.message.offset(), b.message.offset()), (0, 2));
        assert!(partition.next().is_none());
        partition.finished(&a);
        assert_eq!(partition.next().unwrap().message.offset(), 1);
    }

    #[test]
    fn the_position_waits_for_the_oldest() {
        let mut partition = partition(9, &["a", "b", "c"]);
        let tasks = [begun(&mut partition), begun(&mut partition), begun(&mut partition)];
        partition.finished(&tasks[1]);
        partition.finished(&tasks[2]);
        assert_eq!(partition.position(), 0);
        partition.finished(&tasks[0]);
        assert_eq!((partition.position(), partition.unfinished()), (3, (0, 0)));
    }

    #[test]
    fn what_is_kept_follows_what_is_not_finished() {
        let mut partition = partition(9, &["stuck"]);
        let stuck = begun(&mut partition);
        for offset in 1..1_000 {
            partition.accept(message(offset, None));
            let task = partition.next().unwrap();
            partition.finished(&task);
        }
        assert_eq!((partition.position(), partition.open.len()), (0, 2));
        partition.finished(&stuck);
        assert_eq!((partition.position(), partition.open.len()), (1_000, 0));
    }

    #[test]
    fn offsets_without_a_record_are_passed() {
        let mut partition = Partition::at(5, 1);
        partition.accept(message(9, None));
        assert_eq!(partition.position(), 9);
        let task = partition.next().unwrap();
        partition.finished(&task);
        assert_eq!(partition.position(), 10);
    }

    #[test]
    fn what_waits_for_another_attempt_takes_no_place_but_holds_its_key() {
        let mut partition = partition(1, &["a", "b", "a"]);
        let mut first = partition.next().unwrap();
        partition.waits(&mut first);
        let second = partition.next().unwrap();
        assert_eq!(second.message.offset(), 1);
        partition.finished(&second);
        assert!(partition.next().is_none());
        partition.again(first);
        assert_eq!(partition.next().unwrap().message.offset(), 0);
    }

    #[test]
    fn a_repeated_delivery_is_left_out() {
        let mut partition = Partition::at(3, 9);
        [2, 3, 3, 4].into_iter().for_each(|offset| partition.accept(message(offset, None)));
        assert_eq!(partition.unfinished().0, 2);
    }

    proptest! {
        /// Whatever fails, waits and finishes in whatever order: each key in order, nothing twice, nothing lost.
        #[test]
        fn every_message_is_handled_once_and_in_the_order_of_its_key(
            keys in prop::collection::vec(0_u8..5, 1..60),
            limit in 1_usize..5,
            choices in prop::collection::vec(any::<u8>(), 400),
        ) {
            let mut partition = Partition::at(0, limit);
            let mut incoming = (0_i64..).zip(&keys);
            let (mut running, mut waiting, mut finished) = (Vec::new(), Vec::new(), BTreeMap::<u8, Vec<i64>>::new());
            let mut choices = choices.into_iter().cycle();
            let mut choose = |most: usize| usize::from(choices.next().unwrap()) % most.max(1);
            while finished.values().map(Vec::len).sum::<usize>() < keys.len() {
                match choose(4) {
                    0 => if let Some((offset, key)) = incoming.next() {
                        partition.accept(message(offset, Some(&key.to_string())));
                    },
                    1 if !running.is_empty() => {
                        let task: Task = running.swap_remove(choose(running.len()));
                        partition.finished(&task);
                        let offset = task.message.offset();
                        finished.entry(keys[usize::try_from(offset).unwrap()]).or_default().push(offset);
                    }
                    2 if !running.is_empty() && choose(2) == 0 => {
                        let mut task = running.swap_remove(choose(running.len()));
                        partition.waits(&mut task);
                        waiting.push(task);
                    }
                    3 if !waiting.is_empty() => partition.again(waiting.swap_remove(choose(waiting.len()))),
                    _ => match (partition.next(), choose(3)) {
                        // It ends at once.
                        (Some(task), 0) => {
                            partition.finished(&task);
                            let offset = task.message.offset();
                            finished.entry(keys[usize::try_from(offset).unwrap()]).or_default().push(offset);
                        }
                        (Some(task), 1) if choose(2) == 0 => partition.put_back(task),
                        (Some(mut task), _) => {
                            partition.holds(&mut task);
                            running.push(task);
                        }
                        (None, _) => {}
                    },
                }
                prop_assert!(running.len() <= limit);
                let done = |offset: i64| finished.values().any(|offsets| offsets.contains(&offset));
                prop_assert!((0..partition.position()).all(done));
            }
            prop_assert_eq!(partition.position(), i64::try_from(keys.len()).unwrap());
            prop_assert_eq!(partition.unfinished(), (0, 0));
            prop_assert!(partition.keys.is_empty());
            prop_assert!(finished.values().all(|offsets| offsets.is_sorted()));
        }
    }
}
