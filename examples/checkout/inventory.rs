//! Reserves what was ordered. An order of something that there is not can never be reserved: it is a poison order.

use crate::events::OrderPlaced;
use streamgauge::envelope::{Envelope, Json};
use streamgauge::worker::{Failure, Message, Router};

const SHELVES: [&str; 4] = ["teapot", "cup", "spoon", "sugar"];

pub(crate) fn service() -> Router<Json> {
    Router::new(Json).on(reserve)
}

async fn reserve(order: Envelope<OrderPlaced>, _: Message) -> Result<(), Failure> {
    for item in &order.payload.items {
        if !SHELVES.contains(&item.sku.as_str()) {
            println!("inventory: order {} cannot be reserved: dead letter", order.event_id);
            return Err(Failure::permanent("it orders something that there is not"));
        }
    }
    let reserved: Vec<_> = order.payload.items.iter().map(|item| format!("{} {}", item.quantity, item.sku)).collect();
    println!("inventory: reserved {} for order {}", reserved.join(", "), order.event_id);
    Ok(())
}
