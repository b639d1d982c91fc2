//! `dlq redrive`: the records of dead letters go to their topic again, one by one, each once.
//!
//! On Kafka a letter cannot be deleted alone. A mark in the dead-letter topic says that it was redriven, and is written
//! once the record is acknowledged and before the next one is sent: a crash can repeat one record at most. The embedded
//! file appends the record and deletes the letter in one transaction.

use super::source::DeadTopic;
use super::{Filters, Found, Letters, Place, Wanted, is_embedded, reading, writer};
use crate::cli::pace::{Pace, Progress};
use crate::cli::text::{count, escaped};
use crate::cli::{remark, say};
use crate::log::{EmbeddedLog, KafkaCopies, KeptLetter, LetterId, LogError, Mark, RecordCopy};
use anyhow::{Context, bail};
use clap::Args;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

/// Letters that are read ahead; one may be as large as its topic takes.
const AHEAD: usize = 8;

/// The arguments of `dlq redrive`.
#[derive(Debug, Args)]
pub(super) struct Redrive {
    #[command(flatten)]
    place: Place,
    /// These, by their ids as `dlq list` shows them.
    #[arg(value_name = "ID")]
    ids: Vec<LetterId>,
    /// All of them.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
    /// To this topic instead of the one that each record came from.
    #[arg(long, value_name = "TOPIC")]
    to_topic: Option<String>,
    /// Records per second at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Only say what would be sent.
    #[arg(long)]
    dry_run: bool,
    /// Those too of which a part was cut off, as they are.
    #[arg(long)]
    include_truncated: bool,
    /// Those too that were redriven before.
    #[arg(long)]
    again: bool,
}

impl Redrive {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match (self.ids.is_empty(), self.all, self.filters.any()) {
            (true, false, false) => {
                bail!("say which: --all, a filter like --reason TEXT, or ids as `dlq list` shows them")
            }
            (false, true, _) | (false, _, true) => bail!("either ids, or --all and filters"),
            _ => {}
        }
        let config = self.place.file.load()?;
        let letters = Arc::new(Letters::open(&config, &self.place).await?);
        let mut target = match &*letters {
            Letters::Kafka(topic) => Target::Kafka(Box::new(Topics::connect(topic, self.to_topic.clone())?)),
            Letters::Embedded { topic, .. } if self.to_topic.as_ref().is_some_and(|to| to != topic) => {
                bail!("the embedded file holds one topic, `{topic}`: letters go back to it")
            }
            // Nothing is written by a dry run, beside whoever has the file.
            Letters::Embedded { topic, .. } if self.dry_run => Target::Nothing(topic.clone()),
            Letters::Embedded { topic, .. } => {
                let log = writer(&config).await.context("a redrive writes to the file")?;
                Target::Embedded(log, topic.clone())
            }
        };
        let filters = Filters { topic: self.place.topic.clone(), ..self.filters.clone() };
        let wanted = Wanted::new(self.ids.clone(), filters);
        let tally = self.redrive(&letters, wanted, &mut target).await?;
        Ok(tally.report(&self, &letters.name(), is_embedded(&config)))
    }

    async fn redrive(&self, letters: &Arc<Letters>, wanted: Wanted, target: &mut Target) -> anyhow::Result<Tally> {
        let (mut found, read) = reading(letters.clone(), wanted, AHEAD);
        let (mut pace, mut progress) = (Pace::new(Some(self.rate)), Progress::new("redriven:"));
        let mut tally = Tally { missing: self.ids.clone(), ..Tally::default() };
        while let Some(found) = found.recv().await {
            tally.missing.retain(|id| !super::source::is_meant(id, &found.letter));
            if let Some(refusal) = self.refuse(&found) {
                tally.refuse(refusal, &found.letter);
                continue;
            }
            match target.topic_of(&found.letter)? {
                Err(refusal) => tally.refuse(refusal, &found.letter),
                Ok(to) if self.dry_run => tally.done(to),
                Ok(to) => {
                    pace.turn().await;
                    match target.send(&found.letter, &to).await {
                        Ok(true) => tally.done(to),
                        Ok(false) => tally.refuse("gone meanwhile", &found.letter),
                        Err(Failure::Refused(refusal)) => tally.refuse(refusal, &found.letter),
                        Err(Failure::Stopped(error)) => {
                            tally.stopped = Some(error);
                            return Ok(tally);
                        }
                    }
                    progress.at(tally.redriven());
                }
            }
        }
        tally.copies = read.await.context("a thread failed")??;
        tally.rate = progress.overall(tally.redriven());
        Ok(tally)
    }

    fn refuse(&self, found: &Found) -> Option<&'static str> {
        if found.redriven.is_some() && !self.again {
            // Among all letters that is how it should be; of one that was asked for it is worth a word.
            return Some(REDRIVEN);
        }
        (found.letter.truncated.is_some() && !self.include_truncated)
            .then_some("a part was cut off: --include-truncated sends what is left")
    }
}

