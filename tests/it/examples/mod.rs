//! The examples, as a reader of their READMEs runs them: as processes, on a real Kafka, with a kill in the middle.

mod checkout;
mod orders;
mod transactions;
mod video;

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::process::Process;
use crate::support::{self, eventually};

/// Enough for a machine that does other things at the same time, and for the session of a killed member to end.
const SOON: Duration = Duration::from_secs(120);

/// A running example.
struct Example(Process);

impl Example {
    /// Starts it on the shared Kafka, with a topic.
    async fn start(name: &'static str, topic: &str, arguments: &[&str]) -> Example {
        let process = Process::new(name);
        process.spawn(command(name, topic, arguments).await);
        Example(process)
    }

    /// Runs it to its end, which must be a good one, and answers its lines.
    async fn run(name: &'static str, topic: &str, arguments: &[&str]) -> Vec<String> {
        let example = Example::start(name, topic, arguments).await;
        let status = example.0.ended(SOON).await;
        assert!(status.success(), "{name} {arguments:?}: {status}\n{}", example.0.log_tail());
        example.lines()
    }

    fn kill(&self) {
        self.0.kill();
    }

    /// Ctrl-C, which it must answer by a clean end.
    async fn interrupt(&self) {
        self.0.signal(Signal::SIGINT);
        let status = self.0.ended(SOON).await;
        assert!(status.success(), "{status}\n{}", self.0.log_tail());
    }

    /// What it wrote so far. Of a line that is being written, nothing.
    fn lines(&self) -> Vec<String> {
        let output = self.0.output();
        let whole = output.rfind('\n').map_or("", |end| &output[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// What follows this beginning, on each line that has it.
    fn after(&self, beginning: &str) -> Vec<String> {
        self.lines().iter().filter_map(|line| line.strip_prefix(beginning)).map(str::to_owned).collect()
    }

    /// Waits for so many lines with this beginning.
    async fn until(&self, beginning: &str, count: usize) -> Vec<String> {
        eventually(SOON, beginning, async || {
            let found = self.after(beginning);
            if found.len() >= count {
                return Ok(found);
            }
            self.0.assert_alive();
            Err(format!("{} of {count}; it wrote:\n{}", found.len(), self.0.log_tail()))
        })
        .await
    }
}

/// `cargo test` builds the examples beside this binary's folder.
async fn command(name: &str, topic: &str, arguments: &[&str]) -> Command {
    let tests = std::env::current_exe().expect("this binary");
    let program = tests.ancestors().nth(2).expect("the folder of the profile").join("examples").join(name);
    assert!(program.exists(), "{} is missing: run cargo build --examples", program.display());
    let mut command = Command::new(program);
    command.args(["--brokers", &support::kafka().await.brokers(), "--topic", topic]).args(arguments);
    command
}
