//! The ladder in a small world: clients that send the next event of a key once they have an answer, a log that comes and
//! goes, a file, a forwarder, crashes. Any step of one may come between any two of another.

use super::*;
use proptest::prelude::*;

const KEYS: usize = 3;
const SLOW: Duration = Duration::from_millis(100);
const FEW: u64 = 4;

/// The n-th event of a key.
type Event = (usize, u32);

/// Where an event is that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Appending(Ticket),
    /// To be written into the file.
    Keeping,
    /// Written, which the ladder does not know yet.
    Kept,
    Waiting,
}

#[derive(Debug)]
enum Forwarder {
    Idle,
    Looked(Look),
    FoundNothing(Look),
    Took(Vec<Event>),
    Stored(usize),
}

#[derive(Debug)]
struct World {
    ladder: Ladder,
    now: Duration,
    up: bool,
    away: bool,
    writable: bool,
    requests: Vec<(Event, Request)>,
    /// The event that each client is at, and whether a request of it is under way.
    clients: [(u32, bool); KEYS],
    answered: Vec<Event>,
    file: Vec<Event>,
    log: Vec<Event>,
    forwarder: Forwarder,
}

impl World {
    fn new() -> World {
        World {
            ladder: Ladder::new(0, SLOW, FEW),
            now: Duration::ZERO,
            up: true,
            away: false,
            writable: true,
            requests: Vec::new(),
            clients: [(0, false); KEYS],
            answered: Vec::new(),
            file: Vec::new(),
            log: Vec::new(),
            forwarder: Forwarder::Idle,
        }
    }

    fn step(&mut self, action: u8, choice: usize) {
        match action {
            0..6 => self.send(choice % KEYS),
            6..11 => self.append_ends(choice),
            11..17 => self.keep_goes_on(choice),
            17..19 => self.ask_again(choice),
            19..29 => self.forward(choice),
            29 => self.up = !self.up,
            30 => self.away = !self.up && choice.is_multiple_of(2),
            31 => self.now += SLOW / 3,
            32 => self.clients[choice % KEYS].1 = false,
            33 => self.writable = !self.writable,
            _ => self.crash(choice),
        }
    }

    fn send(&mut self, key: usize) {
        let (number, under_way) = &mut self.clients[key];
        if !*under_way {
            *under_way = true;
            let event = (key, *number);
            self.route(event);
        }
    }

    fn route(&mut self, event: Event) {
        let request = match self.ladder.route(self.now, self.away) {
            Way::Log(ticket) => Request::Appending(ticket),
            Way::Spool(_) => Request::Keeping,
            Way::Wait => Request::Waiting,
        };
        self.requests.push((event, request));
    }

    /// One of the requests in a state like this.
    fn pick(&self, choice: usize, of: impl Fn(Request) -> bool) -> Option<usize> {
        let places: Vec<usize> = (0..self.requests.len()).filter(|at| of(self.requests[*at].1)).collect();
        (!places.is_empty()).then(|| places[choice % places.len()])
    }

    fn answer(&mut self, event: Event, stored: bool) {
        let (number, under_way) = &mut self.clients[event.0];
        if stored {
            self.answered.push(event);
        }
        // Who gave up does not listen any more, and a refused event is sent again.
        if *number == event.1 && *under_way {
            *under_way = false;
            *number += u32::from(stored);
        }
    }

    fn append_ends(&mut self, choice: usize) {
        let Some(at) = self.pick(choice, |request| matches!(request, Request::Appending(_))) else { return };
        let (event, Request::Appending(ticket)) = self.requests[at] else { unreachable!() };
        if self.up {
            self.requests.remove(at);
            self.log.push(event);
            self.ladder.settled(ticket);
            self.answer(event, true);
        } else {
            // A record that was not acknowledged may be stored all the same.
            self.log.extend((choice.is_multiple_of(5)).then_some(event));
            self.ladder.failed(ticket);
            self.requests[at].1 = Request::Keeping;
        }
    }

    fn keep_goes_on(&mut self, choice: usize) {
        let Some(at) = self.pick(choice, |r| matches!(r, Request::Keeping | Request::Kept)) else { return };
        let (event, request) = self.requests[at];
        if request == Request::Keeping && self.writable {
            self.file.push(event);
            self.requests[at].1 = Request::Kept;
            return;
        }
        self.requests.remove(at);
        self.ladder.kept(u64::from(request == Request::Kept));
        self.answer(event, request == Request::Kept);
    }

    fn ask_again(&mut self, choice: usize) {
        let Some(at) = self.pick(choice, |request| request == Request::Waiting) else { return };
        let (event, _) = self.requests.remove(at);
        self.route(event);
    }

