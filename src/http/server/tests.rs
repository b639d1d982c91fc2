// The clients are blocking sockets on the test's own thread; the server has threads of its own.
use super::{Body, Handler, Incoming, Limits, Metrics, Request, Response, Server, Shutdown, StatusCode};
use crate::http::text;
use http_body_util::BodyExt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Echo {
    seen: AtomicUsize,
    entered: Notify,
    go_on: Notify,
}

impl Handler for Echo {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        match request.uri().path() {
            "/slow" => {
                self.entered.notify_one();
                self.go_on.notified().await;
            }
            "/panic" => panic!("on purpose"),
            _ => {}
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        text(StatusCode::OK, "text/plain", body)
    }
}

struct Running {
    addr: SocketAddr,
    echo: Arc<Echo>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

async fn start(limits: Limits) -> Running {
    let metrics = Arc::new(Metrics::new().unwrap());
    let addr = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(addr, "query", limits, Arc::clone(&metrics)).await.unwrap();
    let (addr, echo, shutdown) = (server.local_addr(), Arc::new(Echo::default()), Shutdown::new());
    let task = tokio::spawn(server.run(Arc::clone(&echo), shutdown.clone()));
    Running { addr, echo, metrics, shutdown, task }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }
}

/// Sends a request and reads its answer, as long as it comes in one piece.
fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; 4_096];
    let n = stream.read(&mut answer).unwrap();
    String::from_utf8(answer[..n].to_vec()).unwrap()
}

/// What comes until the server closes the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(e) = stream.read_to_end(&mut answer) {
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "not closed in time");
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_many_requests() {
    let server = start(Limits::default()).await;
    let mut stream = server.connect();
    for _ in 0..3 {
        let answer = ask(&mut stream, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi");
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    }
    assert_eq!(server.echo.seen.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let server = start(Limits { header_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    let mut slow = server.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nhost:").unwrap();
    assert!(!rest(&mut slow).contains("200"));
    let mut silent = server.connect();
    assert_eq!(rest(&mut silent), "");
    let mut kept_alive = server.connect();
    assert!(ask(&mut kept_alive, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").contains("200 OK"));
    assert_eq!(rest(&mut kept_alive), "");
    let refused = server.metrics.connections_refused_total.with_label_values(&["query"]);
    assert_eq!(refused.get(), 2, "silence after an answer is in order");
    assert_eq!(server.echo.seen.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_refused() {
    let server = start(Limits { max_header_bytes: 1_024, ..Limits::default() }).await;
    let mut stream = server.connect();
    let answer = ask(&mut stream, &format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(2_000)));
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(rest(&mut stream), "");
    let refused = server.metrics.connections_refused_total.with_label_values(&["query"]);
    let counted = async {
        while refused.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, counted).await.expect("it is counted");
    assert_eq!(server.echo.seen.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_beyond_the_limit_is_closed_and_counted() {
    let server = start(Limits { max_connections: 1, ..Limits::default() }).await;
    let mut first = server.connect();
    assert!(ask(&mut first, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").contains("200 OK"));
    let mut second = server.connect();
    assert_eq!(rest(&mut second), "");
    assert_eq!(server.metrics.connections_refused_total.with_label_values(&["query"]).get(), 1);
    drop(first);
    // The place is free once the server has seen the close.
    for _ in 0..50 {
        let mut third = server.connect();
        third.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        if rest(&mut third).contains("200 OK") {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the place of a closed connection was never free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections_and_no_more() {
    let server = start(Limits { max_connections_per_address: 1, ..Limits::default() }).await;
    let mut first = server.connect();
    assert!(ask(&mut first, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").contains("200 OK"));
    assert_eq!(rest(&mut server.connect()), "");
    assert_eq!(server.metrics.connections_refused_total.with_label_values(&["query"]).get(), 1);
    drop(first);
    let again = async {
        loop {
            let mut next = server.connect();
            let asked = next.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            if asked.is_ok() && rest(&mut next).contains("200 OK") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, again).await.expect("its place is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_closes_silent_connections_and_finishes_requests() {
    let server = start(Limits::default()).await;
    let mut silent = server.connect();
    assert!(ask(&mut silent, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").contains("200 OK"));
    let mut busy = server.connect();
    busy.write_all(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nslow").unwrap();
    timeout(SOON, server.echo.entered.notified()).await.unwrap();

    server.shutdown.begin();
    assert_eq!(rest(&mut silent), "");
    assert!(!server.task.is_finished(), "it must wait for the request in flight");
    // The listener and the silent connection are closed by two tasks, in either order.
    let closed = async {
        while TcpStream::connect(server.addr).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, closed).await.expect("nothing new is accepted");

    server.echo.go_on.notify_one();
    assert!(rest(&mut busy).ends_with("\r\n\r\nslow"));
    timeout(SOON, server.task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_cuts_off_what_does_not_end() {
    let server = start(Limits::default()).await;
    let mut busy = server.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    timeout(SOON, server.echo.entered.notified()).await.unwrap();
    server.task.abort();
    assert_eq!(rest(&mut busy), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_costs_one_request() {
    let server = start(Limits::default()).await;
    let mut stream = server.connect();
    let answer = ask(&mut stream, "GET /panic HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 500") && answer.ends_with(r#"{"error":"internal error"}"#), "{answer}");
    assert!(ask(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").contains("200 OK"));
}
