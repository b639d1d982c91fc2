//! What the program says of itself: one catalogue of metrics, one readiness, one logging set-up; and what of a
//! client's trace it passes on.

mod logging;
mod metrics;
mod readiness;
mod trace;

pub use logging::{LogFormat, init as init_logging};
pub use metrics::Metrics;
pub use readiness::{Readiness, Role};
pub use trace::{TRACEPARENT, TraceParent};
