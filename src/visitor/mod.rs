//! Who is the same visitor today, without knowing who it is.
//!
//! An id is a keyed hash of the site, the address and the user agent, with the [`Salt`](crate::store::Salt) of the day of
//! receipt. All processes that share a store have the same salt; with it gone nobody can tell an id from chance. Ids of two
//! days, or of two sites, have nothing in common.
//!
//! [`Salts`] holds what is known, and makes ids without waiting for anything. [`keep`] fetches the salts from the store
//! beside it, tomorrow's in time, and wipes those of days that are over.

mod id;
mod keeper;
mod salts;

pub use id::{Traits, truncated};
pub use keeper::keep;
pub use salts::Salts;
