//! The program itself: the application inside of this process, and the real binary as a child.

use std::ffi::OsStr;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;
use streamgauge::app::App;
use streamgauge::config::Config;
use streamgauge::shutdown::Shutdown;
use streamgauge::telemetry::Role;
use tokio::task::JoinHandle;

use super::doors::{Doors, SOON};
use super::process::Process;
use super::{Settings, eventually, watchdog};

/// The application inside of this process, on ports of its own.
pub(crate) struct Running {
    doors: Doors,
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// All roles in one, like `streamgauge run`, ready to do their job.
    pub(crate) async fn start(settings: &Settings) -> Running {
        let running = Running::start_roles(settings, &Role::ALL).await;
        running.until_ready().await;
        running
    }

    /// These roles, as soon as they listen.
    pub(crate) async fn start_roles(settings: &Settings, roles: &[Role]) -> Running {
        let config = Config::parse(&settings.to_toml(), "test.toml", std::iter::empty()).expect("a configuration");
        let app = App::build(config, roles).await.expect("an application");
        let addresses = app.addresses();
        let text = |address: std::net::SocketAddr| address.to_string();
        let doors = Doors::new(addresses.ingest.map(text), addresses.query.map(text), Some(text(addresses.admin)));
        let shutdown = Shutdown::new();
        let task = tokio::spawn(app.run(shutdown.clone()));
        Running { doors, shutdown, task }
    }

    /// Drains it, and fails if anything went wrong since it was started.
    pub(crate) async fn stop(mut self) {
        self.shutdown.begin();
        let ended = tokio::time::timeout(SOON, &mut self.task).await.expect("the drain ends");
        ended.expect("no panic").expect("a clean end");
    }

    /// Waits until it ends by itself, and returns why.
    pub(crate) async fn failed(mut self) -> String {
        let ended = tokio::time::timeout(SOON, &mut self.task).await.expect("it ends by itself");
        format!("{:#}", ended.expect("no panic").expect_err("a reason"))
    }
}

impl Deref for Running {
    type Target = Doors;

    fn deref(&self) -> &Doors {
        &self.doors
    }
}

impl Drop for Running {
    /// A test that fails drains it too: its threads would keep the runtime, and with it the test, for ever.
    fn drop(&mut self) {
        self.shutdown.begin();
        if !self.task.is_finished() {
            let drained = tokio::time::timeout(SOON, &mut self.task);
            let drained = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(drained));
            drop(drained);
        }
    }
}

/// The real binary as a child process with a configuration file of its own. It dies with this value.
pub(crate) struct Binary {
    doors: Doors,
    process: Process,
    command: String,
    /// What starts the program, if it is not started directly.
    starter: Vec<String>,
}

impl Binary {
    /// `streamgauge COMMAND --config FILE`, alive, but not necessarily ready. The listeners get ports of their own.
    pub(crate) async fn start(command: &str, settings: &Settings) -> Binary {
        Binary::start_by(&[], command, settings).await
    }

    /// The same by another program that becomes this one: its path, and its arguments but for the last ones.
    pub(crate) async fn start_by(starter: &[String], command: &str, settings: &Settings) -> Binary {
        let binary = Binary::prepare(starter, command, settings);
        binary.restart().await;
        binary
    }

    /// The same, but not started yet.
    pub(crate) fn prepare(starter: &[String], command: &str, settings: &Settings) -> Binary {
        let settings = settings.clone().on_own_ports();
        let address = |listener: &str| settings.text_of(&format!("{listener}.listen")).to_owned();
        let role = |name: &str| ["run", name].contains(&command).then(|| address(name));
        let doors = Doors::new(role("ingest"), role("query"), Some(address("admin")));
        let process = Process::new("streamgauge");
        std::fs::write(process.dir().join("streamgauge.toml"), settings.to_toml()).expect("a configuration file");
        Binary { doors, process, command: command.to_owned(), starter: starter.to_owned() }
    }

    /// Starts it again with the same configuration, killing it before if it runs.
    pub(crate) async fn restart(&self) {
        self.spawn_with(&[]);
        self.until_alive().await;
    }

    /// The same with these variables in its environment, and without waiting for anything.
    pub(crate) fn spawn_with(&self, environment: &[(&str, &str)]) {
        let mut command = program_by(&self.starter, &self.process);
        command.arg(&self.command).arg("--config").arg(self.process.dir().join("streamgauge.toml"));
        command.envs(environment.iter().copied());
        self.process.spawn(command);
    }

    async fn until_alive(&self) {
        eventually(SOON, "/healthz answers 200", async || {
            self.process.assert_alive();
            let reply = self.doors.try_send(self.doors.http().get(self.doors.admin_url("/healthz"))).await;
            let reply = reply.map_err(|e| e.to_string())?;
            if reply.status == 200 { Ok(()) } else { Err(reply.text()) }
        })
        .await;
    }

    /// SIGTERM, without waiting for the end.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    /// SIGSTOP: it is there, and does nothing.
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Waits until it ends, and returns its exit code; fails if a signal ended it.
    pub(crate) async fn ended(&self, within: Duration) -> i32 {
        let status = self.process.ended(within).await;
        status.code().unwrap_or_else(|| panic!("{status}:\n{}", self.process.log_tail()))
    }

