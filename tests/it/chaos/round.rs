//! One round: processes under load, a fault, and the checks after it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::load::{BadRecords, Load, lost_or_doubled, not_kept, wrong_answers};
use super::stage::Stage;
use super::table::Outcome;
use crate::support::app::Binary;
use crate::support::choices::Choices;
use crate::support::oracle::{Differences, Recount};
use crate::support::topic::Record;
use crate::support::traffic::COUNTERS;
use crate::support::{Redis, Settings, eventually, unique};

/// Of each round's topic.
pub(super) const PARTITIONS: u32 = 4;
/// How long it may take until everything is counted again. Seconds, on an idle machine.
const SETTLED: Duration = Duration::from_secs(60);
/// The default `shutdown_timeout`, and the 2 s that a TERM may take on top of it.
const SHUTDOWN: Duration = Duration::from_secs(12);
/// Lines of each process's log that a failure shows.
const TAIL: usize = 30;

/// What a process of a round should be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Runs,
    /// A fault ended it; it is to be started again.
    Down,
    /// It left for good.
    Left,
}

#[derive(Clone)]
struct Member {
    name: String,
    binary: Arc<Binary>,
    part: Part,
}

/// The processes of a round, for whoever has to tell what went wrong.
#[derive(Clone, Default)]
pub(super) struct Cast(Arc<Mutex<Vec<Member>>>);

impl Cast {
    fn add(&self, name: &str, binary: Binary) -> Arc<Binary> {
        let binary = Arc::new(binary);
        self.members().push(Member { name: name.to_owned(), binary: binary.clone(), part: Part::Runs });
        binary
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, binary: &Arc<Binary>, part: Part) {
        self.members().iter_mut().filter(|m| Arc::ptr_eq(&m.binary, binary)).for_each(|m| m.part = part);
    }

    /// The last lines of each log.
    pub(super) fn tails(&self) -> String {
        let tail = |member: &Member| {
            let output = member.binary.output();
            let lines: Vec<&str> = output.lines().collect();
            format!("--- {}:\n{}\n", member.name, lines[lines.len().saturating_sub(TAIL)..].join("\n"))
        };
        self.members().iter().map(tail).collect()
    }

    /// Ends all processes, whatever they do.
    pub(super) fn dismiss(&self) {
        self.members().clear();
    }
}

/// A round that is under way.
pub(super) struct Round<'s> {
    stage: &'s dyn Stage,
    cast: Cast,
    pub(super) choices: Choices,
    pub(super) settings: Settings,
    /// Takes events; with one file it is the process that does everything.
    pub(super) ingest: Arc<Binary>,
    query: Arc<Binary>,
    pub(super) processors: Vec<Arc<Binary>>,
    pub(super) load: Load,
    bad: Option<BadRecords>,
    is_static: bool,
}

