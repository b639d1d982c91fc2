//! From the outbox to the topic, in order. It may die between the acknowledgement and the note of it, and publishes
//! again then: with the same id, so that the members know it.

use crate::bank::{Bank, Untold};
use std::sync::Arc;
use std::time::Duration;
use streamgauge::envelope::Json;
use streamgauge::publish::{Key, Outgoing, Publisher};
use streamgauge::shutdown::Shutdown;

const BATCH: usize = 200;
const LOOK: Duration = Duration::from_millis(20);

/// Publishes until all `count` transfers are told, or the shutdown begins.
pub(crate) async fn run(
    bank: Bank,
    publisher: Arc<Publisher<Json>>,
    count: i64,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    while !shutdown.has_begun() {
        let untold = bank.untold(BATCH).await?;
        let Some(last) = untold.last().map(|untold| untold.number) else {
            if bank.made().await? >= count {
                println!("relay: all {count} transfers are published");
                shutdown.begin();
            }
            tokio::time::sleep(LOOK).await;
            continue;
        };
        match publisher.publish_all(untold.into_iter().map(outgoing)).await {
            Ok(published) => {
                println!("relay: published {} transfers up to number {last}", published.len());
                bank.told(last).await?;
            }
            Err(error) if error.is_retryable() => println!("relay: tried again: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Keyed by who pays: the transfers of one account keep their order.
fn outgoing(untold: Untold) -> Outgoing<crate::events::MoneyTransferred> {
    let payer = untold.transferred.from.clone();
    Outgoing::new(untold.transferred, Key::User(payer)).with_id(untold.event_id)
}
