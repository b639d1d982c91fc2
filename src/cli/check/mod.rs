//! `check`: looks at everything that `run` would need, and says line by line what is right, wrong or doubtful.
//! It changes nothing, and no step can keep it waiting.

mod kafka;
mod spool;
mod store;
mod topic;

use super::ConfigFile;
use crate::config::{Config, ConfigError};
use crate::ingest;
use crate::log;
use crate::query::SHORT_TOKEN;
use std::fmt::Display;
use std::future::Future;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

/// How long one step may take. The clients inside give up a little earlier, with a better reason.
const STEP: Duration = Duration::from_secs(15);

/// The lines so far: each is printed as it is known.
#[derive(Debug, Default)]
struct Findings {
    wrong: usize,
    doubtful: usize,
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
impl Findings {
    fn right(&mut self, what: impl Display) {
        println!("✓ {what}");
    }

    fn wrong(&mut self, what: impl Display) {
        self.wrong += 1;
        println!("✗ {what}");
    }

    fn doubtful(&mut self, what: impl Display) {
        self.doubtful += 1;
        println!("! {what}");
    }

    fn conclude(&self) -> ExitCode {
        match (self.wrong, self.doubtful) {
            (0, 0) => println!("\nall is well"),
            (0, doubtful) => println!("\nit will work; {doubtful} to think about"),
            (wrong, _) => println!("\n{wrong} to put right"),
        }
        if self.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

pub(super) async fn check(file: &ConfigFile) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::default();
    let Some(config) = configuration(file, &mut findings) else { return Ok(findings.conclude()) };
    addresses(&config, &mut findings);
    visitors(&config, &mut findings);
    match config.log.kind {
        log::Kind::Kafka => kafka::check(&config, &mut findings).await,
        log::Kind::Embedded => findings.right(format!("log: embedded, in {}", config.embedded.path.display())),
    }
    store::check(&config, &mut findings).await;
    config.ingest.spool.path.iter().for_each(|path| spool::check(path, &mut findings));
    Ok(findings.conclude())
}

fn configuration(file: &ConfigFile, findings: &mut Findings) -> Option<Config> {
    let named = file.config.as_ref().map_or("the built-in defaults".into(), |path| path.display().to_string());
    match Config::load(file.config.as_deref(), super::environment()) {
        Ok(config) => {
            let counters: Vec<&str> = config.counters.iter().map(|counter| counter.name.as_str()).collect();
            findings.right(format!("configuration: {named}"));
            findings.right(format!("counters: {}", counters.join(", ")));
            Some(config)
        }
        Err(ConfigError::Wrong(problems)) => {
            problems.iter().for_each(|problem| findings.wrong(problem));
            None
        }
        Err(error) => {
            findings.wrong(error);
            None
        }
    }
}

fn addresses(config: &Config, findings: &mut Findings) {
    let listeners = [
        ("ingest.listen", config.ingest.listen),
        ("query.listen", config.query.listen),
        ("admin.listen", config.admin.listen),
    ];
    for (key, address) in listeners {
        address_free(key, address, findings);
    }
    if let Err(error) = ingest::check_keys(&config.sites) {
        findings.wrong(error);
    }
    match config.query.has_short_token() {
        Err(error) => findings.wrong(error),
        Ok(true) => findings.doubtful(SHORT_TOKEN),
        Ok(false) => {}
    }
}

/// What is done with visitors' data, and by which site otherwise.
fn visitors(config: &Config, findings: &mut Findings) {
    let usual = config.ingest.enrich;
    findings.right(format!("visitors: {usual}"));
    for site in &config.sites {
        let wanted = usual.with(&site.enrich);
        if wanted != usual {
            findings.right(format!("visitors of site {}: {wanted}", site.name));
        }
    }
}

fn address_free(key: &str, address: SocketAddr, findings: &mut Findings) {
    match TcpListener::bind(address) {
        Ok(_) => findings.right(format!("{key}: {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            findings.doubtful(format!("{key}: {address} is in use, which is fine if that is a streamgauge to replace"));
        }
        Err(error) => findings.wrong(format!("{key}: cannot listen on {address}: {error}")),
    }
}

/// Waits for a step, but not for long.
async fn within<T>(step: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    match tokio::time::timeout(STEP, step).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("no answer within {} s", STEP.as_secs())),
    }
}

/// The same for calls that block. One that never returns is left behind; it does not keep the process.
async fn blocking<T: Send + 'static>(step: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    within(async { tokio::task::spawn_blocking(step).await? }).await
}
