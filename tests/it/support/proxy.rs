//! A TCP proxy that loses replies, delays, goes half-open and cuts, on command, and counts what really hit.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CHUNK: usize = 64 << 10;
/// After the first byte of a reply that is to be lost, how long the rest of it may take to arrive.
const REST_OF_REPLY: Duration = Duration::from_millis(50);

/// What the proxy speaks: how it knows a request when it sees one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Redis,
    Kafka,
}

/// Which requests a fault is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A script by its hash: a flush. Redis only.
    Script,
    /// Kafka's request of this number: 0 produce, 1 fetch, 8 commit, 11 join, 12 heartbeat, 14 sync.
    Api(i16),
    Any,
}

/// What happens to bytes that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Both ways, each piece this long. A request is passed on even if its sender has gone meanwhile.
    Delay(Duration),
    /// They vanish; the connection stays, and stays dead when the mode is over.
    Swallow,
}

/// How often each fault really hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hits {
    /// Replies that were read and not passed on.
    pub(crate) lost: u64,
    /// Pieces that were delayed.
    pub(crate) delayed: u64,
    /// Connections that lost bytes while half-open.
    pub(crate) swallowed: u64,
    /// Connections that were cut.
    pub(crate) cut: u64,
}

/// Listens on a port of its own and passes everything on to another one, until told otherwise. It ends when dropped.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    target: u16,
    protocol: Protocol,
    mode: Mutex<Mode>,
    /// Replies to be lost: to which requests, and how many yet.
    lose: Mutex<Option<(Request, u64)>>,
    /// A new value cuts every connection.
    cut: watch::Sender<u64>,
    /// A new value cuts every connection that lost bytes.
    reset: watch::Sender<u64>,
    lost: AtomicU64,
    delayed: AtomicU64,
    swallowed: AtomicU64,
    cuts: AtomicU64,
}

/// One connection.
#[derive(Default)]
struct Link {
    /// A request was passed on whose reply is to be lost.
    doomed: AtomicBool,
    /// Bytes of it vanished: nothing that came after them would make sense.
    dead: AtomicBool,
}

impl Proxy {
    /// From `port` to `target`, both of 127.0.0.1.
    pub(crate) async fn start(protocol: Protocol, port: u16, target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let shared = Arc::new(Shared {
            target,
            protocol,
            mode: Mutex::new(Mode::Pass),
            lose: Mutex::new(None),
            cut: watch::Sender::new(0),
            reset: watch::Sender::new(0),
            lost: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
            swallowed: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
        });
        let accepting = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(client));
            }
        });
        Proxy { port, shared, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The next `count` such requests are passed on, their replies read and thrown away, and the connections cut.
    pub(crate) fn lose_replies(&self, request: Request, count: u64) {
        *lock(&self.shared.lose) = Some((request, count));
    }

    /// Whether a reply is still to be lost.
    pub(crate) fn is_losing(&self) -> bool {
        lock(&self.shared.lose).is_some()
    }

    /// Delays every piece.
    pub(crate) fn delay(&self, by: Duration) {
        *lock(&self.shared.mode) = Mode::Delay(by);
    }

    /// Bytes vanish, connections stay, new ones are accepted.
    pub(crate) fn half_open(&self) {
        *lock(&self.shared.mode) = Mode::Swallow;
    }

    /// Cuts every connection; new ones are passed on as before.
    pub(crate) fn cut_all(&self) {
        self.shared.cut.send_modify(|n| *n += 1);
    }

    /// Passes everything on again. Connections that lost bytes stay dead until their ends give them up.
    pub(crate) fn normal(&self) {
        *lock(&self.shared.lose) = None;
        *lock(&self.shared.mode) = Mode::Pass;
    }

    /// Cuts the connections that lost bytes, as a router does that remembers them no more.
    pub(crate) fn reset_dead(&self) {
        self.shared.reset.send_modify(|n| *n += 1);
    }

    /// How often each fault really hit since the start.
    pub(crate) fn hits(&self) -> Hits {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { lost, delayed, swallowed, cuts, .. } = &*self.shared;
        Hits { lost: of(lost), delayed: of(delayed), swallowed: of(swallowed), cut: of(cuts) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut_all();
    }
}

impl Shared {
    async fn serve(self: Arc<Shared>, client: TcpStream) {
        let (mut cut, mut reset) = (self.cut.subscribe(), self.reset.subscribe());
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)).await else { return };
        // What is only a few bytes must not wait for more.
        if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
            return;
        }
        let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
        let link = Link::default();
        let pumps = async {
            tokio::join!(self.requests(client_in, server_out, &link), self.replies(server_in, client_out, &link))
        };
        tokio::pin!(pumps);
        loop {
            tokio::select! {
                (_, replies) = &mut pumps => {
                    if replies.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionAborted) {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                    }
                    return;
                }
                _ = cut.changed() => {
                    self.cuts.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Ok(()) = reset.changed() => {
                    if link.dead.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        }
    }

    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, link: &Link) -> io::Result<()> {
        let (mut buffer, mut frames) = (vec![0; CHUNK], Frames::default());
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return to.shutdown().await;
            }
            if self.held_up(link).await {
                continue;
            }
            let bytes = &buffer[..read];
            let apis = if self.protocol == Protocol::Kafka { frames.apis(bytes) } else { Vec::new() };
            if self.is_to_be_lost(bytes, &apis) {
                link.doomed.store(true, Ordering::Relaxed);
            }
            to.write_all(bytes).await?;
        }
    }

    /// Goes on reading when the client has gone: what it asked for is still being done.
    async fn replies(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, link: &Link) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return to.shutdown().await;
            }
            if link.doomed.load(Ordering::Relaxed) {
                let rest = async { while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
                let _ = tokio::time::timeout(REST_OF_REPLY, rest).await;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if !self.held_up(link).await {
                let _ = to.write_all(&buffer[..read]).await;
            }
        }
    }

    /// Waits if there is a delay; `true` when the bytes are to vanish.
    async fn held_up(&self, link: &Link) -> bool {
        let mode = *lock(&self.mode);
        if mode == Mode::Swallow && !link.dead.swap(true, Ordering::Relaxed) {
            self.swallowed.fetch_add(1, Ordering::Relaxed);
        }
        if let Mode::Delay(by) = mode {
            self.delayed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(by).await;
        }
        link.dead.load(Ordering::Relaxed)
    }

    fn is_to_be_lost(&self, bytes: &[u8], apis: &[i16]) -> bool {
        let mut lose = lock(&self.lose);
        let Some((request, left)) = lose.as_mut() else { return false };
        let meant = match request {
            Request::Script => bytes.windows(7).any(|word| word == b"EVALSHA"),
            Request::Api(api) => apis.contains(api),
            Request::Any => true,
        };
        if meant {
            *left -= 1;
            if *left == 0 {
                *lose = None;
            }
        }
        meant
    }
}

