//! The fault campaign: real processes under load, a fault in each round, and two oracles after it.
//!
//! `make chaos` plays 100 rounds, `make test` each fault once. All choices follow from a seed, which is printed:
//! `SEED=… make chaos` repeats them, `ROUND=…` only those of one round; `ROUNDS=…` says how many, `FAULT=…` of which
//! faults (a part of their names). What the machine does meanwhile cannot be repeated; the choices can.
//!
//! A [`Fault`] says where its rounds are played ([`Stage`]) and what happens in them; everything else is the same for
//! all: [`Round`] starts the processes, keeps the load up, heals, and checks.

mod faults;
mod load;
mod round;
mod stage;
mod table;

use std::any::Any;
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt;

use crate::support::choices::Choices;
use round::{Cast, Plan, Round};
use stage::{Services, Stage, World};
use table::{Outcome, Table};

/// Longest time that a fault may take from its first blow to its last.
const FAULT: Duration = Duration::from_secs(15);
/// Longest time of a round with everything that is checked after it, on a busy machine.
const ROUND: Duration = Duration::from_secs(240);
/// After so many failed rounds of a lane the rest of it is in vain.
const ENOUGH: usize = 3;

/// Rounds of one lane are played one after the other, those of different lanes at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// Services that others use too, or none: only processes of the round's own come to harm.
    Calm,
    /// The campaign's own Kafka comes to harm.
    Kafka,
    /// The campaign's own Redis comes to harm.
    Redis,
}

/// How often a fault was injected, and how often it really hit, by evidence.
#[derive(Clone, Copy, Debug, Default)]
struct Struck {
    injected: u64,
    hit: u64,
}

/// Something that goes wrong.
#[async_trait(?Send)]
trait Fault {
    /// As the table names it.
    fn name(&self) -> &'static str;

    fn lane(&self) -> Lane {
        Lane::Calm
    }

    /// Why it cannot happen here, if so.
    fn unavailable(&self) -> Option<String> {
        None
    }

    /// Where its rounds are played: with the services that all tests share, unless they come to harm.
    async fn stage(&self) -> Box<dyn Stage + '_> {
        Box::new(Services::shared().await)
    }

    /// How many processors there are when it happens.
    fn processors(&self, choices: &mut Choices) -> u64 {
        choices.between(1, 3)
    }

    /// Lets it happen. What it leaves broken is healed afterwards.
    async fn strike(&self, round: &mut Round<'_>) -> Struck;
}

/// What was asked for.
struct Campaign {
    seed: u64,
    rounds: Option<usize>,
    only_round: Option<usize>,
    only_fault: Option<String>,
}

