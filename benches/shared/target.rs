//! The servers that are loaded, as processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program, built like the benchmark itself.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_streamgauge");
const START: Duration = Duration::from_secs(30);

/// A server; it ends when this is dropped.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    /// From its start until it was ready.
    pub(crate) ready_after: Duration,
    child: Child,
    _folder: Option<tempfile::TempDir>,
}

impl Target {
    /// This program in another mode, which prints its address.
    pub(crate) fn reference(args: &[&str]) -> Target {
        let begun = Instant::now();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let name = args[0].trim_start_matches('-').to_owned();
        Target { name, addr: line.trim().parse().unwrap(), ready_after: begun.elapsed(), child, _folder: None }
    }

    /// `streamgauge ingest` with its default configuration, of this build or of another one.
    pub(crate) fn ingest(binary: &str, brokers: &str, topic: &str) -> Target {
        let settings = format!("[log.kafka]\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\n");
        Target::streamgauge(binary, "ingest", &settings, tempfile::tempdir().unwrap()).0
    }

    /// This binary in this role, ready, and where its query side listens. The settings are kept in the folder.
    pub(crate) fn streamgauge(
        binary: &str,
        role: &str,
        settings: &str,
        folder: tempfile::TempDir,
    ) -> (Target, SocketAddr) {
        let [addr, admin, query] = [(); 3].map(|()| free());
        let config = folder.path().join("bench.toml");
        let listen = [("ingest", addr), ("admin", admin), ("query", query)]
            .map(|(section, addr)| format!("[{section}]\nlisten = \"{addr}\"\n"));
        std::fs::write(&config, listen.concat() + settings).unwrap();
        let mut command = Command::new(binary);
        let begun = Instant::now();
        let child = command.arg(role).arg("--config").arg(&config).env("STREAMGAUGE_LOG", "warn").spawn().unwrap();
        while !ask(admin, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            assert!(begun.elapsed() < START, "it does not get ready");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let (name, ready_after) = (format!("streamgauge {role}"), begun.elapsed());
        (Target { name, addr, ready_after, child, _folder: Some(folder) }, query)
    }

    /// The same under another name.
    pub(crate) fn named(mut self, name: &str) -> Target {
        name.clone_into(&mut self.name);
        self
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole answer to a GET; nothing while nobody listens.
pub(crate) fn ask(addr: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(addr).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
