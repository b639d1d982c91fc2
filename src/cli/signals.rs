//! SIGTERM and SIGINT: the first begins the shutdown, a second one ends the process at once.

use crate::shutdown::Shutdown;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the process may take on top of its time to drain, for clients that do not let go.
const GRACE: Duration = Duration::from_secs(1);

/// Watches for signals from now on. The process ends within `timeout` of the first one, whatever is down.
///
/// # Errors
/// When the system lets nobody watch for signals.
pub(super) fn watch(shutdown: Shutdown, timeout: Duration) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        next(&mut terminate, &mut interrupt).await;
        shutdown.begin();
        end_after(timeout + GRACE);
        let code = next(&mut terminate, &mut interrupt).await;
        tracing::warn!("second signal: ending at once; what was not flushed is counted at the next start");
        exit(code);
    });
    Ok(())
}

/// The first signal begins `first`, the next one `second`. The process ends by itself.
///
/// # Errors
/// When the system lets nobody watch for signals.
pub(super) fn begin_in_turn(first: Shutdown, second: Shutdown) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        for shutdown in [first, second] {
            next(&mut terminate, &mut interrupt).await;
            shutdown.begin();
        }
        exit(next(&mut terminate, &mut interrupt).await);
    });
    Ok(())
}

/// Waits for either; answers the exit code that a shell gives to it.
async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> i32 {
    tokio::select! {
        _ = terminate.recv() => 128 + 15,
        _ = interrupt.recv() => 128 + 2,
    }
}

/// A thread, for it must come true even if the runtime is stuck.
fn end_after(time: Duration) {
    let watchdog = std::thread::Builder::new().name("shutdown-watchdog".to_owned()).spawn(move || {
        let end = Instant::now() + time;
        // It may wake up early.
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        tracing::warn!("the drain did not end in time; what was not flushed is counted at the next start");
        exit(0);
    });
    if let Err(error) = watchdog {
        tracing::warn!(%error, "the time for the drain cannot be watched");
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that may end the process without its drain")]
fn exit(code: i32) {
    std::process::exit(code);
}