/// Finds Kafka's requests in a stream: each is four bytes of length, then two that say which request it is.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    /// Bytes of the current request that are yet to come.
    left: usize,
}

impl Frames {
    /// The numbers of the requests that begin in these bytes.
    fn apis(&mut self, mut bytes: &[u8]) -> Vec<i16> {
        let mut apis = Vec::new();
        while !bytes.is_empty() {
            let skip = self.left.min(bytes.len());
            self.left -= skip;
            bytes = &bytes[skip..];
            let wanted = (6 - self.head.len()).min(bytes.len());
            if self.left == 0 {
                self.head.extend_from_slice(&bytes[..wanted]);
                bytes = &bytes[wanted..];
            }
            if let [a, b, c, d, e, f] = self.head[..] {
                apis.push(i16::from_be_bytes([e, f]));
                self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(2);
                self.head.clear();
            }
        }
        apis
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_in_pieces_of_any_size() {
        let mut stream = Vec::new();
        for (api, body) in [(0_i16, 5_usize), (1, 0), (12, 100), (0, 1)] {
            stream.extend_from_slice(&u32::try_from(body + 2).unwrap().to_be_bytes());
            stream.extend_from_slice(&api.to_be_bytes());
            stream.extend(std::iter::repeat_n(7, body));
        }
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let found: Vec<i16> = stream.chunks(size).flat_map(|piece| frames.apis(piece)).collect();
            assert_eq!(found, [0, 1, 12, 0], "in pieces of {size}");
        }
    }

    /// Answers each piece with the number of bytes it has had so far.
    async fn counting_server() -> (u16, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut had = 0_u64;
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut piece = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut piece).await {
                    had += read as u64;
                    stream.write_all(&had.to_be_bytes()).await.unwrap();
                }
            }
        });
        (port, task)
    }

    async fn ask(stream: &mut TcpStream, text: &[u8]) -> io::Result<u64> {
        stream.write_all(text).await?;
        let mut answer = [0; 8];
        let read = tokio::time::timeout(Duration::from_millis(300), stream.read_exact(&mut answer));
        read.await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(u64::from_be_bytes(answer))
    }

    #[tokio::test]
    async fn each_fault_hits_is_counted_and_ends() {
        let (target, _task) = counting_server().await;
        let [port] = crate::support::free_ports();
        let proxy = Proxy::start(Protocol::Redis, port, target).await;
        let connect = || TcpStream::connect(("127.0.0.1", port));

        let mut stream = connect().await.unwrap();
        proxy.lose_replies(Request::Script, 1);
        assert_eq!(ask(&mut stream, b"PING").await.unwrap(), 4);
        assert!(proxy.is_losing());
        assert!(ask(&mut stream, b"EVALSHA!").await.is_err());
        drop(stream);
        // The request was applied although its reply was lost.
        let mut stream = connect().await.unwrap();
        assert_eq!(ask(&mut stream, b"PING").await.unwrap(), 16);
        assert!(!proxy.is_losing());

        proxy.half_open();
        assert_eq!(ask(&mut stream, b"PING").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        proxy.normal();
        assert_eq!(ask(&mut stream, b"PING").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        proxy.reset_dead();
        assert_ne!(ask(&mut stream, b"PING").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(stream);

        let mut stream = connect().await.unwrap();
        proxy.delay(Duration::from_millis(40));
        assert_eq!(ask(&mut stream, b"PING").await.unwrap(), 20);
        proxy.cut_all();
        assert!(ask(&mut stream, b"PING").await.is_err());
        assert_eq!(proxy.hits(), Hits { lost: 1, delayed: 2, swallowed: 1, cut: 1 });
    }
}
