//! Services around the stream: consume → handle → commit, at least once, in the order of each key.

mod effects;
mod handler;
mod message;
mod router;

pub use effects::Effects;
pub use handler::{Failure, Handler};
pub use message::Message;
pub use router::{Newer, Others, Router};
