//! As many connections as may be, and nothing to do on any of them.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::{StreamExt, TryStreamExt, stream};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::case::{event, request};
use super::driver::ask;
use crate::support::app::Binary;
use crate::support::doors::SOON;
use crate::support::{self, Settings, eventually, unique};

/// `ingest.max_connections`, as documented.
const MOST: usize = 10_000;
const MOST_MEMORY: u64 = 150 << 20;
/// Files that this process and the other one need beside the connections.
const SPARE_FILES: u64 = 1_000;
/// From one address there are only some 28,000 ports, and other tests want some.
const FROM_ONE_ADDRESS: usize = 2_500;
/// Starts a program with the limit of open files that many systems begin with.
const LOW_LIMIT: [&str; 3] = ["/bin/sh", "-c", "ulimit -Sn 1024 && exec \"$0\" \"$@\""];
const REFUSED: &str = "streamgauge_connections_refused_total{listener=\"ingest\"}";

/// Lets this process, and those that it starts, have enough files open.
fn raise_limit_of_files() {
    let needed = MOST as u64 + SPARE_FILES;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    assert!(hard >= needed, "this test needs {needed} open files, and `ulimit -Hn` is {hard}: raise it");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(needed), hard).expect("a limit below the hard one");
}

/// A connection that is idle in one of the ways that there are.
async fn idle(at: usize, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let from = Ipv4Addr::new(127, 0, 0, 2 + (at / FROM_ONE_ADDRESS) as u8);
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(to).await?;
    match at % 3 {
        0 => {}
        1 => stream.write_all(b"POST /events HTTP/1.1\r\nhost: x\r\n").await?,
        _ => post(&mut stream, &format!("idle-{at}")).await?,
    }
    Ok(stream)
}

/// How many connections to this port have been accepted: the kernel gives them an inode then. A client may believe that it is
/// connected before that, and others overtake it.
fn accepted(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let port = format!(":{port:04X}");
    let is_accepted = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&port) && fields[3] == "01" && fields[9] != "0"
    };
    table.lines().skip(1).filter(is_accepted).count()
}

/// Posts an event on this very connection; a client with a pool may open one more at any time.
async fn post(stream: &mut TcpStream, id: &str) -> std::io::Result<()> {
    let status = ask(stream, &request("", event(id))).await?;
    assert_eq!(status, 202);
    Ok(())
}

/// Fails unless the other end closes, and says nothing.
async fn assert_closed(mut stream: TcpStream) {
    let mut answer = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed");
    assert!(answer.is_empty(), "{read:?} {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_take_little_and_keep_nobody_out_who_is_in() {
    raise_limit_of_files();
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let settings = Settings::kafka(kafka, redis, &unique("idle"), &unique("idle")).with("ingest.header_timeout", "1h");
    let ingest = Binary::start_by(&LOW_LIMIT.map(str::to_owned), "ingest", &settings).await;
    ingest.until_ready().await;
    let before = ingest.memory();
    let address: SocketAddr = ingest.ingest_url("").replace("http://", "").parse().unwrap();

    // The client that means well has one of them.
    let mut client = TcpStream::connect(address).await.unwrap();
    post(&mut client, "first").await.unwrap();
    let open = stream::iter(0..MOST - 1).map(|at| idle(at, address)).buffer_unordered(200);
    let mut idle: Vec<TcpStream> = open.try_collect().await.expect("a connection");
    eventually(SOON, "all connections are accepted", async || {
        let accepted = accepted(address.port());
        if accepted == MOST { Ok(()) } else { Err(format!("{accepted} are")) }
    })
    .await;
    let memory = ingest.memory();
    println!("{MOST} idle connections: {} MiB before, {} MiB with them", before >> 20, memory >> 20);
    assert!(memory < MOST_MEMORY, "{} MiB", memory >> 20);

    for at in 0..100 {
        post(&mut client, &format!("among-{at}")).await.unwrap();
    }
    assert_eq!(ingest.metric(REFUSED).await, 0.0);
    assert_closed(TcpStream::connect(address).await.unwrap()).await;
    assert_eq!(ingest.metric(REFUSED).await, 1.0);
    post(&mut client, "last").await.unwrap();

    // One goes, and one may come.
    drop(idle.swap_remove(0));
    eventually(SOON, "somebody else is let in", async || {
        let mut stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        post(&mut stream, "next").await.map_err(|e| e.to_string())
    })
    .await;
    assert!(ingest.memory() < MOST_MEMORY, "{} MiB", ingest.memory() >> 20);
    ingest.assert_alive();
}
