//! A history: a random world, random steps in it, and then an end without faults in which everything must get counted.

use super::group::Consumer;
use super::planted::Planted;
use super::processor::Processor;
use super::world::{Outside, Reply};
use crate::store::PartitionState;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Append,
    Work,
    Turn,
    Locate,
    Letters,
    Tick,
    Send,
    GetOn,
    Ends,
    Tails,
    CheckLog,
    TryStopped,
    Assign,
    // What follows are faults, or what an operator does.
    LoseReply,
    LoseLetters,
    Late,
    Revoke,
    TimeOut,
    Wake,
    Doubt,
    Crash,
    Join,
    Save,
    RollBack,
    Empty,
    Trim,
    Accept,
    MakeAnew,
    Cut,
}

const ALWAYS: [(usize, Step); 13] = [
    (12, Step::Append),
    (14, Step::Work),
    (10, Step::Turn),
    (14, Step::Locate),
    (6, Step::Letters),
    (6, Step::Tick),
    (2, Step::Send),
    (16, Step::GetOn),
    (2, Step::Ends),
    (2, Step::Tails),
    (1, Step::CheckLog),
    (1, Step::TryStopped),
    (8, Step::Assign),
];

/// Faults that a history may have, each with its weight and in how many histories of a hundred.
const SOMETIMES: [(usize, Step, usize); 16] = [
    (4, Step::LoseReply, 60),
    (2, Step::LoseLetters, 30),
    (4, Step::Late, 70),
    (2, Step::Revoke, 60),
    (1, Step::TimeOut, 50),
    (1, Step::Wake, 70),
    (1, Step::Doubt, 25),
    (1, Step::Crash, 50),
    (2, Step::Join, 70),
    (2, Step::Save, 40),
    (1, Step::RollBack, 40),
    (1, Step::Empty, 10),
    (2, Step::Trim, 40),
    (2, Step::Accept, 40),
    (1, Step::MakeAnew, 15),
    (1, Step::Cut, 15),
];

/// Turns after which a partition without faults must have got on.
const ENOUGH: usize = 60;

/// What came of a history without a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Played {
    /// All of it was checked.
    Whole,
    /// It ended at a coincidence that no comparison of offsets can tell.
    ToACoincidence,
}

/// Plays the history of a seed.
///
/// # Errors
/// What was wrong, and after which step.
pub(super) fn play(seed: u64, planted: Option<Planted>, traced: bool) -> Result<Played, String> {
    let outside = Outside::new(seed, planted, traced);
    let mut world = World { outside, processors: Vec::new(), born: 0 };
    let steps = world.steps();
    let many = 20 + world.outside.random.below(130);
    world.join();
    for number in 0..many {
        let step = world.outside.random.weighted(&steps);
        world.outside.tell(|| format!("{number}: {step:?}"));
        world.step(step);
        world.outside.check().map_err(|wrong| format!("after step {number}, {step:?}: {wrong}"))?;
        if world.outside.coincidence {
            return Ok(Played::ToACoincidence);
        }
    }
    world.finish().map_err(|wrong| format!("at the end: {wrong}"))?;
    Ok(if world.outside.coincidence { Played::ToACoincidence } else { Played::Whole })
}

struct World {
    outside: Outside,
    processors: Vec<Processor>,
    /// How many processors there ever were.
    born: usize,
}

