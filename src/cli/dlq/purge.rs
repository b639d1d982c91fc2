//! `dlq purge`: dead letters are deleted for good, after somebody said yes.

use super::source::DeadTopic;
use super::{Filters, Letters, Place, Wanted, is_embedded, reading, writer};
use crate::cli::say;
use crate::cli::text::count;
use crate::log::{LetterId, delete_below};
use anyhow::{Context, bail};
use clap::Args;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

/// The arguments of `dlq purge`.
#[derive(Debug, Args)]
pub(super) struct Purge {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filters: Filters,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
}

impl Purge {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.place.file.load()?;
        let embedded = is_embedded(&config);
        if self.filters.any() && !embedded {
            bail!(
                "Kafka deletes records only from the beginning of a partition up to an offset: a purge of a dead-letter \
                 topic is of all its letters, without filters. Redriven letters are left out of list and redrive anyway"
            );
        }
        let letters = Arc::new(Letters::open(&config, &self.place).await?);
        let (mut found, read) = reading(letters.clone(), Wanted::Filtered(self.filters), 8);
        let (mut ids, mut open, mut redriven) = (Vec::new(), 0, 0);
        while let Some(found) = found.recv().await {
            *(if found.redriven.is_some() { &mut redriven } else { &mut open }) += 1;
            if embedded {
                ids.push(found.letter.id);
            }
        }
        let copies = read.await.context("a thread failed")??;
        let name = letters.name();
        if open + redriven == 0 {
            say(&format!("no dead letters to delete in {name}"));
            return Ok(ExitCode::SUCCESS);
        }
        let mut what = count(open, "dead letter");
        if redriven > 0 {
            what = format!("{what} and {redriven} that were redriven");
        }
        if copies > 0 {
            what = format!("{what}, with {copies} more of the same records");
        }
        if !self.yes && !confirmed(&format!("{what} in {name}"))? {
            return Ok(ExitCode::FAILURE);
        }
        match &*letters {
            Letters::Kafka(topic) => delete(topic).await?,
            Letters::Embedded { .. } => delete_rows(&config, ids).await?,
        }
        say(&format!("deleted: {what}, in {name}"));
        Ok(ExitCode::SUCCESS)
    }
}

async fn delete(topic: &DeadTopic) -> anyhow::Result<()> {
    let below = topic.extents.iter().filter(|(_, (start, end))| start < end);
    let below: Vec<_> = below.map(|(partition, (_, end))| (*partition, *end)).collect();
    delete_below(&topic.config, &below).await.context("the dead letters are not deleted, or not all of them")
}

async fn delete_rows(config: &crate::config::Config, ids: Vec<LetterId>) -> anyhow::Result<()> {
    let expected = ids.len();
    let log = writer(config).await.context("a purge writes to the file")?;
    let deleted = log.purge(ids).await.context("the dead letters are not deleted, or not all of them")?;
    if deleted < expected {
        say(&format!("{} were gone already", expected - deleted));
    }
    Ok(())
}

/// Asks whoever sits at the terminal.
fn confirmed(what: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("{what} would be deleted for good: say --yes to do it");
    }
    let mut out = std::io::stdout();
    write!(out, "delete {what}, for good? [y/N] ").and_then(|()| out.flush())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    if !yes {
        say("nothing was deleted");
    }
    Ok(yes)
}
