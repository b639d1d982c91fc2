//! The events of the bank.

use serde::{Deserialize, Serialize};
use streamgauge::envelope::Event;

/// Money went from one account to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MoneyTransferred {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) cents: i64,
}

impl Event for MoneyTransferred {
    const EVENT_TYPE: &'static str = "money.transferred";
    const EVENT_VERSION: u32 = 1;
}