impl<'s> Round<'s> {
    /// Starts the processes and the load.
    pub(super) async fn start(stage: &'s dyn Stage, cast: Cast, plan: Plan, choices: Choices) -> Round<'s> {
        stage.heal().await;
        let settings = plan.settings(stage.settings(&unique("chaos")));
        let starter = stage.starter();
        let (ingest, query) = if stage.folder().is_some() {
            let run = cast.add("run", Binary::start_by(&starter, "run", &settings).await);
            (run.clone(), run)
        } else {
            let ingest = cast.add("ingest", Binary::start("ingest", &settings).await);
            // It makes the topic, which the others wait for.
            ingest.until_ready().await;
            (ingest, cast.add("query", Binary::start("query", &settings).await))
        };
        let load = Load::start(&ingest, settings.get("store.redis.prefix").and_then(|p| p.as_str()).unwrap_or("file"));
        let bad = stage
            .client()
            .map(|client| BadRecords::start(client, settings.text_of("log.kafka.topic"), choices.clone()));
        let (processors, is_static) = (Vec::new(), plan.is_static);
        let mut round = Round { stage, cast, choices, settings, ingest, query, processors, load, bad, is_static };
        if stage.folder().is_none() {
            (0..plan.processors).for_each(|_| _ = round.join_with(&[]));
        }
        for processor in &round.processors {
            processor.until_ready().await;
        }
        round.load.until_acknowledged(200).await;
        round
    }

    /// One more processor with these variables in its environment, as soon as it is spawned.
    pub(super) fn join_with(&mut self, environment: &[(&str, &str)]) -> Arc<Binary> {
        let name = format!("processor-{}", self.processors.len());
        let settings = self.settings.clone();
        let settings = if self.is_static { settings.with("log.kafka.instance_id", name.as_str()) } else { settings };
        let processor = self.cast.add(&name, Binary::prepare(&[], "process", &settings));
        processor.spawn_with(environment);
        self.processors.push(processor.clone());
        processor
    }

    /// SIGKILL for one of the processes. It is started again when the fault is over, if not before.
    pub(super) fn kill(&self, binary: &Arc<Binary>) {
        binary.assert_alive();
        self.expect_end(binary);
        binary.kill();
    }

    /// It will end, and that is the fault's doing.
    pub(super) fn expect_end(&self, binary: &Arc<Binary>) {
        self.cast.set(binary, Part::Down);
    }

    /// Starts one again that was killed.
    pub(super) async fn restart(&self, binary: &Arc<Binary>) {
        binary.restart().await;
        self.cast.set(binary, Part::Runs);
    }

    /// One of the processes has left, or will not come back.
    pub(super) fn leave(&mut self, binary: &Arc<Binary>) {
        self.cast.set(binary, Part::Left);
        self.processors.retain(|other| !Arc::ptr_eq(other, binary));
    }

    /// Any of the processors.
    pub(super) fn some_processor(&mut self) -> Arc<Binary> {
        let index = self.choices.below(self.processors.len() as u64) as usize;
        self.processors[index].clone()
    }

    /// Where the file is, in a round with one file.
    pub(super) fn folder(&self) -> PathBuf {
        self.stage.folder().expect("a round with one file")
    }

    /// Lets a while pass. The moment is what is chosen; nothing is waited for.
    pub(super) async fn moment(&mut self, least_ms: u64, most_ms: u64) {
        let while_ms = self.choices.millis(least_ms, most_ms);
        tokio::time::sleep(while_ms).await;
    }

    /// Everything runs again, and goes on. Says which processes ended although no fault ended them.
    async fn heal(&self) -> Vec<String> {
        self.stage.heal().await;
        let mut failures = Vec::new();
        let members = self.cast.members().clone();
        for Member { name, binary, part } in members {
            match (part, binary.is_running()) {
                (Part::Runs | Part::Down, true) => binary.thaw(),
                (Part::Down, false) => self.restart(&binary).await,
                (Part::Runs, false) => {
                    failures.push(format!("{name} ended by itself: {}", binary.output()));
                    self.restart(&binary).await;
                }
                (Part::Left, _) => {}
            }
        }
        self.load.until_acknowledged(100).await;
        failures
    }

    /// Ends the load and compares everything with everything.
    pub(super) async fn check(self, outcome: &mut Outcome) {
        outcome.failures.extend(self.heal().await);
        let Round { stage, cast, settings, query, load, bad, .. } = self;
        let sent = load.stop().await;
        let bad_written = match bad {
            Some(bad) => bad.stop().await,
            None => 0,
        };
        // A file is read as a kill at this moment would leave it.
        let in_file = stage.folder().is_some();
        if in_file {
            query.freeze();
        }
        let (records, ends) = stage.log(&settings).await;
        if in_file {
            query.thaw();
        }
        outcome.records = records.len() as u64;
        let (missing, failures) = lost_or_doubled(&sent, records.iter().filter_map(|record| record.value.as_deref()));
        outcome.lost += missing;
        outcome.failures.extend(failures);
        outcome.failures.extend(wrong_answers(&sent));

        let recount = Recount::of_log(&settings, &records, &ends);
        if let Err(unsettled) = settle(&query, &recount.ends()).await {
            outcome.failures.push(unsettled);
        }
        let mut found = Vec::from_iter(stage.differences(&recount, &settings).await);
        found.push(recount.differences_in_api(&query).await);
        outcome.lost += found.iter().map(Differences::lost).max().unwrap_or(0);
        outcome.double += found.iter().map(Differences::double).max().unwrap_or(0);
        outcome.failures.extend(found.into_iter().flat_map(|differences| differences.lines));

        let dead = dead_ones(&settings, &records);
        if (dead.len() as u64) < bad_written {
            outcome.failures.push(format!("{bad_written} bad records were written, {} are in the topic", dead.len()));
        }
        outcome.failures.extend(not_kept(&dead, &stage.letters(&settings).await));
        outcome.failures.extend(ended(&cast).await);
        stage.clear(&settings).await;
    }
}

/// What a round consists of besides its fault.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) processors: u64,
    shards: u64,
    workers: u64,
    flush_ms: u64,
    flush_cells: u64,
    /// Of duplicates: none are found, only near ones, or all that a round can have.
    dedupe_horizon: u64,
    is_static: bool,
}

