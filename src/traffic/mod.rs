//! Synthetic visitors and the shop that they look at: what the demo shows; and load: what measurements send.
//!
//! [`Visitors`] is pure: the same seed and times give the same events. [`Driver`] posts what they do to an ingest.

mod driver;
pub mod load;
mod shop;
mod visitors;

pub use driver::{Driver, Tally, TrafficError};
pub use shop::Shop;
pub use visitors::{Body, Visitors};