impl World {
    fn steps(&mut self) -> Vec<(usize, Step)> {
        let mut steps = ALWAYS.to_vec();
        for (weight, step, of_hundred) in SOMETIMES {
            if self.outside.random.below(100) < of_hundred {
                steps.push((weight, step));
            }
        }
        steps
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append | Step::Trim | Step::Accept | Step::MakeAnew | Step::Cut => self.topic_step(step),
            Step::Save => self.outside.store.save(),
            Step::RollBack => self.outside.store.roll_back(),
            Step::Empty => self.outside.store.empty(),
            Step::Late => self.late(),
            Step::Assign | Step::Revoke | Step::TimeOut | Step::Wake | Step::Doubt => self.group_step(step),
            Step::Join if self.processors.len() < 3 => self.join(),
            Step::Join => {}
            _ => self.processor_step(step),
        }
    }

    fn topic_step(&mut self, step: Step) {
        let Outside { topic, random, store, .. } = &mut self.outside;
        let id = random.below(topic.partitions.len()) as i32;
        match step {
            Step::Append => (0..random.within(1..=6)).for_each(|_| topic.append(id, random)),
            Step::Trim => {
                let log = topic.log(id);
                let to = random.within(log.start..=log.end().min(log.start + 8));
                topic.trim(id, to);
            }
            Step::Accept => store.accept_gap(id),
            Step::MakeAnew if topic.logs(id).len() < 3 => topic.make_anew(random.once_in(2)),
            Step::Cut if topic.logs(id).len() < 3 => {
                let end = topic.log(id).end();
                topic.cut(id, random.within((end - 8).max(0)..=end));
            }
            _ => {}
        }
    }

    /// A request that nobody waits for arrives; once more, or for the last time.
    fn late(&mut self) {
        let Outside { random, late, .. } = &mut self.outside;
        if late.is_empty() {
            return;
        }
        let at = random.below(late.len());
        let request = if random.once_in(2) { late[at].clone() } else { late.swap_remove(at) };
        self.outside.deliver(&request);
    }

    fn members(&self) -> Vec<(usize, usize)> {
        let all = self.processors.iter().flat_map(|p| (0..p.workers.len()).map(|worker| (p.id, worker)));
        all.collect()
    }

    fn is_zombie(&self, (id, worker): (usize, usize)) -> bool {
        let processor = self.processors.iter().find(|processor| processor.id == id);
        processor.is_some_and(|processor| processor.workers[worker].consumer.is_zombie)
    }

    fn consumer(&mut self, (id, worker): (usize, usize)) -> Option<&mut Consumer> {
        let processor = self.processors.iter_mut().find(|processor| processor.id == id)?;
        Some(&mut processor.workers[worker].consumer)
    }

    fn group_step(&mut self, step: Step) {
        let members: Vec<_> = self.members();
        let Some(member) = self.outside.random.pick(&members) else { return };
        let id = self.outside.random.below(self.outside.topic.partitions.len()) as i32;
        match step {
            Step::Assign => self.assign(id),
            Step::Revoke => {
                if let Some(owner) = self.outside.group.owner(id).filter(|owner| !self.is_zombie(*owner))
                    && let Some(consumer) = self.consumer(owner).filter(|consumer| consumer.assigned.contains(&id))
                {
                    consumer.revoke(id);
                }
            }
            Step::TimeOut => {
                self.outside.group.drop_members(|one| one == member);
                self.consumer(member).into_iter().for_each(|consumer| consumer.is_zombie = true);
            }
            Step::Wake => {
                let zombie = members.into_iter().find(|member| self.is_zombie(*member));
                zombie.and_then(|zombie| self.consumer(zombie)).into_iter().for_each(Consumer::lose);
            }
            Step::Doubt => self.consumer(member).into_iter().for_each(Consumer::doubt),
            _ => {}
        }
    }

    /// Gives a partition that nobody has to a member.
    fn assign(&mut self, id: i32) {
        if self.outside.group.owner(id).is_some() {
            return;
        }
        let members: Vec<_> = self.members().into_iter().filter(|member| !self.is_zombie(*member)).collect();
        let Some(member) = self.outside.random.pick(&members) else { return };
        self.outside.group.give(id, member);
        self.outside.tell(|| format!("  {id} is given to {member:?}"));
        self.consumer(member).into_iter().for_each(|consumer| consumer.assign(id));
    }

    fn join(&mut self) {
        let workers = 1 + self.outside.random.below(2);
        self.processors.push(Processor::new(self.born, workers, &self.outside));
        self.born += 1;
    }

    fn processor_step(&mut self, step: Step) {
        if self.processors.is_empty() {
            return;
        }
        let at = self.outside.random.below(self.processors.len());
        if step == Step::Crash {
            let processor = self.processors.swap_remove(at);
            self.outside.group.drop_members(|(id, _)| id == processor.id);
            return processor.end(&mut self.outside);
        }
        let (processor, outside) = (&mut self.processors[at], &mut self.outside);
        let worker = outside.random.below(processor.workers.len());
        let shard = outside.random.below(outside.settings.shards);
        match step {
            Step::Work => processor.work(worker, outside),
            Step::Turn => processor.turn(worker, outside),
            Step::Locate if !processor.look_ups.is_empty() => {
                let index = outside.random.below(processor.look_ups.len());
                processor.locate(index, outside);
            }
            Step::Letters => processor.store_letters(true, outside),
            Step::LoseLetters => processor.store_letters(false, outside),
            Step::Tick => processor.tick(outside),
            Step::Send => processor.send(shard, outside),
            Step::GetOn => processor.get_on(shard, Reply::Arrives, outside),
            Step::LoseReply => processor.get_on(shard, Reply::Lost, outside),
            Step::Ends => processor.look_at_ends(outside),
            Step::Tails => processor.look_at_tails(worker, outside),
            Step::CheckLog => processor.check_log(worker, outside),
            Step::TryStopped => processor.try_stopped(worker),
            _ => {}
        }
    }

    /// The faults cease. What does not get on by itself must say why, and go on once that is accepted.
    fn finish(&mut self) -> Result<(), String> {
        self.outside.tell(|| "the faults cease".into());
        for member in self.members() {
            if self.is_zombie(member) {
                self.consumer(member).into_iter().for_each(Consumer::lose);
            }
        }
        while let Some(request) = self.outside.late.pop() {
            self.outside.deliver(&request);
            self.outside.check()?;
        }
        if self.processors.is_empty() {
            self.join();
        }
        self.run_on()?;
        for id in self.unfinished() {
            self.must_be_stopped(id)?;
            self.outside.store.accept_gap(id);
        }
        self.outside.tell(|| "the gaps are accepted".into());
        self.run_on()?;
        match self.unfinished().first() {
            Some(id) if !self.outside.coincidence => Err(self.stuck(*id)),
            _ => Ok(()),
        }
    }

    fn run_on(&mut self) -> Result<(), String> {
        for number in 0..ENOUGH {
            self.outside.topic.ids().for_each(|id| self.assign(id));
            for at in 0..self.processors.len() {
                self.run_processor(at, number)?;
                if self.outside.coincidence {
                    return Ok(());
                }
            }
            if number > 8 && self.unfinished().is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn run_processor(&mut self, at: usize, number: usize) -> Result<(), String> {
        let (processor, outside) = (&mut self.processors[at], &mut self.outside);
        for worker in 0..processor.workers.len() {
            processor.turn(worker, outside);
            processor.look_at_tails(worker, outside);
            if number % 4 == 3 {
                processor.try_stopped(worker);
                processor.check_log(worker, outside);
            }
        }
        for _ in 0..processor.look_ups.len() * 4 {
            if !processor.look_ups.is_empty() {
                processor.locate(0, outside);
            }
        }
        processor.look_at_ends(outside);
        (0..8).for_each(|_| processor.store_letters(true, outside));
        processor.tick(outside);
        for shard in 0..outside.settings.shards {
            for _ in 0..20 {
                processor.get_on(shard, Reply::Arrives, outside);
                outside.check()?;
            }
        }
        Ok(())
    }

    /// The partitions that are not counted to their end.
    fn unfinished(&self) -> Vec<i32> {
        let outside = &self.outside;
        let counted = |id: &i32| outside.store.next(*id).unwrap_or(0) == outside.topic.log(*id).end();
        outside.topic.ids().filter(|id| !counted(id)).collect()
    }

    fn stuck(&self, id: i32) -> String {
        let (stored, extent) = (self.outside.store.partition(id), self.outside.topic.extent(id));
        let owner = self.outside.group.owner(id);
        let partition = self
            .processors
            .iter()
            .find(|p| owner.is_some_and(|(of, _)| of == p.id))
            .and_then(|p| p.registry.look(id, Clone::clone));
        format!("partition {id} is not counted to its end\n{extent:?}\nstored {stored:?}\n{owner:?} has {partition:?}")
    }

    /// It says why it is stopped, and has a reason to be.
    fn must_be_stopped(&self, id: i32) -> Result<(), String> {
        if self.outside.coincidence {
            return Ok(());
        }
        let (log, newest) = (self.outside.topic.log(id), self.outside.topic.newest(id));
        let kept = self.outside.store.kept(id);
        let condition = kept.and_then(|kept| kept.stored.as_ref()).map(|stored| &stored.condition);
        let told = condition.filter(|c| c.state == PartitionState::Stopped && c.reason.is_some());
        let Some(missing) = told.and_then(|condition| condition.missing.as_ref()) else { return Err(self.stuck(id)) };
        let next = kept.and_then(super::store::Kept::next);
        let last = kept.and_then(|kept| kept.pieces.last());
        let another = last.is_some_and(|last| self.outside.topic.same_below(id, last.at(), newest) < last.to);
        let exchanged = kept.is_some_and(|kept| kept.pieces.iter().any(|piece| piece.log != newest));
        let trimmed = next.unwrap_or(0) < log.start;
        let continues = self.outside.settings.on_gap == crate::pipeline::OnGap::Continue;
        if trimmed && continues && !exchanged {
            return Err(format!("partition {id} stops although it is to continue: {missing}\n{}", self.stuck(id)));
        }
        let reason = trimmed || another || exchanged || next.is_some_and(|next| next > log.end());
        if reason { Ok(()) } else { Err(format!("there is no reason to stop\n{}", self.stuck(id))) }
    }
}
