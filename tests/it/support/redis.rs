//! A real redis-server.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::process::Process;
use super::{eventually, free_ports};

const START_DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Redis {
    process: Process,
    port: u16,
    options: Vec<String>,
}

impl Redis {
    /// A new, empty server as the documentation recommends one: append-only file, synced each second,
    /// nothing evicted.
    pub(crate) async fn start() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"])
            .await
    }

    /// A new, empty server with these options; by itself it keeps nothing over a restart.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        let [port] = free_ports();
        let options = options.iter().copied().map(String::from).collect();
        let redis = Self { process: Process::new("redis"), port, options };
        redis.restart().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are, for tests that take it back in time.
    pub(crate) fn dir(&self) -> &Path {
        self.process.dir()
    }

    /// Whether its process was started and not ended by us.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// A connection of the test's own: one made in another test's runtime dies with that test.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        self.connect().await.expect("a connection")
    }

    /// SIGKILL. What was answered has been written to the append-only file, if it has one.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// SIGSTOP: connections stay, answers do not come.
    pub(crate) fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Starts it again on the same data and port, killing it before if it runs.
    pub(crate) async fn restart(&self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", ""]);
        command.arg("--port").arg(self.port.to_string());
        command.arg("--dir").arg(self.process.dir());
        command.args(&self.options);
        self.process.spawn(command);
        eventually(START_DEADLINE, "redis-server answers", async || {
            self.process.assert_alive();
            let mut connection = self.connect().await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await
        })
        .await;
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(5)));
        redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await
    }
}
