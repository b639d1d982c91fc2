//! Tells the customer. After a crash between the mail and the commit it is told again: nobody minds a second mail.

use crate::events::OrderPlaced;
use streamgauge::envelope::{Envelope, Json};
use streamgauge::worker::{Failure, Message, Router};

pub(crate) fn service() -> Router<Json> {
    Router::new(Json).on(confirm)
}

async fn confirm(order: Envelope<OrderPlaced>, _: Message) -> Result<(), Failure> {
    let customer = order.user_id.ok_or_else(|| Failure::permanent("an order of nobody"))?;
    println!("e-mail: thanked {customer} for order {}", order.event_id);
    Ok(())
}
