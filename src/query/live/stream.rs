use super::feed::Feed;
use crate::http::Body;
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// A reader hears something at least this often, so that neither it nor what is between takes the stream for dead.
pub(in crate::query) const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long the browser waits before it connects again.
pub(in crate::query) const RETRY: &str = "retry: 1000\n\n";

/// One open page: a place in a feed.
pub(super) struct Reader {
    feed: Arc<Feed>,
    /// To be told before anything else.
    queue: VecDeque<Bytes>,
    updates: Receiver<Bytes>,
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
}

impl Reader {
    pub(super) fn new(
        feed: Arc<Feed>,
        mut queue: VecDeque<Bytes>,
        updates: Receiver<Bytes>,
        shutdown: Shutdown,
        metrics: Arc<Metrics>,
    ) -> Reader {
        queue.push_front(Bytes::from_static(RETRY.as_bytes()));
        metrics.live_streams.inc();
        Reader { feed, queue, updates, shutdown, metrics }
    }

    /// The events, as long as the page reads and the program runs. A page that does not read makes nothing wait and
    /// fills nothing: its place in the feed is overrun, and it gets a snapshot once it reads again.
    pub(super) fn into_body(self) -> Body {
        let events = stream::unfold(self, async |mut reader| {
            let bytes = reader.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), reader))
        });
        Body::stream(StreamBody::new(Box::pin(events)))
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.shutdown.has_begun() {
                return None;
            }
            if let Some(bytes) = self.queue.pop_front() {
                return Some(bytes);
            }
            tokio::select! {
                () = self.shutdown.begun() => return None,
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b": heartbeat\n\n")),
                update = self.updates.recv() => match update {
                    Ok(update) => return Some(update),
                    Err(RecvError::Lagged(_)) => {
                        self.metrics.live_slow_readers_total.inc();
                        (self.queue, self.updates) = self.feed.join(None);
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.metrics.live_streams.dec();
    }
}
