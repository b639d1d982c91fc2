//! The commands: one file each. How anything works is elsewhere.

mod accept_gap;
mod check;
mod demo;
mod dlq;
mod kafka;
mod load;
mod open_files;
mod pace;
mod replay;
mod serve;
mod signals;
mod tail;
mod text;
mod verify;

use crate::clock::now_ms;
use crate::config::Config;
use crate::telemetry::{LogFormat, Role, init_logging};
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Counts streams of user events per time window, exactly once.
#[derive(Debug, Parser)]
#[command(name = "streamgauge", version)]
struct Cli {
    /// How log lines are written. STREAMGAUGE_LOG chooses which: "info", "debug", "streamgauge=debug".
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take events, count them and answer questions: all in one process.
    Run(ConfigFile),
    /// Only take events.
    Ingest(ConfigFile),
    /// Only count.
    Process(ConfigFile),
    /// Only answer questions.
    Query(ConfigFile),
    /// Everything in one process, with synthetic visitors and nothing else needed.
    Demo(demo::Demo),
    /// Say line by line what is right and wrong with the configuration, the addresses, the log and the store.
    Check(ConfigFile),
    /// Count the topic again below the stored offsets and compare; exit code 1 on any difference.
    Verify(verify::Verify),
    /// Send events at a fixed rate, and say how long the answers took and whether everything accepted was counted.
    Load(load::Load),
    /// Show what comes in, accepted and refused, as it comes, and why it was refused.
    Tail(tail::Tail),
    /// Let partitions go on that are stopped because records are gone which were never counted.
    AcceptGap(accept_gap::AcceptGap),
    /// Look at dead letters: list them, show one, send them to their topic again, delete them.
    Dlq(dlq::Dlq),
    /// Copy a topic, from an offset or a time on, to another topic.
    Replay(replay::Replay),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; without one, every key has its default. STREAMGAUGE_… variables override both.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(self.config.as_deref(), environment())?)
    }
}

/// A secret that is given, or stands in a file.
fn secret(given: Option<&str>, file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(path) = file else { return Ok(given.map(str::to_owned)) };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("the file `{}` cannot be read", path.display()))?;
    Ok(Some(text.trim().to_owned()))
}

/// The environment, without variables that are no text: none of ours can be.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn now_s() -> i64 {
    now_ms().div_euclid(1_000)
}

/// A time among the arguments, in ms.
fn time_ms(text: &str) -> Result<i64, String> {
    let time = crate::query::time_ms(text, now_ms());
    time.ok_or_else(|| "write unix seconds, RFC 3339 like 2026-01-31T12:00:00Z, or how long ago like -15m".to_owned())
}

/// For who started the command, on standard output. Whoever stops reading it has seen enough.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// How it goes, beside the output proper: on standard error.
#[expect(clippy::print_stderr, reason = "the output proper may go to another program")]
fn remark(line: &str) {
    eprintln!("{line}");
}

/// Reads the arguments, does what they say, and answers the exit code: 0, 1 for an error, 2 for wrong arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    init_logging(cli.log_format);
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(async {
        match command {
            Command::Run(file) => serve::serve(file.load()?, &Role::ALL).await,
            Command::Ingest(file) => serve::serve(file.load()?, &[Role::Ingest]).await,
            Command::Process(file) => serve::serve(file.load()?, &[Role::Process]).await,
            Command::Query(file) => serve::serve(file.load()?, &[Role::Query]).await,
            Command::Demo(demo) => demo.run().await,
            Command::Check(file) => check::check(&file).await,
            Command::Verify(verify) => verify.run().await,
            Command::Load(load) => load.run().await,
            Command::Tail(tail) => tail.run().await,
            Command::AcceptGap(accept) => accept.run().await,
            Command::Dlq(dlq) => dlq.run().await,
            Command::Replay(replay) => replay.run().await,
        }
    });
    // Whatever still blocks (a client that waits for a server that is gone) must not keep the process.
    runtime.shutdown_background();
    result
}

#[expect(clippy::print_stderr, reason = "what went wrong is said to whoever started the command")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
