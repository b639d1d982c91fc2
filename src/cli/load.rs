//! `load`: how much does this set-up take? An open-loop generator, and a check of what it sent.

use super::{open_files, remark, say, secret, signals};
use crate::shutdown::Shutdown;
use crate::traffic::load::{Check, Mix, Plan, Progress, QuerySide, Report, Summary, Target, Watch};
use crate::traffic::load::{Load as Run, marker, run_name, usual_fields};
use clap::Args;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// Between two lines about how it goes: where one is written over the other, and where not.
const LINES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// The arguments of `load`.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Where ingest listens.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    url: String,
    /// Events per second.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: u32,
    /// For how long, like 30s or 5m.
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    lasting: Duration,
    /// Connections; each waits for the answer to its request before it takes the next.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// Events of a request.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Types of events, each with its share.
    #[arg(long, value_name = "TYPE=SHARE,…", default_value = "page_view=70,click=20,search=10")]
    mix: Mix,
    /// Distinct keys (pages, targets, …) of each type.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// How skewed the keys are, as the exponent of Zipf's law: 0 is evenly.
    #[arg(long, value_name = "EXPONENT", default_value_t = 1.0)]
    zipf: f64,
    /// Bytes of an event; it is padded with random text.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    event_bytes: u32,
    /// How long an answer may take before the connection is given up.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The write key of a site. Others on this machine may see it among the arguments: better is --write-key-file.
    #[arg(long, value_name = "KEY", conflicts_with = "write_key_file")]
    write_key: Option<String>,
    /// A file that holds the write key.
    #[arg(long, value_name = "FILE")]
    write_key_file: Option<PathBuf>,
    /// Where the query side listens, which is asked afterwards whether everything accepted was counted.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    query: String,
    /// The token of the query side. Others on this machine may see it among the arguments: better is --token-file.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// A file that holds the token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long counting may take after the last answer.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    check_within: Duration,
    /// Do not ask whether everything was counted.
    #[arg(long)]
    no_check: bool,
    /// The summary as one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    check: Option<&'a Report>,
    /// Why there is no check although one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    check_failed: Option<String>,
}

impl Load {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let plan = self.plan()?;
        plan.check()?;
        open_files::allow_for(self.connections as usize, "--connections");
        let check = if self.no_check { None } else { Some(self.prepare().await?) };
        let fields = check.as_ref().map_or_else(|| usual_fields(&self.mix), |check| check.fields().to_vec());
        let run = run_name();
        let load = Run::new(plan, &run, &fields)?;
        let (stop, give_up) = (Shutdown::new(), Shutdown::new());
        signals::begin_in_turn(stop.clone(), give_up.clone())?;
        let telling = tokio::spawn(tell(load.watch()));
        let summary = load.run(stop).await;
        telling.abort();
        // The only error is that it was aborted.
        let _ = telling.await;
        if std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        let summary = summary?;
        if !self.json {
            say(&summary.to_string());
        }
        let Some(check) = check else { return Ok(self.end(&summary, None)) };
        remark("asking the query side what was counted; Ctrl-C asks once more and ends");
        let report = check.run(&marker(&run), &summary.by_type, self.check_within, &give_up).await;
        Ok(self.end(&summary, Some(report.map_err(|error| error.to_string()))))
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        let write_key = secret(self.write_key.as_deref(), self.write_key_file.as_deref())?;
        Ok(Plan {
            target: Target::new(&self.url, write_key.as_deref())?,
            rate: self.rate,
            lasting: self.lasting,
            connections: self.connections,
            batch: self.batch,
            mix: self.mix.clone(),
            keys: self.keys,
            zipf: self.zipf,
            event_bytes: self.event_bytes,
            answer_within: self.timeout,
        })
    }

    async fn prepare(&self) -> anyhow::Result<Check> {
        let token = secret(self.token.as_deref(), self.token_file.as_deref())?;
        let side = QuerySide::new(&self.query, token.as_deref())?;
        let check = Check::prepare(side, &self.mix, self.keys).await;
        check.map_err(|error| {
            anyhow::Error::new(error).context("the check cannot be prepared (--query, or --no-check to go without)")
        })
    }

    /// Says what came of it. The exit code is 0 when something was accepted, and all of it is known to be counted once.
    fn end(&self, summary: &Summary, checked: Option<Result<Report, String>>) -> ExitCode {
        let is_good = match &checked {
            None => summary.events.accepted > 0,
            Some(report) => report.as_ref().is_ok_and(Report::is_exact),
        };
        let check = checked.as_ref().and_then(|report| report.as_ref().ok());
        let check_failed = checked.as_ref().and_then(|report| report.as_ref().err().cloned());
        if self.json {
            let outcome = Outcome { summary, check, check_failed };
            // What cannot be written as JSON has names that are no text; these have.
            say(&serde_json::to_string(&outcome).unwrap_or_default());
        } else if let Some(report) = check {
            say(&report.to_string());
        } else if let Some(why) = check_failed {
            say(&format!("result      NOT CHECKED: {why}"));
        }
        if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Says now and then how it goes.
async fn tell(watch: Watch) {
    let is_terminal = std::io::stderr().is_terminal();
    let every = if is_terminal { LINES[0] } else { LINES[1] };
    let (begun, mut ticks) = (Instant::now(), interval(every));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut before = watch.look(Duration::ZERO);
    loop {
        ticks.tick().await;
        let now = watch.look(begun.elapsed());
        let line = line(&before, &now);
        if is_terminal {
            // Whoever does not read it misses nothing: the summary says it again.
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        } else {
            remark(&line);
        }
        before = now;
    }
}

fn line(before: &Progress, now: &Progress) -> String {
    let seconds = (now.elapsed - before.elapsed).as_secs_f64().max(0.001);
    let rate = |before: u64, now: u64| (now - before) as f64 / seconds;
    format!(
        "{:.0} s  {:.0} events/s  answered {:.0}/s  failed {}  p50 {:.1} ms  p99 {:.1} ms  behind {} events",
        now.elapsed.as_secs_f64(),
        rate(before.events_sent, now.events_sent),
        rate(before.answered, now.answered),
        now.failed,
        now.recent.p50,
        now.recent.p99,
        now.behind,
    )
}
