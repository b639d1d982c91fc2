//! Money: events that are published only after the state has changed (an outbox), and consumers that apply each event
//! once. README.md beside this file shows it at work.
#![allow(clippy::print_stdout, reason = "an example tells people what it does")]

mod bank;
mod events;
mod member;
mod relay;
#[path = "../shared/mod.rs"]
mod shared;

use anyhow::bail;
use bank::Bank;
use clap::{Parser, Subcommand};
use member::Balances;
use redis::AsyncCommands;
use shared::{Kafka, Services};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    kafka: Kafka,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes transfers and publishes them. Started again it goes on where it was.
    Bank {
        /// The accounts and the outbox.
        #[arg(long, default_value = "data/bank.db")]
        file: PathBuf,
        /// How many transfers there are to be in the end.
        #[arg(long, default_value_t = 10_000)]
        count: i64,
        /// How many in a second.
        #[arg(long, default_value_t = 200)]
        rate: u32,
    },
    /// A member of the group that keeps the balances. Start one, then more.
    Member {
        #[command(flatten)]
        balances: Balances,
        /// Where its metrics are served on this machine; 0 takes a free port.
        #[arg(long, default_value_t = 9471)]
        port: u16,
        /// How long a transfer takes; a member does one after the other.
        #[arg(long, default_value = "10ms", value_parser = humantime::parse_duration)]
        takes: Duration,
    },
    /// Compares the balances with the bank's accounts; fails when they differ.
    Check {
        /// The accounts and the outbox.
        #[arg(long, default_value = "data/bank.db")]
        file: PathBuf,
        #[command(flatten)]
        balances: Balances,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut services = Services::new(&args.kafka, "events.transactions")?;
    match args.command {
        Command::Bank { file, count, rate } => bank(services, file, count, rate).await,
        Command::Member { balances, port, takes } => {
            member::serve_metrics(&mut services, port).await?;
            member::start(&mut services, &balances, takes)?;
            services.ended().await
        }
        Command::Check { file, balances } => check(&file, &balances, &services.topic).await,
    }
}

async fn bank(mut services: Services, file: PathBuf, count: i64, rate: u32) -> anyhow::Result<()> {
    let (bank, publisher) = (Bank::open(file).await?, services.publisher().await?);
    println!("bank: {} of {count} transfers are made", bank.made().await?);
    services.run(relay::run(bank.clone(), publisher, count, services.shutdown.clone()));
    let shutdown = services.shutdown.clone();
    services.run(async move {
        let mut tick = interval(Duration::from_secs(1) / rate.max(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while bank.made().await? < count && !shutdown.has_begun() {
            tick.tick().await;
            bank.transfer().await?;
        }
        shutdown.begun().await;
        Ok(())
    });
    services.ended().await
}

async fn check(file: &Path, balances: &Balances, topic: &str) -> anyhow::Result<()> {
    let accounts = bank::accounts(file)?;
    let mut redis = redis::Client::open(balances.redis.as_str())?.get_multiplexed_async_connection().await?;
    let booked: BTreeMap<String, i64> = redis.hgetall(balances.key(topic)).await?;
    let mut differences = 0;
    for (name, cents) in &accounts {
        let booked = bank::OPENING_CENTS + booked.get(name).copied().unwrap_or(0);
        if booked != *cents {
            differences += 1;
            println!("check: {name} has {cents} cents at the bank, and {booked} by the events");
        }
    }
    if differences > 0 {
        bail!("{differences} of {} balances differ", accounts.len());
    }
    println!("check: all {} balances are equal", accounts.len());
    Ok(())
}
