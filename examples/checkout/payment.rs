//! Charges the customer, through a provider that does not always answer: then it is tried again.

use crate::events::OrderPlaced;
use std::time::Duration;
use streamgauge::envelope::{Envelope, Json};
use streamgauge::worker::{Failure, Message, Router};

pub(crate) fn service() -> Router<Json> {
    Router::new(Json).on(charge)
}

/// It is charged at least once: a provider that is worth its money takes the order's id as the key of the charge, and
/// charges the same one once.
async fn charge(order: Envelope<OrderPlaced>, _: Message) -> Result<(), Failure> {
    tokio::time::sleep(Duration::from_millis(5)).await;
    if rand::random_ratio(1, 20) {
        println!("payment: no answer about order {}; tried again", order.event_id);
        return Err(Failure::retryable("the payment provider did not answer"));
    }
    let customer = order.user_id.as_deref().unwrap_or("nobody");
    println!("payment: charged {customer} {} cents for order {}", order.payload.total_cents, order.event_id);
    Ok(())
}
