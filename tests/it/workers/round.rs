//! One round: steps, members, faults, and the oracle at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::sys::signal::Signal;
use redis::AsyncCommands;
use serde_json::json;
use tokio::sync::Mutex;

use super::member::{ATTEMPTS, Does, Orders, Step};
use crate::support::choices::Choices;
use crate::support::process::Process;
use crate::support::{Kafka, Redis, eventually, unique};

const PARTITIONS: i32 = 4;
/// Until everything is taken after the last fault.
const ALL_TAKEN: Duration = Duration::from_secs(90);
/// Past the members' session.
const FROZEN: (u64, u64) = (3_500, 5_000);
/// A member lets its handlers end, commits and leaves.
const ENDED: Duration = Duration::from_secs(15);

/// What was played.
pub(super) struct Played {
    pub(super) steps: u64,
    pub(super) faults: BTreeMap<&'static str, u64>,
}

/// See the module's documentation.
pub(super) struct Round<'a> {
    pub(super) number: usize,
    kafka: &'a Kafka,
    /// All rounds' own. One at a time lets something happen to it.
    redis: &'a Mutex<&'a Redis>,
    choices: Choices,
    orders: Orders,
    steps: Vec<Step>,
    members: Vec<Process>,
    faults: BTreeMap<&'static str, u64>,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Terminate,
    Freeze,
    Join,
    Step,
    Redis,
    NoWrites,
    Away,
}

const FAULTS: [Fault; 8] = [
    Fault::Kill,
    Fault::Terminate,
    Fault::Freeze,
    Fault::Join,
    Fault::Step,
    Fault::Redis,
    Fault::NoWrites,
    Fault::Away,
];
/// Named steps, and how often each is passed at most before a member dies there.
const STEPS: [(&str, u64); 4] =
    [("worker-buried", 2), ("worker-commit", 20), ("worker-handled", 20), ("worker-noted", 20)];
/// Steps that are passed without notes, too.
const WITHOUT_NOTES: usize = 2;
/// A member that joins has partitions by then, and something to do.
const DIES: Duration = Duration::from_secs(6);

