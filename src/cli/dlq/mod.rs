//! `dlq`: dead letters are listed, shown, sent to their topic again, deleted. Those of the pipeline and of workers
//! alike, in a dead-letter topic or in the embedded file.

mod filter;
mod list;
mod purge;
mod redrive;
mod show;
mod source;

use super::ConfigFile;
use crate::config::Config;
use crate::log::{self, EmbeddedLog, LetterId};
use crate::telemetry::Metrics;
use crate::{embedded, store};
use anyhow::Context;
use clap::{Args, Subcommand};
use filter::Filters;
use source::{Found, Letters};
use std::process::ExitCode;
use std::sync::Arc;

/// The arguments of `dlq`.
#[derive(Debug, Args)]
pub(super) struct Dlq {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One line for each dead letter, the latest first, and how many there are for each reason.
    List(list::List),
    /// Everything about one dead letter.
    Show(show::Show),
    /// Send the records of dead letters to their topic again, each once.
    Redrive(redrive::Redrive),
    /// Delete dead letters for good.
    Purge(purge::Purge),
}

impl Dlq {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Show(show) => show.run().await,
            Command::Redrive(redrive) => redrive.run().await,
            Command::Purge(purge) => purge.run().await,
        }
    }
}

/// Where the dead letters are.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    file: ConfigFile,
    /// The topic whose records died; without it that of the configuration. Its dead-letter topic is the configured one,
    /// and of other topics the name and `.dlq`.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The dead-letter topic, when it has another name.
    #[arg(long, value_name = "TOPIC")]
    dead_letter_topic: Option<String>,
}

/// Which dead letters.
#[derive(Debug, Clone)]
enum Wanted {
    Ids(Vec<LetterId>),
    Filtered(Filters),
}

impl Wanted {
    fn new(ids: Vec<LetterId>, filters: Filters) -> Wanted {
        if ids.is_empty() { Wanted::Filtered(filters) } else { Wanted::Ids(ids) }
    }
}

/// Reads letters on a thread of its own, `deep` of them ahead, and hands them over as they come.
fn reading(
    letters: Arc<Letters>,
    wanted: Wanted,
    deep: usize,
) -> (tokio::sync::mpsc::Receiver<Found>, tokio::task::JoinHandle<anyhow::Result<u64>>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(deep);
    let reading = tokio::task::spawn_blocking(move || {
        letters.read(&wanted, &mut |found| {
            // Nobody takes them any more when the command gave up.
            let _ = sender.blocking_send(found);
        })
    });
    (receiver, reading)
}

/// The embedded log, for writing: nobody else may have it.
async fn writer(config: &Config) -> anyhow::Result<EmbeddedLog> {
    // A file that is not there is not to be made.
    drop(embedded::open_read_only(&config.embedded.path)?);
    let always_synced = config.store.kind != store::Kind::Embedded;
    let file = embedded::EmbeddedFile::open(&config.embedded, always_synced)?;
    let kafka = &config.log.kafka;
    let metrics = Arc::new(Metrics::new().context("cannot build the metrics of the log")?);
    Ok(EmbeddedLog::open(file, &config.embedded, (&kafka.topic, &kafka.group), metrics).await?)
}

fn is_embedded(config: &Config) -> bool {
    config.log.kind == log::Kind::Embedded
}
