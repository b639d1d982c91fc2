use super::tally::Silence;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// An answer that is larger says nothing that is understood here.
const LARGEST_ANSWER: usize = 64 << 20;

/// Why an address cannot be posted to.
#[derive(Debug, thiserror::Error)]
pub enum WrongUrl {
    /// It is no http address.
    #[error("{0}: write it like http://127.0.0.1:8081; https is not spoken here, so post to ingest itself")]
    NoHttp(String),
    /// The key holds what no header can.
    #[error("the write key cannot stand in a header")]
    WriteKey,
}

/// Where to post, and with what.
#[derive(Debug, Clone)]
pub struct Target {
    address: String,
    host: HeaderValue,
    path: Uri,
    write_key: Option<HeaderValue>,
}

impl Target {
    /// An ingest's URL; `/events` is added when it has no path.
    ///
    /// # Errors
    /// When it is no http URL, or the key cannot be sent.
    pub fn new(url: &str, write_key: Option<&str>) -> Result<Target, WrongUrl> {
        let wrong = || WrongUrl::NoHttp(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(wrong)?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path == "/" { "/events" } else { path };
        let write_key = write_key.map(|key| HeaderValue::from_str(&format!("Bearer {key}")));
        let mut write_key = write_key.transpose().map_err(|_| WrongUrl::WriteKey)?;
        write_key.iter_mut().for_each(|key| key.set_sensitive(true));
        Ok(Target {
            address: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
            path: path.parse().map_err(|_| wrong())?,
            write_key,
        })
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn request(&self, json: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::from(json));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.write_key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        request
    }
}

/// What is done for a connection while anything of it is waited for. It ends with the connection.
type Working = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that is kept. All its work is done by the task that sends, so that nobody is woken for a request but
/// this one task.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    working: Working,
}

/// A request that did not leave.
pub(super) struct Unsent(Bytes);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Why nobody is there.
    pub(super) async fn open(target: &Target) -> std::io::Result<Connection> {
        let stream = timeout(CONNECT_WITHIN, TcpStream::connect(&target.address)).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        // Why it ended is told to whoever waits for an answer.
        let working = Box::pin(async move { drop(connection.await) });
        Ok(Connection { sender, working })
    }

    /// Returns when the connection has ended: an idle one is ended by the server sooner or later.
    pub(super) async fn ended(&mut self) {
        (&mut self.working).await;
    }

    /// Posts, and answers status and body. After anything but an answer the connection is of no use.
    ///
    /// # Errors
    /// `Ok(Err)`: there is no answer. `Err`: nothing was sent.
    pub(super) async fn post(
        &mut self,
        target: &Target,
        json: Bytes,
        within: Duration,
    ) -> Result<Result<(u16, Bytes), Silence>, Unsent> {
        let Connection { sender, working } = self;
        if sender.is_closed() {
            return Err(Unsent(json));
        }
        let exchange = async {
            let answer = sender.try_send_request(target.request(json.clone())).await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(failed) if failed.message().is_some() => return Err(Unsent(json)),
                Err(_) => return Ok(Err(Silence::Broken)),
            };
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await;
            Ok(body.map(|body| (head.status.as_u16(), body.to_bytes())).map_err(|_| Silence::Broken))
        };
        let exchange = std::pin::pin!(exchange);
        let either = async {
            match futures_util::future::select(exchange, working).await {
                futures_util::future::Either::Left((done, _)) => done,
                // The answer may have come before the end.
                futures_util::future::Either::Right(((), exchange)) => exchange.await,
            }
        };
        timeout(within, either).await.unwrap_or(Ok(Err(Silence::TimedOut)))
    }
}

impl Unsent {
    /// What was to be sent.
    pub(super) fn into_json(self) -> Bytes {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_is_that_of_events() {
        for (url, address, path) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081", "/events"),
            ("http://ingest/", "ingest:80", "/events"),
            ("http://[::1]:8081/collect/events?x=1", "[::1]:8081", "/collect/events?x=1"),
        ] {
            let target = Target::new(url, Some("k")).unwrap();
            assert_eq!((target.address(), target.path.to_string().as_str()), (address, path));
            assert!(!format!("{target:?}").contains("Bearer"));
        }
    }

    #[test]
    fn a_url_that_cannot_be_posted_to_is_refused_with_an_example() {
        for url in ["", "127.0.0.1:8081", "https://shop.example", "http://", "http://me:secret@x/"] {
            let error = Target::new(url, None).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:8081"), "{error}");
        }
        assert!(matches!(Target::new("http://x", Some("a\nb")), Err(WrongUrl::WriteKey)));
    }
}
