//! The binary: arguments in, exit code out. Everything else is the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Reads FAILPOINTS, once, and holds what it says until the process ends.
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    streamgauge::cli::main()
}
