//! A Redis Cluster of this test process: three masters, and nobody comes to harm.

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, Cmd, FromRedisValue, cmd};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
const DEADLINE: Duration = Duration::from_secs(60);

/// The masters' ports.
pub(in crate::store) struct Cluster {
    pub(in crate::store) ports: Vec<u16>,
    /// The guard beside the servers waits for the end of this: it comes however this process ends.
    _stdin: ChildStdin,
}

/// The cluster of this test process; made by whoever asks first.
pub(in crate::store) async fn shared() -> &'static Cluster {
    static SHARED: OnceCell<Cluster> = OnceCell::const_new();
    SHARED.get_or_init(start).await
}

impl Cluster {
    /// A connection to each master, of the caller's own runtime.
    pub(in crate::store) async fn nodes(&self) -> Vec<MultiplexedConnection> {
        let mut nodes = Vec::new();
        for port in &self.ports {
            let client = Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
            nodes.push(client.get_multiplexed_async_connection().await.unwrap());
        }
        nodes
    }
}

async fn start() -> Cluster {
    let all = free_ports(2 * MASTERS);
    let (ports, buses) = all.split_at(MASTERS);
    let cluster = Cluster { ports: ports.to_vec(), _stdin: serve(ports, buses) };
    let mut nodes = cluster.nodes().await;
    for (number, node) in nodes.iter_mut().enumerate() {
        let (first, end) = (number * SLOTS / MASTERS, (number + 1) * SLOTS / MASTERS);
        run::<()>(node, cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(first).arg(end - 1)).await;
        run::<()>(node, cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(number + 1)).await;
    }
    for (port, bus) in ports.iter().zip(buses).skip(1) {
        run::<()>(&mut nodes[0], cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(port).arg(bus)).await;
    }
    let began = Instant::now();
    for node in &mut nodes {
        loop {
            let info: String = run(node, cmd("CLUSTER").arg("INFO")).await;
            if ["cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:3"].iter().all(|s| info.contains(s))
            {
                break;
            }
            assert!(began.elapsed() < DEADLINE, "{info}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    cluster
}

/// Below the range of outgoing connections, so that none of them takes a port before the server does.
fn free_ports(count: usize) -> Vec<u16> {
    let start = 30_500 + u16::try_from(std::process::id() % 1_500).unwrap();
    (start..).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(count).collect()
}

#[expect(clippy::zombie_processes, reason = "the guard outlives this process: that is its purpose")]
fn serve(ports: &[u16], buses: &[u16]) -> ChildStdin {
    let script = r#"for pair in "$@"; do
            mkdir "${pair%:*}"
            (cd "${pair%:*}" && exec redis-server --bind 127.0.0.1 --port "${pair%:*}" --cluster-port "${pair#*:}" \
                --cluster-enabled yes --save '' --appendonly no) &
            pids="$pids $!"
        done
        cat; kill -9 $pids; rm -rf "$PWD""#;
    let folder = tempfile::Builder::new().prefix("streamgauge-cluster-").tempdir().unwrap();
    let mut guard = Command::new("sh");
    guard.args(["-c", script, "sh"]).args(ports.iter().zip(buses).map(|(port, bus)| format!("{port}:{bus}")));
    let mut guard = guard.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // The guard removes it.
    let _ = folder.keep();
    let mut lines = BufReader::new(guard.stdout.take().unwrap()).lines();
    let mut written = Vec::new();
    while written.iter().filter(|line: &&String| line.contains("eady to accept connections")).count() < MASTERS {
        written.push(lines.next().unwrap_or_else(|| panic!("{written:#?}")).unwrap());
    }
    // Whatever they say later is read, so that they never wait for us.
    std::thread::spawn(move || lines.for_each(drop));
    guard.stdin.take().unwrap()
}

async fn run<T: FromRedisValue>(node: &mut MultiplexedConnection, command: &Cmd) -> T {
    command.query_async(node).await.unwrap()
}
