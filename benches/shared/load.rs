//! A load that costs little itself: requests are made beforehand, only the ids of their events change, and of an answer
//! only its end is looked for.

use super::event;
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};
use streamgauge::clock::now_ms;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Requests that are made beforehand, all with the same number of events.
const REQUESTS: usize = 256;
/// What an id begins with, and the digits that follow.
const ID: &[u8] = b"bench-";
const ID_DIGITS: usize = 26;

/// A request, and where the ids of its events stand.
struct Request {
    bytes: Vec<u8>,
    ids: Vec<usize>,
}

/// Requests to be sent again and again, each time with ids of their own.
pub(crate) struct Requests {
    all: Vec<Request>,
    per_request: usize,
    sent: u64,
}

impl Requests {
    /// So many events in each: one as an object, more as an array.
    pub(crate) fn of(per_request: usize) -> Requests {
        let all = (0..REQUESTS).map(|place| Request::of(place * per_request, per_request)).collect();
        // Other ids in each run, and room for their digits.
        let sent = (now_ms().unsigned_abs() % 1_000_000_000) << 20;
        Requests { all, per_request, sent }
    }

    pub(crate) fn per_request(&self) -> usize {
        self.per_request
    }

    /// Writes the next one.
    fn next(&mut self, to: &mut Vec<u8>) {
        let Request { bytes, ids } = &self.all[(self.sent % REQUESTS as u64) as usize];
        to.clear();
        to.extend_from_slice(bytes);
        for (place, at) in ids.iter().enumerate() {
            let mut rest = self.sent * self.per_request as u64 + place as u64;
            for digit in to[*at..*at + ID_DIGITS].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        self.sent += 1;
    }
}

impl Request {
    fn of(first: usize, events: usize) -> Request {
        let texts: Vec<_> = (first..first + events).map(|i| event(i as u64, now_ms()).1).collect();
        let body = if events == 1 { texts.concat() } else { format!("[{}]", texts.join(",")) };
        let head = "POST /events HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length";
        let bytes = format!("{head}: {}\r\n\r\n{body}", body.len()).into_bytes();
        let is_id = |at: &usize| bytes[*at..].starts_with(ID);
        let ids = (0..bytes.len()).filter(is_id).map(|at| at + ID.len()).collect();
        Request { bytes, ids }
    }
}

/// What came of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) wall_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Load {
    fn of(mut latencies_us: Vec<u32>, wall: Duration) -> Load {
        latencies_us.sort_unstable();
        let quantile = |q: f64| f64::from(latencies_us[(latencies_us.len() as f64 * q) as usize]) / 1_000.0;
        let requests = latencies_us.len() as u64;
        Load { requests, wall_s: wall.as_secs_f64(), p50_ms: quantile(0.5), p99_ms: quantile(0.99) }
    }
}

/// Closed loop: each connection sends as soon as it is answered.
pub(crate) fn closed(to: SocketAddr, requests: &mut Requests, connections: usize, during: Duration) -> Load {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shared = Rc::new(RefCell::new(std::mem::replace(requests, Requests { all: vec![], per_request: 0, sent: 0 })));
    let latencies = Rc::new(RefCell::new(Vec::with_capacity(1 << 20)));
    let (begun, answered) = (Instant::now(), Rc::new(Cell::new(Instant::now())));
    let tasks = tokio::task::LocalSet::new();
    for _ in 0..connections {
        let (shared, latencies, answered) = (shared.clone(), latencies.clone(), answered.clone());
        tasks.spawn_local(async move {
            let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut out, mut back) = (Vec::new(), Vec::with_capacity(1 << 16));
            while begun.elapsed() < during {
                shared.borrow_mut().next(&mut out);
                let sent = Instant::now();
                stream.write_all(&out).await.unwrap();
                back.clear();
                while !is_whole(&back) {
                    assert!(stream.read_buf(&mut back).await.unwrap() > 0, "the server closed the connection");
                }
                answered.set(Instant::now());
                latencies.borrow_mut().push(sent.elapsed().as_micros() as u32);
            }
        });
    }
    runtime.block_on(tasks);
    *requests = Rc::into_inner(shared).unwrap().into_inner();
    Load::of(Rc::into_inner(latencies).unwrap().into_inner(), answered.get() - begun)
}

/// Open loop: so many requests a second at fixed times, spread over the connections; the latency is that since the time
/// at which a request was to be sent.
pub(crate) fn open(to: SocketAddr, requests: &mut Requests, connections: u32, rate: u32, during: Duration) -> Load {
    let begun = Instant::now() + Duration::from_millis(100);
    let rounds = (during.as_secs_f64() * f64::from(rate) / f64::from(connections)) as u32;
    let threads: Vec<_> = (0..connections)
        .map(|connection| {
            let mut texts = Vec::new();
            for _ in 0..rounds {
                let mut text = Vec::new();
                requests.next(&mut text);
                texts.push(text);
            }
            let first = begun + Duration::from_secs(1) * connection / rate;
            std::thread::spawn(move || punctual(to, &texts, first, Duration::from_secs(1) * connections / rate))
        })
        .collect();
    let latencies = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    Load::of(latencies, begun.elapsed())
}

fn punctual(to: SocketAddr, texts: &[Vec<u8>], first: Instant, each: Duration) -> Vec<u32> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut latencies_us = Vec::new();
    let mut piece = [0; 1 << 14];
    for (text, round) in texts.iter().zip(0..) {
        let due = first + each * round;
        while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            std::thread::park_timeout(wait);
        }
        stream.write_all(text).unwrap();
        let mut back = Vec::new();
        while !is_whole(&back) {
            let bytes = stream.read(&mut piece).unwrap();
            assert!(bytes > 0, "the server closed the connection");
            back.extend_from_slice(&piece[..bytes]);
        }
        latencies_us.push(due.elapsed().as_micros() as u32);
    }
    latencies_us
}

/// Whether an answer has arrived as a whole. It has to be a 202 with a length.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    assert!(head.starts_with("HTTP/1.1 202"), "{}", String::from_utf8_lossy(answer));
    let (_, length) = head.split_once("content-length: ").expect("a length");
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    answer.len() == end + 4 + length
}