impl<'a> Round<'a> {
    pub(super) fn new(
        seed: u64,
        number: usize,
        kafka: &'a Kafka,
        redis: &'a Mutex<&'a Redis>,
        url: String,
    ) -> Round<'a> {
        let mut choices = Choices::of_round(seed, number);
        let name = unique("workers");
        let orders = Orders {
            brokers: kafka.brokers(),
            topic: name.clone(),
            group: name,
            redis: url,
            is_idempotent: choices.once_in(2),
        };
        let steps = steps(&mut choices);
        Round { number, kafka, redis, choices, orders, steps, members: Vec::new(), faults: BTreeMap::new() }
    }

    pub(super) fn plan(&self) -> String {
        let Round { orders, steps, faults, .. } = self;
        format!("idempotent: {}, {} steps, {faults:?}", orders.is_idempotent, steps.len())
    }

    pub(super) fn tails(&self) -> String {
        let tail = |(number, member): (usize, &Process)| format!("--- member {number}:\n{}", member.log_tail());
        self.members.iter().enumerate().map(tail).collect::<Vec<_>>().join("\n")
    }

    pub(super) async fn play(&mut self) -> Played {
        self.kafka.create(&self.orders.topic, PARTITIONS, &[]).await;
        let faults = self.choices.shuffled(FAULTS.to_vec());
        let count = self.choices.between(1, 3) as usize;
        // A part before each fault, so that each has something to disturb.
        let part = self.steps.len() / (count + 1);
        self.publish(0, part).await;
        for _ in 0..self.choices.between(1, 3) {
            self.join(None);
        }
        self.until_taken(1).await;
        for (at, fault) in (1..).zip(faults.into_iter().take(count)) {
            self.publish(at * part, if at == count { self.steps.len() } else { (at + 1) * part }).await;
            self.strike(fault).await;
        }
        self.until_all_is_taken().await;
        for member in &self.members {
            if member.is_running() {
                member.signal(Signal::SIGTERM);
                let status = member.ended(ENDED).await;
                assert!(status.success(), "a member ended with {status}:\n{}", member.log_tail());
            }
        }
        self.assert_right().await;
        Played { steps: self.steps.len() as u64, faults: self.faults.clone() }
    }

    async fn publish(&self, from: usize, to: usize) {
        let record = |step: &Step| {
            let id = format!("{}-{}", step.key, step.number);
            let event = json!({"type": "step", "id": id, "payload": step});
            (step.key.clone(), serde_json::to_vec(&event).expect("JSON"))
        };
        let records: Vec<_> = self.steps[from..to].iter().map(record).collect();
        self.kafka.produce(&self.orders.topic, records).await;
    }

    fn join(&mut self, failpoints: Option<&str>) {
        let member = Process::new("member");
        member.spawn(self.orders.command(failpoints));
        self.members.push(member);
    }

    fn some_member(&mut self) -> usize {
        let running: Vec<usize> = (0..self.members.len()).filter(|at| self.members[*at].is_running()).collect();
        self.choices.one_of(&running)
    }

    async fn strike(&mut self, fault: Fault) {
        let name = match fault {
            Fault::Kill => {
                let member = self.some_member();
                self.members[member].kill();
                self.pause(0, 500).await;
                self.members[member].spawn(self.orders.command(None));
                "SIGKILL of a member"
            }
            Fault::Terminate => {
                let member = self.some_member();
                self.members[member].signal(Signal::SIGTERM);
                let status = self.members[member].ended(ENDED).await;
                assert!(status.success(), "a member ended with {status}:\n{}", self.members[member].log_tail());
                self.members[member].spawn(self.orders.command(None));
                "SIGTERM of a member"
            }
            Fault::Freeze => {
                let member = self.some_member();
                self.members[member].signal(Signal::SIGSTOP);
                self.pause(FROZEN.0, FROZEN.1).await;
                self.members[member].signal(Signal::SIGCONT);
                "SIGSTOP of a member past its session"
            }
            Fault::Join => {
                self.join(None);
                self.pause(0, 2_000).await;
                "a member joins"
            }
            Fault::Step => {
                let passed = if self.orders.is_idempotent { &STEPS[..] } else { &STEPS[..WITHOUT_NOTES] };
                let (step, most) = self.choices.one_of(passed);
                let after = self.choices.below(most);
                self.join(Some(&format!("{step}={after}*off->return")));
                let member = self.members.last().expect("it joined");
                let has_died = member.ends_within(DIES).await;
                // From here on it is a member like the others.
                member.spawn(self.orders.command(None));
                if has_died { "death at a step" } else { "SIGKILL of a member" }
            }
            Fault::Redis => {
                let redis = self.redis.lock().await;
                redis.kill();
                tokio::time::sleep(self.choices.millis(0, 1_000)).await;
                redis.restart().await;
                "SIGKILL of Redis"
            }
            Fault::NoWrites => {
                let (begin, end) = self.choices.one_of(&[
                    (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
                    (["REPLICAOF", "127.0.0.1", "1", ""], ["REPLICAOF", "NO", "ONE", ""]),
                ]);
                let _ours = self.redis.lock().await;
                self.tell_redis(&begin).await;
                tokio::time::sleep(self.choices.millis(100, 1_500)).await;
                self.tell_redis(&end).await;
                "Redis takes no writes"
            }
            Fault::Away => {
                self.away(true).await;
                self.pause(100, 1_500).await;
                self.away(false).await;
                "what handlers need is away"
            }
        };
        *self.faults.entry(name).or_default() += 1;
        self.pause(0, 500).await;
    }

    async fn pause(&mut self, least: u64, most: u64) {
        tokio::time::sleep(self.choices.millis(least, most)).await;
    }

    async fn away(&self, is_away: bool) {
        let key = self.orders.away();
        eventually(ENDED, "Redis notes it", async || {
            let mut redis = self.connection().await?;
            match is_away {
                true => redis.set::<_, _, ()>(&key, 1).await,
                false => redis.del::<_, ()>(&key).await,
            }
        })
        .await;
    }

    async fn tell_redis(&self, command: &[&str]) {
        let mut told = redis::Cmd::new();
        command.iter().filter(|part| !part.is_empty()).for_each(|part| _ = told.arg(*part));
        // Another round may have killed it just now.
        eventually(ENDED, "Redis obeys", async || told.query_async::<()>(&mut self.connection().await?).await).await;
    }

    async fn connection(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        redis::Client::open(self.orders.redis.as_str())?.get_multiplexed_async_connection().await
    }

    /// By key: the numbers of the steps that were taken.
    async fn taken(&self) -> redis::RedisResult<BTreeMap<String, Vec<u64>>> {
        let mut redis = self.connection().await?;
        let keys: BTreeSet<&String> = self.steps.iter().map(|step| &step.key).collect();
        let mut taken = BTreeMap::new();
        for key in keys {
            taken.insert(key.clone(), redis.lrange(self.orders.taken(key), 0, -1).await?);
        }
        Ok(taken)
    }

    async fn until_taken(&self, least: usize) {
        eventually(ALL_TAKEN, "the first steps are taken", async || {
            let taken = self.taken().await.map_err(|error| error.to_string())?;
            let count: usize = taken.values().map(Vec::len).sum();
            if count >= least { Ok(()) } else { Err(format!("{count} are")) }
        })
        .await;
    }

    async fn until_all_is_taken(&self) {
        let (expected, dead) = (expected(&self.steps, false), expected(&self.steps, true));
        let dead: usize = dead.values().map(Vec::len).sum();
        eventually(ALL_TAKEN, "every step is taken", async || {
            let taken = self.taken().await.map_err(|error| error.to_string())?;
            for (key, numbers) in &expected {
                let missing: Vec<u64> = numbers.iter().copied().filter(|n| !taken[key].contains(n)).collect();
                if !missing.is_empty() {
                    return Err(format!("of {key} {missing:?} are missing"));
                }
            }
            let buried = self.buried().await.len();
            if buried == dead { Ok(()) } else { Err(format!("{buried} of {dead} are buried")) }
        })
        .await;
    }

    /// Distinct steps among the dead letters.
    async fn buried(&self) -> BTreeSet<(String, u64)> {
        let topic = format!("{}.dlq", self.orders.topic);
        let step = |value: &[u8]| -> Step {
            let event: serde_json::Value = serde_json::from_slice(value).expect("JSON");
            serde_json::from_value(event["payload"].clone()).expect("a step")
        };
        let mut buried = BTreeSet::new();
        for letter in self.kafka.read(&topic).await {
            let step = step(letter.value.as_deref().expect("a value"));
            assert!(step.does.dies(), "{step:?} is buried: {}", letter.header("error"));
            assert_eq!(letter.header("consumer-group"), self.orders.group);
            // A handler that was frozen, or waited for Redis, has spent an attempt.
            let fewest = if step.does == Does::IsPoison { 1 } else { ATTEMPTS };
            let attempts: u32 = letter.header("attempts").parse().expect("a number");
            assert!((fewest..=ATTEMPTS).contains(&attempts), "{step:?} after {attempts} attempts");
            buried.insert((step.key, step.number));
        }
        buried
    }

    async fn assert_right(&self) {
        // Another round may have killed it just now.
        let taken = eventually(ENDED, "Redis answers", async || self.taken().await).await;
        for (key, expected) in expected(&self.steps, false) {
            let taken = &taken[&key];
            if self.orders.is_idempotent {
                assert_eq!(*taken, expected, "{key}: once each, in order");
                let counted = eventually(ENDED, "Redis answers", async || {
                    self.connection().await?.get::<_, Option<u64>>(self.orders.counted(&key)).await
                });
                let count = (!expected.is_empty()).then_some(expected.len() as u64);
                assert_eq!(counted.await, count, "{key}: all of a step's effects, or none");
                continue;
            }
            let mut seen = BTreeSet::new();
            let first: Vec<u64> = taken.iter().copied().filter(|number| seen.insert(*number)).collect();
            assert_eq!(first, expected, "{key}: at least once each, in order; taken: {taken:?}");
        }
        let positions = self.kafka.positions(&self.orders.topic, &self.orders.group).await;
        let is_done = |(committed, end): &(Option<i64>, i64)| *committed == Some(*end) || *end == 0;
        assert!(positions.iter().all(is_done), "everything is committed: {positions:?}");
    }
}

/// By key: the numbers of its steps, of those that die or of the others.
fn expected(steps: &[Step], dead: bool) -> BTreeMap<String, Vec<u64>> {
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.does.dies() == dead) {
        numbers.entry(step.key.clone()).or_default().push(step.number);
    }
    numbers
}

fn steps(choices: &mut Choices) -> Vec<Step> {
    let (keys, count) = (choices.between(3, 20), choices.between(200, 1_500));
    let mut next = vec![0; keys as usize];
    let mut step = |_| {
        let key = choices.below(keys);
        let number = next[key as usize];
        next[key as usize] += 1;
        let does = match choices.below(100) {
            0..70 => Does::Succeeds,
            70..90 => Does::Waits { ms: choices.below(15) },
            90..95 => Does::Fails { times: 1 + choices.below(3) as u32 },
            95 => Does::Hangs,
            96 => Does::Panics,
            97..99 => Does::IsPoison,
            _ => Does::NeverSucceeds,
        };
        Step { key: format!("key-{key}"), number, does }
    };
    let steps = (0..count).map(&mut step).collect();
    choices.taken();
    steps
}