impl Plan {
    pub(super) fn choose(choices: &mut Choices, processors: u64) -> Plan {
        Plan {
            processors,
            shards: choices.one_of(&[1, 2, 4]),
            workers: choices.between(1, 2),
            flush_ms: choices.one_of(&[50, 200, 500]),
            flush_cells: choices.one_of(&[100, 3_000, 20_000]),
            dedupe_horizon: choices.one_of(&[0, 300, 200_000, 200_000]),
            is_static: choices.once_in(4),
        }
    }

    fn settings(&self, settings: Settings) -> Settings {
        let number = |n: u64| i64::try_from(n).expect("a small number");
        let settings = settings
            .counting(COUNTERS)
            .with("pipeline.workers", number(self.workers))
            .with("pipeline.flush_interval", format!("{}ms", self.flush_ms))
            .with("pipeline.flush_cells", number(self.flush_cells))
            .with("pipeline.dedupe_horizon", number(self.dedupe_horizon));
        let kafka = settings.get("log.kafka").is_some();
        if kafka { settings.with("store.redis.shards", number(self.shards)) } else { settings }
    }
}

async fn status(query: &Binary) -> Result<Value, String> {
    let reply = query.try_send(query.http().get(query.query_url("/api/v1/status"))).await;
    let reply = reply.map_err(|e| format!("{e:?}"))?;
    if reply.status == 200 { Ok(reply.json()) } else { Err(format!("{}: {}", reply.status, reply.text())) }
}

fn next_offsets(status: &Value) -> BTreeMap<i32, i64> {
    let partitions = status["partitions"].as_array().expect("partitions").iter();
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    partitions.map(|p| (number(&p["partition"]) as i32, number(&p["next_offset"]))).collect()
}

/// Waits until everything up to these offsets is counted; an error says how far it came.
async fn settle(query: &Binary, ends: &BTreeMap<i32, i64>) -> Result<(), String> {
    let began = Instant::now();
    eventually(SETTLED * 2, "the counts settle, or do not", async || {
        let status = status(query).await;
        let next = status.as_ref().map(next_offsets);
        let settled = next.is_ok_and(|next| ends.iter().all(|(id, end)| *end == 0 || next.get(id) == Some(end)));
        match settled {
            true => Ok(Ok(())),
            false if began.elapsed() < SETTLED => Err("not yet"),
            false => Ok(Err(format!("not all is counted after {SETTLED:?}: the log ends at {ends:?}: {status:?}"))),
        }
    })
    .await
}

/// The records that cannot be read as events.
fn dead_ones(settings: &Settings, records: &[Record]) -> Vec<Record> {
    let mut recount = Recount::of_records(settings, &[]);
    records.iter().filter(|record| recount.add(record) == "dead_lettered").cloned().collect()
}

/// Ends all processes as an operator would, and says which of them did not end well.
async fn ended(cast: &Cast) -> Vec<String> {
    let mut members = cast.members().clone();
    members.retain(|member| member.part != Part::Left);
    members.iter().for_each(|member| member.binary.terminate());
    let mut failures = Vec::new();
    for Member { name, binary, .. } in members {
        let code = binary.ended(SHUTDOWN).await;
        if code != 0 {
            failures.push(format!("{name} ended with exit code {code}"));
        }
    }
    failures
}

/// Where the counts of the round's partitions end together.
pub(super) async fn progress(redis: &Redis, round: &Round<'_>) -> i64 {
    let (prefix, topic) = (round.settings.text_of("store.redis.prefix"), round.settings.text_of("log.kafka.topic"));
    let shards = round.settings.get("store.redis.shards").and_then(toml::Value::as_integer).unwrap_or(1);
    let mut connection = redis.connection().await;
    let mut sum = 0;
    for partition in 0..i64::from(PARTITIONS) {
        let name = format!("{prefix}:{{{}}}:partition:{topic}:{partition}", partition % shards);
        let next = redis::cmd("HGET").arg(name).arg("next_offset").query_async::<Option<i64>>(&mut connection).await;
        sum += next.expect("an offset").unwrap_or(0);
    }
    sum
}
