//! A service's process: its life, its signals, its log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{POLL, eventually, watchdog};

/// A process with a folder of its own. Both go when it is dropped, or when the test run ends.
pub(crate) struct Process {
    name: &'static str,
    child: Mutex<Option<Child>>,
    dir: TempDir,
}

impl Process {
    /// A folder, and nothing running yet.
    pub(crate) fn new(name: &'static str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a temporary folder");
        watchdog::remove_at_end(dir.path());
        Self { name, child: Mutex::new(None), dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `command` in place of whatever ran before; its output goes to the log.
    pub(crate) fn spawn(&self, mut command: Command) {
        self.kill();
        let log = File::create(self.log()).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a second handle of the log"))
            .stdout(log)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}; run make test, which installs it", self.name));
        watchdog::kill_at_end(child.id());
        *self.child() = Some(child);
    }

    /// Fails with the end of the log if the process is no longer there.
    pub(crate) fn assert_alive(&self) {
        let status = match self.child().as_mut() {
            Some(child) => child.try_wait().expect("a child of ours"),
            None => panic!("{} is not running", self.name),
        };
        if let Some(status) = status {
            panic!("{} ended with {status}:\n{}", self.name, self.log_tail());
        }
    }

    /// Whether it was started and has not ended.
    pub(crate) fn is_running(&self) -> bool {
        self.child().as_mut().is_some_and(|child| child.try_wait().expect("a child of ours").is_none())
    }

    /// SIGKILL, and waits until it is gone. A stopped process dies of it too.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            child.kill().expect("a child of ours");
            reap(&mut child);
        }
    }

    /// SIGTERM, and waits until it is gone.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
        if let Some(mut child) = self.child().take() {
            reap(&mut child);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child();
        let child = child.as_ref().unwrap_or_else(|| panic!("{} is not running", self.name));
        let pid = Pid::from_raw(child.id().try_into().expect("a process id"));
        signal::kill(pid, signal).expect("a child of ours");
    }

    /// Waits until it ends by itself, and fails if it does not in time.
    pub(crate) async fn ended(&self, within: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let status = eventually(within, &what, async || {
            let mut child = self.child();
            let child = child.as_mut().unwrap_or_else(|| panic!("{} is not running", self.name));
            child.try_wait().expect("a child of ours").ok_or_else(|| format!("it runs; it wrote:\n{}", self.log_tail()))
        })
        .await;
        if let Some(mut child) = self.child().take() {
            reap(&mut child);
        }
        status
    }

    /// Whether it ends by itself within this time.
    pub(crate) async fn ends_within(&self, within: Duration) -> bool {
        let ended = async {
            while self.is_running() {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(within, ended).await.is_ok()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child().as_ref().unwrap_or_else(|| panic!("{} is not running", self.name)).id()
    }

    /// All that it wrote, standard output and standard error together.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    /// The last lines it wrote, for a failure's message.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.output();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn log(&self) -> PathBuf {
        self.dir().join("log")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn reap(child: &mut Child) {
    child.wait().expect("a child of ours");
    watchdog::forget(child.id());
}