const REDRIVEN: &str = "redriven before: --again does it once more";

/// Why a letter was not sent.
enum Failure {
    /// This one cannot be.
    Refused(&'static str),
    /// None can be, at the moment.
    Stopped(anyhow::Error),
}

/// Where letters go.
enum Target {
    Kafka(Box<Topics>),
    Embedded(EmbeddedLog, String),
    /// A dry run on the embedded file, whose topic this is.
    Nothing(String),
}

impl Target {
    /// The topic for a letter, or why there is none.
    fn topic_of(&mut self, letter: &KeptLetter) -> anyhow::Result<Result<String, &'static str>> {
        match self {
            Target::Kafka(topics) => topics.topic_of(letter),
            Target::Embedded(_, topic) | Target::Nothing(topic) => Ok(Ok(topic.clone())),
        }
    }

    /// Sends one. False: it is not there any more.
    async fn send(&self, letter: &KeptLetter, to: &str) -> Result<bool, Failure> {
        match self {
            Target::Kafka(topics) => topics.send(letter, to).await.map(|()| true),
            Target::Embedded(log, _) => {
                let redriven = log.redrive(letter.id.clone()).await;
                redriven.map_err(|error| Failure::Stopped(anyhow::Error::new(error).context(name(letter))))
            }
            Target::Nothing(_) => Ok(true),
        }
    }
}

fn name(letter: &KeptLetter) -> String {
    format!("dead letter {}", escaped(letter.id.to_string().as_bytes()))
}

/// The topics of a cluster.
struct Topics {
    dead: String,
    to: Option<String>,
    copies: KafkaCopies,
    /// How many partitions those have that were asked for; `None`: there is no such topic.
    partitions: BTreeMap<String, Option<i32>>,
}

impl Topics {
    fn connect(dead: &DeadTopic, to: Option<String>) -> anyhow::Result<Topics> {
        let copies = KafkaCopies::one_by_one(&dead.config, dead.metrics.clone())?;
        let dead = dead.config.topic.clone();
        if to.as_ref() == Some(&dead) {
            bail!("{dead} is the dead-letter topic itself: choose another --to-topic");
        }
        let topics = Topics { dead, to, copies, partitions: BTreeMap::new() };
        Ok(topics)
    }

    fn topic_of(&mut self, letter: &KeptLetter) -> anyhow::Result<Result<String, &'static str>> {
        let Some(to) = self.to.as_ref().or(letter.origin.as_ref().map(|origin| &origin.topic)) else {
            return Ok(Err("it does not say which topic it came from: --to-topic says where it goes"));
        };
        if *to == self.dead {
            return Ok(Err("it came from the dead-letter topic itself: --to-topic says where it goes"));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if to.is_empty() || to.len() > 249 || !to.chars().all(is_name) {
            return Ok(Err("what it says it came from is no name of a topic: --to-topic says where it goes"));
        }
        if !self.partitions.contains_key(to) {
            self.partitions.insert(to.clone(), self.copies.partitions(to)?);
        }
        match self.partitions.get(to).copied().flatten() {
            Some(_) => Ok(Ok(to.clone())),
            None => Ok(Err("there is no such topic any more: --to-topic says where it goes")),
        }
    }

