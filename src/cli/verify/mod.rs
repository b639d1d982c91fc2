//! `verify`: counts the topic below the stored offsets again, by code apart from the pipeline's, and compares.

mod compare;
mod json;
mod measure;
mod recount;
mod rules;
mod run;
mod source;
#[cfg(test)]
mod tests;

use super::{ConfigFile, now_s};
use clap::Args;
use run::{Report, verify};
use std::process::ExitCode;

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    file: ConfigFile,
    /// Compare only this counter.
    #[arg(long, value_name = "NAME")]
    counter: Option<String>,
    /// Compare only buckets that start at or after this: unix seconds, RFC 3339, or like "-15m".
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    from: Option<i64>,
}

impl Verify {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.file.load()?;
        let report = verify(&config, self.counter, self.from).await?;
        print(&report);
        Ok(if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn time(text: &str) -> Result<i64, String> {
    let back = text.strip_prefix('-').and_then(|back| humantime::parse_duration(back).ok());
    let back = back.and_then(|back| i64::try_from(back.as_secs()).ok());
    let told = back.map(|back| now_s() - back).or_else(|| text.parse().ok());
    let told = told.or_else(|| rules::rfc3339_ms(text).map(|ms| ms.div_euclid(1_000)));
    told.ok_or_else(|| "write unix seconds, RFC 3339 like 2026-01-31T12:00:00Z, or how long ago like -15m".to_owned())
}

/// Differences that are printed one by one.
const SHOWN: usize = 20;

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
fn print(report: &Report) {
    for line in &report.notes {
        println!("{line}");
    }
    println!("records read      {}", report.records);
    println!("buckets compared  {}", report.buckets);
    println!("cells compared    {}", report.cells);
    println!("differences       {}", report.differences.len());
    for difference in report.differences.iter().take(SHOWN) {
        println!("  {difference}");
    }
    if report.differences.len() > SHOWN {
        println!("  … and {} more", report.differences.len() - SHOWN);
    }
}
