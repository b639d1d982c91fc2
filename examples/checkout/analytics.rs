//! Looks at what is sold. To count it per window, exactly once, point `streamgauge run` at the topic: README.md shows it.

use crate::events::OrderPlaced;
use streamgauge::envelope::{Envelope, Json};
use streamgauge::worker::{Failure, Message, Router};

pub(crate) fn service() -> Router<Json> {
    Router::new(Json).on(look)
}

async fn look(order: Envelope<OrderPlaced>, _: Message) -> Result<(), Failure> {
    let pieces: u64 = order.payload.items.iter().map(|item| u64::from(item.quantity)).sum();
    println!("analytics: {pieces} pieces, {} cents in order {}", order.payload.total_cents, order.event_id);
    Ok(())
}
