//! The live tail: what lately came in, accepted and refused, and why.
//!
//! Ingest tells a [`Desk`], which keeps little and forgets soon: samples, with every value left out, and counts of what
//! was refused. A [`publish`]er hands them on through [`Notices`](crate::store::Notices) for as long as somebody listens,
//! and a [`Hub`] gathers them, in the same process or another one, for its listeners. It is best effort: nothing waits for
//! it, and whatever goes wrong in it changes no event and no count.
//!
//! [`Shape`] says what is shown of an event. Nothing that leads to a person gets past it.

mod counts;
mod desk;
mod entry;
mod hub;
mod notice;
mod publisher;
mod ring;
mod shape;

pub use desk::{Desk, Refusal};
pub use entry::{Count, Entry, Outcome, WINDOW_S};
pub use hub::{Heard, Hub, Listener, Missed, Summary, Told};
pub use publisher::publish;
pub use shape::Shape;
