//! What is counted: counter definitions, the outcome of each record, and the deltas that records add up to.
//!
//! Pure. Everything here is a function of the log and the configuration alone, never of a clock or of batching,
//! so that any replay gives the same numbers.

mod counting;
mod decimal;
mod dedupe;
mod deltas;
mod extras;
mod ledger;
mod measure;
mod registers;
mod segment;
mod spec;

pub use counting::{Counted, Counting, Timing};
pub use decimal::Decimal;
pub use dedupe::Dedupe;
pub use deltas::{Bucket, Deltas, KeyId, Keyed, Slot};
pub use extras::{Amounts, Measure, Members};
pub use ledger::{Ledger, Outcome};
pub use measure::{Filter, Kind, Measured, Measuring};
pub use registers::{NoRegisters, Raise, Registers};
pub use segment::{Fingerprint, Gap, Segment};
pub use spec::{Counter, CounterError, Counters, Spec, WindowSpec, default_specs};
