//! The binary: arguments in, exit code out. Everything else is the library.

use std::process::ExitCode;

/// For librdkafka and SQLite as well: what one thread allocates another one mostly frees, many times per event.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Reads FAILPOINTS, once, and holds what it says until the process ends.
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    streamgauge::cli::main()
}