    /// Sends one record, and its mark once that is acknowledged.
    async fn send(&self, letter: &KeptLetter, to: &str) -> Result<(), Failure> {
        let partitions = self.partitions.get(to).copied().flatten().unwrap_or(0);
        // The key decides as it did before. Without one it goes where it was, if there is such a partition.
        let before = letter.origin.as_ref().map(|origin| origin.partition);
        let record = RecordCopy {
            partition: before.filter(|before| letter.key.is_none() && (0..partitions).contains(before)),
            key: letter.key.clone(),
            value: letter.value.clone(),
            headers: letter.redriven_headers(),
        };
        match self.stored(to, &record).await {
            Err(LogError::TooLarge) => return Err(Failure::Refused("it is larger than the topic takes")),
            Err(error) => {
                let note = "is not acknowledged, and will be sent again by the next redrive";
                return Err(stopped(letter, note, error));
            }
            Ok(()) => {}
        }
        fail::fail_point!("redrive-acknowledged", |_| std::process::abort());
        let mark = RecordCopy {
            partition: Some(letter.id.partition),
            key: letter.key.clone(),
            value: None,
            headers: Mark::headers(letter, to),
        };
        let note = "was redriven, but its mark is not acknowledged: the next redrive may send it again";
        self.stored(&self.dead, &mark).await.map_err(|error| stopped(letter, note, error))?;
        fail::fail_point!("redrive-marked", |_| std::process::abort());
        Ok(())
    }

    async fn stored(&self, topic: &str, record: &RecordCopy) -> Result<(), LogError> {
        self.copies.send(topic, record).await?.stored().await.map(drop)
    }
}

fn stopped(letter: &KeptLetter, note: &str, error: LogError) -> Failure {
    Failure::Stopped(anyhow::Error::new(error).context(format!("{} {note}", name(letter))))
}

/// What became of the letters.
#[derive(Default)]
struct Tally {
    /// By topic.
    redriven: BTreeMap<String, u64>,
    /// By reason, each with one of them.
    refused: BTreeMap<&'static str, (u64, Option<LetterId>)>,
    /// Asked for, and not there.
    missing: Vec<LetterId>,
    copies: u64,
    rate: String,
    stopped: Option<anyhow::Error>,
}

impl Tally {
    fn done(&mut self, to: String) {
        *self.redriven.entry(to).or_default() += 1;
    }

    fn refuse(&mut self, reason: &'static str, letter: &KeptLetter) {
        let entry = self.refused.entry(reason).or_insert_with(|| (0, Some(letter.id.clone())));
        entry.0 += 1;
    }

    fn redriven(&self) -> u64 {
        self.redriven.values().sum()
    }

    /// Says it, and answers the exit code: 1 when one that was meant was not redriven.
    fn report(mut self, how: &Redrive, name: &str, embedded: bool) -> ExitCode {
        if how.ids.is_empty()
            && let Some((before, _)) = self.refused.remove(REDRIVEN)
        {
            say(&format!(
                "{} of {name} left out that {} redriven before",
                count(before, "letter"),
                if before == 1 { "was" } else { "were" }
            ));
        }
        let verb = if how.dry_run { "would be redriven" } else { "redriven" };
        let (redriven, rate) = (self.redriven(), if how.dry_run { "" } else { &self.rate });
        say(&format!("{} of {name} {verb}{rate}", count(redriven, "dead letter")));
        for (topic, records) in &self.redriven {
            say(&format!("  to {topic}: {records}"));
        }
        if self.copies > 0 {
            say(&format!("{} more of the same records not sent a second time", self.copies));
        }
        for (reason, (letters, first)) in &self.refused {
            let first = first.as_ref().map(|id| escaped(id.to_string().as_bytes())).unwrap_or_default();
            say(&format!("{} not redriven ({reason}), like {first}", count(*letters, "dead letter")));
        }
        for id in &self.missing {
            remark(&format!("there is no dead letter {} in {name}", escaped(id.to_string().as_bytes())));
        }
        if let Some(error) = &self.stopped {
            let marks = if embedded { "" } else { " Those that were are marked: run the command again to go on." };
            remark(&format!("error: stopped: {error:#}.{marks}"));
        }
        let complete = self.refused.is_empty() && self.missing.is_empty() && self.stopped.is_none();
        if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
