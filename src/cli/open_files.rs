//! Each connection is an open file, and many systems let a process begin with 1,024 of them.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that a process has open beside the connections of its clients: the log, the store, the other listeners.
const BESIDE: u64 = 256;

/// Takes as many open files as the system allows, and says so if that is less than these connections need; `set_by` is
/// what says how many they are.
pub(super) fn allow_for(connections: usize, set_by: &str) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = soft == hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let (allowed, needed) = (if raised { hard } else { soft }, connections as u64 + BESIDE);
    if allowed < needed {
        tracing::warn!(
            allowed,
            needed,
            "the system allows fewer open files than {set_by} may need: raise the limit (LimitNOFILE, ulimit -n)"
        );
    }
}
