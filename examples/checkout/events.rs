//! The events of the shop.

use serde::{Deserialize, Serialize};
use streamgauge::envelope::Event;

/// A customer has ordered. The event's id is the order's, its `user_id` the customer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    pub(crate) items: Vec<Item>,
    pub(crate) total_cents: u64,
}

/// Something that is ordered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
}

impl Event for OrderPlaced {
    const EVENT_TYPE: &'static str = "order.placed";
    const EVENT_VERSION: u32 = 1;
}
