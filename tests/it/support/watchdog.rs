//! Ends the services when the test run ends, however it ends.
//!
//! Rust drops no statics, and a run that is killed drops nothing at all. So one shell reads from a pipe
//! that only this process holds: the pipe closes when the process is gone, and the shell cleans up.

use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids=' '
dirs=''
while read -r verb what; do
  case $verb in
    kill) pids="$pids$what " ;;
    forget) pids=${pids%%" $what "*}" "${pids#*" $what "} ;;
    remove) dirs="$dirs$what
" ;;
  esac
done
for pid in $pids; do kill -KILL "$pid"; done
printf %s "$dirs" | while read -r dir; do rm -rf "$dir"; done
"#;

/// This process will be killed when the run ends.
pub(super) fn kill_at_end(pid: u32) {
    tell(&format!("kill {pid}"));
}

/// This process has been waited for: its id may soon be somebody else's.
pub(super) fn forget(pid: u32) {
    tell(&format!("forget {pid}"));
}

/// This folder will be removed when the run ends.
pub(super) fn remove_at_end(dir: &Path) {
    tell(&format!("remove {}", dir.display()));
}

fn tell(line: &str) {
    static PIPE: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let pipe = PIPE.get_or_init(|| Mutex::new(start()));
    let mut pipe = pipe.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    writeln!(pipe, "{line}").expect("the watchdog reads");
}

#[expect(clippy::zombie_processes, reason = "it outlives this process: that is its purpose")]
fn start() -> ChildStdin {
    let shell = Command::new("sh")
        .args(["-c", SCRIPT])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    shell.stdin.expect("its standard input is a pipe")
}
