//! The minimum: a producer, a topic, a consumer group. README.md beside this file shows it at work.
#![allow(clippy::print_stdout, reason = "an example tells people what it does")]

#[path = "../shared/mod.rs"]
mod shared;

use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use shared::{Kafka, Services};
use std::time::Duration;
use streamgauge::envelope::{Envelope, Event, Json};
use streamgauge::publish::{Key, Outgoing};
use streamgauge::worker::{Config, Failure, Message, Router};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    kafka: Kafka,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Publishes orders of a few customers.
    Place {
        /// How many of each customer.
        #[arg(long, default_value_t = 10)]
        each: u32,
    },
    /// Bills the orders, as a member of the consumer group. Start several.
    Bill {
        /// How long a bill takes.
        #[arg(long, default_value = "20ms", value_parser = humantime::parse_duration)]
        takes: Duration,
    },
}

const CUSTOMERS: [&str; 8] = ["ann", "bob", "cem", "dana", "eve", "finn", "gül", "hugo"];

/// Somebody orders something.
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    /// Counts the orders of this customer.
    number: u32,
    total_cents: u64,
}

impl Event for OrderPlaced {
    const EVENT_TYPE: &'static str = "order.placed";
    const EVENT_VERSION: u32 = 1;
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let services = Services::new(&args.kafka, "orders")?;
    match args.command {
        Command::Place { each } => place(&services, each).await,
        Command::Bill { takes } => bill(services, takes).await,
    }
}

/// The key is the customer: the orders of one customer are billed in their order, those of different ones in parallel.
async fn place(services: &Services, each: u32) -> anyhow::Result<()> {
    let publisher = services.publisher().await?;
    for number in 1..=each {
        for customer in CUSTOMERS {
            let order = OrderPlaced { number, total_cents: 995 * u64::from(number) };
            let event_id = publisher.publish(Outgoing::new(order, Key::User(customer.to_owned()))).await?;
            println!("placed {customer}'s order {number}, event {event_id}");
        }
    }
    Ok(())
}

async fn bill(mut services: Services, takes: Duration) -> anyhow::Result<()> {
    let billing = Router::new(Json).on(move |order: Envelope<OrderPlaced>, message: Message| async move {
        let customer = order.user_id.ok_or_else(|| Failure::permanent("an order of nobody"))?;
        let OrderPlaced { number, total_cents } = order.payload;
        tokio::time::sleep(takes).await;
        println!("billed {customer}'s order {number}: {total_cents} cents ({message:?})");
        Ok::<_, Failure>(())
    });
    services.work("billing", Config::default(), billing)?;
    println!("billing the orders of topic {}; Ctrl-C ends it", services.topic);
    services.ended().await
}