    fn forward(&mut self, choice: usize) {
        self.forwarder = match std::mem::replace(&mut self.forwarder, Forwarder::Idle) {
            Forwarder::Idle => Forwarder::Looked(self.ladder.look(self.now, self.away)),
            Forwarder::Looked(look) if self.file.is_empty() => Forwarder::FoundNothing(look),
            Forwarder::FoundNothing(look) => {
                self.ladder.found_nothing(look);
                Forwarder::Idle
            }
            Forwarder::Looked(_) => Forwarder::Took(self.file[..self.file.len().min(FEW as usize)].to_vec()),
            Forwarder::Took(batch) if self.up => {
                self.log.extend(&batch);
                Forwarder::Stored(batch.len())
            }
            Forwarder::Took(batch) => {
                self.log.extend(&batch[..choice % (batch.len() + 1)]);
                self.ladder.held_up();
                Forwarder::Took(batch)
            }
            Forwarder::Stored(events) if self.writable => {
                self.file.drain(..events);
                self.ladder.forwarded(events as u64);
                Forwarder::Idle
            }
            Forwarder::Stored(events) => {
                self.ladder.held_up();
                Forwarder::Stored(events)
            }
        };
    }

    /// Whoever had no answer sends again.
    fn crash(&mut self, choice: usize) {
        for (at, (event, request)) in std::mem::take(&mut self.requests).into_iter().enumerate() {
            let done = (choice >> (at % 8)) & 1 == 1;
            match request {
                Request::Appending(_) if done && self.up => self.log.push(event),
                Request::Keeping if done && self.writable => self.file.push(event),
                _ => {}
            }
        }
        self.clients.iter_mut().for_each(|(_, under_way)| *under_way = false);
        self.forwarder = Forwarder::Idle;
        self.ladder = Ladder::new(self.file.len() as u64, SLOW, FEW);
    }

    /// The faults cease.
    fn calm_down(&mut self, load: bool) {
        (self.up, self.away, self.writable) = (true, false, true);
        for round in 0..2_000 {
            // Clients that are never at rest: the spool must get empty all the same.
            (0..KEYS).filter(|_| load).for_each(|key| self.send(key));
            self.append_ends(round);
            self.keep_goes_on(round);
            self.ask_again(round);
            self.forward(round);
            self.now += SLOW / 20;
            if !load && self.requests.is_empty() && self.ladder.is_direct() {
                return;
            }
        }
        assert!(load, "it never came to rest: {self:?}");
        assert!(self.ladder.is_direct(), "under load it never got back to the log: {self:?}");
        self.calm_down(false);
    }

    fn check(&self) {
        assert!(self.file.is_empty() && self.ladder.waiting() == 0, "{self:?}");
        let mut next = [0; KEYS];
        for (key, number) in &self.log {
            // What stands there again is a duplicate, and counts once.
            assert!(*number <= next[*key], "{number} of key {key} overtook {}: {self:?}", next[*key]);
            next[*key] = next[*key].max(number + 1);
        }
        for (key, number) in &self.answered {
            assert!(*number < next[*key], "{number} of key {key} was answered and is lost: {self:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_stuck_or_overtaken(
        steps in prop::collection::vec((0..35_u8, any::<usize>()), 0..300),
        load in any::<bool>(),
    ) {
        let mut world = World::new();
        for (action, choice) in steps {
            world.step(action, choice);
        }
        world.calm_down(load);
        world.check();
    }
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_log_that_is_away_or_slow_is_left_at_once() {
    let mut ladder = Ladder::new(0, SLOW, FEW);
    let Way::Log(first) = ladder.route(at(0), false) else { panic!("not direct") };
    let Way::Log(second) = ladder.route(at(99), false) else { panic!("not direct") };
    assert_eq!(ladder.route(at(100), false), Way::Spool(Some(Why::Slow)));
    assert_eq!(ladder.route(at(100), false), Way::Spool(None), "said once");
    ladder.kept(1);
    ladder.kept(1);
    ladder.forwarded(2);
    ladder.settled(first);
    let look = ladder.look(at(198), true);
    assert!(!ladder.found_nothing(look), "it is known to be away");
    let look = ladder.look(at(198), false);
    assert!(ladder.found_nothing(look), "the second append is not late yet");
    assert_eq!(ladder.failed(second), Some(Why::Failed));
    ladder.kept(0);
    let look = ladder.look(at(200), false);
    assert!(ladder.found_nothing(look));
    assert_eq!(ladder.route(at(200), true), Way::Spool(Some(Why::Away)));
}

#[test]
fn new_events_wait_for_the_last_ones_but_not_for_long() {
    let mut ladder = Ladder::new(3, SLOW, FEW);
    assert_eq!(ladder.route(at(0), false), Way::Spool(None));
    ladder.look(at(0), false);
    assert_eq!(ladder.route(at(99), false), Way::Wait);
    assert_eq!(ladder.route(at(100), false), Way::Spool(None), "the patience is over");
    ladder.kept(1);
    ladder.kept(1);
    assert_eq!(ladder.waiting(), 5);
    ladder.look(at(100), false);
    assert_eq!(ladder.route(at(100), false), Way::Spool(None), "too many are left");
    ladder.kept(1);
    ladder.forwarded(3);
    let look = ladder.look(at(100), false);
    ladder.held_up();
    assert_eq!(ladder.route(at(100), false), Way::Spool(None), "nobody waits for a forwarder that is held up");
    assert!(!ladder.found_nothing(look));
}
