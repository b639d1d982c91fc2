//! What the program says of itself: one catalogue of metrics, one readiness, one logging set-up.

mod logging;
mod metrics;
mod readiness;

pub use logging::{LogFormat, init as init_logging};
pub use metrics::Metrics;
pub use readiness::{Readiness, Role};
