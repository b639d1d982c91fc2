//! What the work costs with nothing around it: servers that only read a body, or read it, parse it and hand it to Kafka.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Counted while records are still being handed over: larger than any request.
const HANDING_OVER: u64 = 1 << 32;

#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "parsing is what costs")]
struct Event<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    event_version: u64,
    timestamp: u64,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    session_id: Cow<'a, str>,
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "parsing is what costs")]
struct Payload<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
}

/// One of each request: its last report answers it.
struct Waiting {
    left: AtomicU64,
    answer: Mutex<Option<oneshot::Sender<()>>>,
}

impl Waiting {
    fn reported(&self, records: u64) {
        if self.left.fetch_sub(records, Ordering::AcqRel) == records
            && let Some(answer) = self.answer.lock().unwrap().take()
        {
            let _ = answer.send(());
        }
    }
}

struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Waiting>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Arc<Waiting>) {
        assert!(result.is_ok(), "a record was not delivered");
        waiting.reported(1);
    }
}

struct Kafka {
    producer: ThreadedProducer<Reports>,
    topic: String,
}

impl Kafka {
    fn new(brokers: &str, topic: &str) -> Kafka {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "2")
            .create_with_context(Reports)
            .unwrap();
        Kafka { producer, topic: topic.to_owned() }
    }

    /// Parses each event, hands it over as it came, and waits for all.
    async fn store(&self, body: &[u8]) {
        let (sender, answer) = oneshot::channel();
        let (left, sender) = (AtomicU64::new(HANDING_OVER), Mutex::new(Some(sender)));
        let waiting = Arc::new(Waiting { left, answer: sender });
        let (mut handed, mut rest) = (0, body.strip_prefix(b"[").unwrap_or(body));
        while !matches!(rest, [] | [b']']) {
            let mut texts = serde_json::Deserializer::from_slice(rest).into_iter::<Event<'_>>();
            let event = texts.next().unwrap().unwrap();
            let (text, behind) = rest.split_at(texts.byte_offset());
            let record = BaseRecord::with_opaque_to(&self.topic, waiting.clone());
            let sent = self.producer.send(record.key(event.session_id.as_bytes()).payload(text));
            assert!(sent.is_ok(), "the queue is full");
            handed += 1;
            rest = behind.strip_prefix(b",").unwrap_or(behind);
        }
        waiting.reported(HANDING_OVER - handed);
        answer.await.unwrap();
    }
}

/// Serves until it is killed, and prints where. Without a topic a body is only read.
pub(crate) fn serve(kafka: Option<(&str, &str)>) {
    let kafka: &'static Option<Kafka> = Box::leak(Box::new(kafka.map(|(brokers, topic)| Kafka::new(brokers, topic))));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // On a worker of the runtime: the main thread would only pass its work on.
    let accepting = runtime.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let answer = service_fn(move |request: Request<Incoming>| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                if let Some(kafka) = kafka {
                    kafka.store(&body).await;
                }
                let mut response = Response::new(Full::new(Bytes::new()));
                *response.status_mut() = StatusCode::ACCEPTED;
                Ok::<_, Infallible>(response)
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), answer));
        }
    });
    runtime.block_on(accepting).unwrap();
}
