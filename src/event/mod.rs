//! The event: what a browser or service sends, its validation, its canonical form, and the look-up of dimensions.
//!
//! Pure: no clock (the caller says when an event was received) and no I/O. Nothing here recurses deeper than the
//! text it writes is long, so no input can exhaust the stack.

mod array;
mod canonical;
mod dimension;
mod envelope;
#[cfg(test)]
mod hostile;
mod invalid;
mod key;
mod lookup;
mod made;
#[cfg(test)]
mod properties;
mod scan;
mod sent;
mod text;
mod time;

pub use array::PlainArray;
pub use canonical::Stamp;
pub use dimension::{Dimension, Dimensions};
pub use envelope::{Door, Event};
pub use invalid::{Invalid, Kind};
pub use key::Key;
pub use made::{made_id, schema_id};
pub use scan::{Members, RawJson};
pub use text::{head, push_quoted};
pub use time::{json_time_ms, text_time_ms};