impl Campaign {
    fn of_environment() -> Campaign {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str| text(name).map(|text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")));
        Campaign {
            seed: number("SEED").unwrap_or_else(|| u64::from(rand::random::<u32>())),
            rounds: number("ROUNDS").map(|n| n as usize),
            only_round: number("ROUND").map(|n| n as usize),
            only_fault: text("FAULT"),
        }
    }

    /// The faults by the numbers of their rounds: each once, or all in turn until there are enough.
    fn schedule<'f>(&self, faults: &'f [Box<dyn Fault + 'f>]) -> Vec<(usize, &'f dyn Fault)> {
        let mut choices = Choices::of_round(self.seed, 0);
        let rounds = self.rounds.unwrap_or(faults.len());
        let mut order = Vec::new();
        while !faults.is_empty() && order.len() < rounds {
            order.extend(choices.shuffled(faults.iter().collect()));
        }
        order.truncate(rounds);
        let mut numbered: Vec<_> = (1..).zip(order.into_iter().map(|fault| &**fault)).collect();
        numbered.retain(|(number, _)| self.only_round.is_none_or(|only| only == *number));
        numbered
    }

    fn how(&self) -> String {
        let Campaign { seed, rounds, only_round, only_fault } = self;
        let value =
            |name: &str, value: Option<String>| value.map(|value| format!("{name}={value} ")).unwrap_or_default();
        let (rounds, round) = (rounds.map(|n| n.to_string()), only_round.map(|n| n.to_string()));
        let fault = only_fault.as_ref().map(|name| format!("{name:?}"));
        format!("{}{}{}SEED={seed} make chaos", value("ROUNDS", rounds), value("ROUND", round), value("FAULT", fault))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn campaign() {
    let campaign = Campaign::of_environment();
    let how = campaign.how();
    say(&format!("chaos: {how}"));
    let world = World::default();
    let table = RefCell::<Table>::default();
    let mut faults = faults::all(&world);
    faults.retain(|fault| campaign.only_fault.as_ref().is_none_or(|part| fault.name().contains(part.as_str())));
    faults.retain(|fault| {
        let why = fault.unavailable();
        why.map(|why| table.borrow_mut().leave_out(fault.name(), why)).is_none()
    });
    let schedule = campaign.schedule(&faults);
    let lane = |lane| {
        let rounds = schedule.iter().copied().filter(move |(_, fault)| fault.lane() == lane);
        play(campaign.seed, rounds.collect(), &table)
    };
    let (calm, kafka, redis) = tokio::join!(lane(Lane::Calm), lane(Lane::Kafka), lane(Lane::Redis));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("chaos.md");
    table.borrow().write(&file, &how);
    say(&format!("\n{}", table.borrow()));
    let failures: Vec<String> = [calm, kafka, redis].concat();
    assert!(failures.is_empty(), "{how}\n{}", failures.join("\n\n"));
    assert!(!schedule.is_empty(), "{how}: no such round");
}

/// Plays the rounds of one lane and returns what failed.
async fn play(seed: u64, rounds: Vec<(usize, &dyn Fault)>, table: &RefCell<Table>) -> Vec<String> {
    let mut failures = Vec::new();
    for (number, fault) in rounds {
        let began = Instant::now();
        let outcome = play_one(seed, number, fault).await;
        table.borrow_mut().add(fault.name(), &outcome);
        let Outcome { choices, injected, hit, records, lost, double, .. } = &outcome;
        let verdict = if outcome.failures.is_empty() { "ok" } else { "FAILED" };
        say(&format!(
            "round {number}: {}: {verdict}, {injected} injected, {hit} hit, {records} records, {lost} lost, {double} \
             double, {:.1?}; choices {choices:?}",
            fault.name(),
            began.elapsed()
        ));
        if !outcome.failures.is_empty() {
            failures.push(format!("round {number}, {}:\n{}", fault.name(), outcome.failures.join("\n")));
        }
        if failures.len() == ENOUGH {
            failures.push("the rest was not played".to_owned());
            break;
        }
    }
    failures
}

async fn play_one(seed: u64, number: usize, fault: &dyn Fault) -> Outcome {
    let (cast, mut outcome) = (Cast::default(), Outcome::default());
    let playing = go_through(seed, number, fault, &cast, &mut outcome);
    let failed = match tokio::time::timeout(ROUND, AssertUnwindSafe(playing).catch_unwind()).await {
        Ok(Ok(())) => None,
        Ok(Err(panic)) => Some(text_of(&*panic)),
        Err(_) => Some(format!("the round was not over after {ROUND:?}")),
    };
    outcome.failures.extend(failed);
    if !outcome.failures.is_empty() {
        outcome.failures.push(cast.tails());
    }
    cast.dismiss();
    outcome
}

async fn go_through(seed: u64, number: usize, fault: &dyn Fault, cast: &Cast, outcome: &mut Outcome) {
    let mut choices = Choices::of_round(seed, number);
    let processors = fault.processors(&mut choices);
    let plan = Plan::choose(&mut choices, processors);
    choices.taken();
    say(&format!("round {number}: {}: {plan:?}", fault.name()));
    let stage = fault.stage().await;
    let mut round = Round::start(&*stage, cast.clone(), plan, choices).await;
    match tokio::time::timeout(FAULT, fault.strike(&mut round)).await {
        Ok(Struck { injected, hit }) => {
            (outcome.injected, outcome.hit, outcome.choices) = (injected, hit, round.choices.taken());
            if hit == 0 {
                outcome.failures.push(format!("the fault never hit, {injected} times injected"));
            }
        }
        Err(_) => outcome.failures.push(format!("the fault was not over after {FAULT:?}")),
    }
    round.check(outcome).await;
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "a panic".to_owned())
}

#[expect(clippy::print_stdout, reason = "a long campaign shows how far it is")]
fn say(line: &str) {
    println!("{line}");
}
