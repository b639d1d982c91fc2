//! Everything in one file: killed, and its disk full.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use tempfile::TempDir;

use crate::chaos::round::Round;
use crate::chaos::stage::{Log, Stage};
use crate::chaos::{Fault, Struck};
use crate::support::oracle::{Differences, Recount, records_of};
use crate::support::process::Process;
use crate::support::topic::Record;
use crate::support::{Settings, eventually};

const SOON: Duration = Duration::from_secs(12);
/// Of the small disk.
const DISK: &str = "size=24m";

pub(super) fn all<'f>() -> Vec<Box<dyn Fault + 'f>> {
    vec![Box::new(Killed), Box::new(DiskFull)]
}

/// A file in a folder of its own, maybe on a disk of its own.
struct InFile {
    dir: TempDir,
    disk: Option<Disk>,
}

/// A small disk in the memory of a process that keeps it there, seen by whoever enters that process's name space.
struct Disk {
    keeper: Process,
    enter: Vec<String>,
}

impl InFile {
    /// Where the folder is found from here.
    fn found(&self) -> PathBuf {
        let dir = self.dir.path();
        match &self.disk {
            None => dir.to_owned(),
            Some(disk) => Path::new(&format!("/proc/{}/root", disk.keeper.pid()))
                .join(dir.strip_prefix("/").expect("an absolute path")),
        }
    }

    fn filler(&self) -> PathBuf {
        self.found().join("filler")
    }
}

#[async_trait(?Send)]
impl Stage for InFile {
    fn settings(&self, _: &str) -> Settings {
        Settings::embedded(self.dir.path())
    }

    fn client(&self) -> Option<ClientConfig> {
        None
    }

    async fn log(&self, _: &Settings) -> Log {
        // SQLite wants the real path of a file, and there is none from here to another name space.
        let copy = folder();
        for name in ["streamgauge.db", "streamgauge.db-wal"] {
            std::fs::copy(self.found().join(name), copy.path().join(name)).expect("a copy");
        }
        let records = records_of(&copy.path().join("streamgauge.db"));
        let ends = records.last().map(|record| (0, record.offset + 1));
        (records, ends.into_iter().collect())
    }

    async fn letters(&self, _: &Settings) -> Vec<Record> {
        Vec::new()
    }

    async fn differences(&self, _: &Recount, _: &Settings) -> Option<Differences> {
        None
    }

    /// Room on the disk.
    async fn heal(&self) {
        // There may be no filler, which is as good.
        let _ = std::fs::remove_file(self.filler());
    }

    fn starter(&self) -> Vec<String> {
        self.disk.as_ref().map(|disk| disk.enter.clone()).unwrap_or_default()
    }

    fn folder(&self) -> Option<PathBuf> {
        Some(self.found())
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("file-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// SIGKILL at any moment.
struct Killed;

#[async_trait(?Send)]
impl Fault for Killed {
    fn name(&self) -> &'static str {
        "SIGKILL of everything in one file"
    }

    async fn stage(&self) -> Box<dyn Stage + '_> {
        Box::new(InFile { dir: folder(), disk: None })
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        let times = round.choices.between(1, 6);
        let run = round.ingest.clone();
        for _ in 0..times {
            round.moment(0, 800).await;
            round.kill(&run);
            round.restart(&run).await;
        }
        Struck { injected: times, hit: times }
    }
}

/// The disk is full for a while; sometimes the process is killed meanwhile.
struct DiskFull;

/// What makes a mount of one's own: root may, everybody else needs a user name space with it.
fn unshare() -> Vec<&'static str> {
    if nix::unistd::geteuid().is_root() {
        vec!["unshare", "--mount"]
    } else {
        vec!["unshare", "--mount", "--user", "--map-root-user"]
    }
}

fn program(name: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())?.to_str().map(str::to_owned)
}

impl Disk {
    async fn mount(on: &Path) -> Disk {
        let keeper = Process::new("disk");
        let words = unshare();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["sh", "-c"]);
        command.arg(format!("mount -t tmpfs -o {DISK} tmpfs \"$0\" && echo mounted && exec sleep infinity"));
        command.arg(on);
        keeper.spawn(command);
        eventually(SOON, "the disk is there", async || {
            keeper.assert_alive();
            let output = keeper.output();
            if output.contains("mounted") { Ok(()) } else { Err(output) }
        })
        .await;
        let mut enter =
            vec![program("nsenter").expect("nsenter"), format!("--target={}", keeper.pid()), "--mount".into()];
        if words.contains(&"--user") {
            enter.extend(["--user".into(), "--preserve-credentials".into()]);
        }
        Disk { keeper, enter }
    }
}

#[async_trait(?Send)]
impl Fault for DiskFull {
    fn name(&self) -> &'static str {
        "disk full under everything in one file"
    }

    fn unavailable(&self) -> Option<String> {
        let words = unshare();
        let works = Command::new(words[0]).args(&words[1..]).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        let works = works.is_ok_and(|output| output.status.success()) && program("nsenter").is_some();
        (!works).then(|| "this machine lets nobody mount a small disk".to_owned())
    }

    async fn stage(&self) -> Box<dyn Stage + '_> {
        let dir = folder();
        let disk = Disk::mount(dir.path()).await;
        Box::new(InFile { dir, disk: Some(disk) })
    }

    async fn strike(&self, round: &mut Round<'_>) -> Struck {
        round.moment(0, 1_000).await;
        let filler = round.folder().join("filler");
        let before = round.load.answered(503);
        fill(&filler);
        eventually(
            SOON,
            "an answer is 503",
            async || {
                if round.load.answered(503) > before { Ok(()) } else { Err("none is") }
            },
        )
        .await;
        if round.choices.once_in(3) {
            let run = round.ingest.clone();
            round.kill(&run);
        }
        round.moment(0, 1_500).await;
        std::fs::remove_file(&filler).expect("room");
        Struck { injected: 1, hit: 1 }
    }
}

/// Leaves no room.
fn fill(file: &Path) {
    let mut file = File::create(file).expect("a file");
    for size in [1 << 20, 4 << 10, 1] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
}
