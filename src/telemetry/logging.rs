use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How log lines are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Sets logging up for the process. `STREAMGAUGE_LOG` chooses what is logged ("info", "streamgauge=debug").
///
/// A second call changes nothing.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_env("STREAMGAUGE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let done = match format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Only a second initialisation fails, and the first one stands.
    drop(done);
}
