//! Runs of `streamgauge process`, from its first record until everything is in Redis.

use super::{Figures, figures_of};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The process of the Redis that the benchmark was given.
pub(crate) fn redis_process(redis: &str) -> u32 {
    let mut connection = redis::Client::open(redis).unwrap().get_connection().unwrap();
    let about: String = redis::cmd("INFO").arg("server").query(&mut connection).unwrap();
    about.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().parse().unwrap()
}

/// A counter of pages in three windows, as configuration.
pub(crate) fn counter(name: &str, max_keys: u64) -> String {
    format!(
        r#"
        [[counters]]
        name = "{name}"
        event = "page_view"
        by = ["payload.path"]
        max_keys = {max_keys}
        windows = [{{ size = "10s", keep = "1d" }}, {{ size = "1m", keep = "1d" }}, {{ size = "1h", keep = "30d" }}]
        "#
    )
}

/// One run: what it reads, and how it counts.
pub(crate) struct Process<'a> {
    pub(crate) brokers: &'a str,
    pub(crate) redis: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partitions: i32,
    /// For its keys in Redis, and its consumer group.
    pub(crate) prefix: &'a str,
    pub(crate) horizon: u64,
    pub(crate) counters: String,
}

impl Process<'_> {
    pub(crate) fn run(&self, events: u64) -> Figures {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bench.toml");
        std::fs::write(&config, self.config()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_streamgauge"))
            .args(["process", "--config"])
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        lines.find(|line| line.as_ref().unwrap().contains("partition starts")).expect("a partition starts").unwrap();
        let begun = Instant::now();
        // Somebody has to read on, or the process would block on a full pipe.
        let rest = std::thread::spawn(move || lines.for_each(drop));
        let mut connection = redis::Client::open(self.redis).unwrap().get_connection().unwrap();
        while self.counted(&mut connection) < events {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let figures = figures_of(&child, begun.elapsed().as_secs_f64());
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(child.wait().unwrap().success());
        rest.join().unwrap();
        figures
    }

    fn config(&self) -> String {
        let Process { brokers, redis, topic, prefix, horizon, counters, .. } = self;
        format!(
            r#"
            [log.kafka]
            brokers = "{brokers}"
            topic = "{topic}"
            group = "{prefix}"
            [pipeline]
            workers = 1
            dedupe_horizon = {horizon}
            # What the clock waits for at the end.
            flush_interval = "500ms"
            [store.redis]
            url = "{redis}"
            prefix = "{prefix}"
            [admin]
            listen = "127.0.0.1:0"
            {counters}
            "#
        )
    }

    fn counted(&self, connection: &mut redis::Connection) -> u64 {
        let mut all = redis::pipe();
        for partition in 0..self.partitions {
            let Process { prefix, topic, .. } = self;
            all.cmd("HGET").arg(format!("{prefix}:{{0}}:partition:{topic}:{partition}")).arg("consumed");
        }
        let counted: Vec<Option<u64>> = all.query(connection).unwrap();
        counted.into_iter().flatten().sum()
    }
}