    /// Whether it was started and has not ended.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Waits until a signal ends it, and returns which; fails if it ends in another way.
    pub(crate) async fn died(&self, within: Duration) -> i32 {
        let status = self.process.ended(within).await;
        status.signal().unwrap_or_else(|| panic!("{status}:\n{}", self.process.log_tail()))
    }

    /// A counter or gauge without labels, as its metrics say now.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").await.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    /// The process, for the kernel's figures of it.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The most memory that it ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory_by("VmHWM:")
    }

    /// The memory that it has now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory_by("VmRSS:")
    }

    /// How many files it has open, connections among them.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.pid())).expect("its files").count()
    }

    fn memory_by(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }

    /// All that it wrote since it was last started.
    pub(crate) fn output(&self) -> String {
        self.process.output()
    }

    /// Fails with the end of its output if it no longer runs.
    pub(crate) fn assert_alive(&self) {
        self.process.assert_alive();
    }
}

impl Deref for Binary {
    type Target = Doors;

    fn deref(&self) -> &Doors {
        &self.doors
    }
}

/// What came of a command that ends by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code.
    pub(crate) code: i32,
    /// All that it wrote, standard output and standard error together.
    pub(crate) output: String,
}

/// Runs `streamgauge ARGUMENTS --config FILE` to its end, which must come soon.
pub(crate) async fn finish(arguments: &[&str], settings: &Settings) -> Finished {
    finish_text(arguments, &settings.to_toml()).await
}

/// The same with a configuration that need not be one.
pub(crate) async fn finish_text(arguments: &[&str], toml: &str) -> Finished {
    begin(arguments, toml, &[]).finished().await
}

/// A command that ends by itself, under way. It dies with this value.
pub(crate) struct Begun(Process);

/// Starts `streamgauge ARGUMENTS --config FILE` with these variables in its environment.
pub(crate) fn begin(arguments: &[&str], toml: &str, environment: &[(&str, &str)]) -> Begun {
    let process = Process::new("command");
    let file = process.dir().join("streamgauge.toml");
    std::fs::write(&file, toml).expect("a configuration file");
    let mut command = program(&process);
    command.args(arguments).arg("--config").arg(&file).envs(environment.iter().copied());
    process.spawn(command);
    Begun(process)
}

/// Starts `streamgauge ARGUMENTS`, without a configuration.
pub(crate) fn command(arguments: &[String]) -> Begun {
    let process = Process::new("command");
    let mut command = program(&process);
    command.args(arguments);
    process.spawn(command);
    Begun(process)
}

impl Begun {
    /// All that it wrote so far.
    pub(crate) fn output(&self) -> String {
        self.0.output()
    }

    /// SIGINT, like Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.0.signal(Signal::SIGINT);
    }

    /// Waits for its end, which must come soon.
    pub(crate) async fn finished(self) -> Finished {
        let status = self.0.ended(SOON).await;
        let code = status.code().unwrap_or_else(|| panic!("{status}:\n{}", self.0.log_tail()));
        Finished { code, output: self.0.output() }
    }

    /// Waits until a signal ends it, and returns which; fails if it ends in another way.
    pub(crate) async fn died(self) -> i32 {
        let status = self.0.ended(SOON).await;
        status.signal().unwrap_or_else(|| panic!("{status}:\n{}", self.0.log_tail()))
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&self) {
        self.0.kill();
    }
}

/// `streamgauge demo`, on ports of its own.
pub(crate) struct Demo(Process);

impl Demo {
    /// Starts it with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Demo {
        let process = Process::new("demo");
        let mut command = program(&process);
        command.arg("demo").args(arguments);
        process.spawn(command);
        Demo(process)
    }

    /// Its folder for temporary files; what it leaves there goes with it.
    pub(crate) fn dir(&self) -> &Path {
        self.0.dir()
    }

    /// All that it wrote so far.
    pub(crate) fn output(&self) -> String {
        self.0.assert_alive();
        self.0.output()
    }

    /// SIGINT, like Ctrl-C, and the exit code.
    pub(crate) async fn interrupt(&self) -> i32 {
        self.0.signal(Signal::SIGINT);
        self.0.ended(SOON).await.code().expect("an exit code")
    }
}

/// The binary, without anything of this process's environment, in a folder that goes with the process.
fn program(process: &Process) -> Command {
    program_by(&[], process)
}

fn program_by(starter: &[String], process: &Process) -> Command {
    // A link of its own: a build while the tests run puts another binary into the place of this one.
    static LINK: OnceLock<PathBuf> = OnceLock::new();
    let link = LINK.get_or_init(|| {
        let link = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("streamgauge-{}", std::process::id()));
        watchdog::remove_at_end(&link);
        std::fs::hard_link(env!("CARGO_BIN_EXE_streamgauge"), &link).expect("a link to the binary");
        link
    });
    let mut words = starter.iter().map(OsStr::new).chain([link.as_os_str()]);
    let mut command = Command::new(words.next().expect("at least the link"));
    command.args(words);
    command.env_clear().env("TMPDIR", process.dir()).current_dir(process.dir());
    command
}
