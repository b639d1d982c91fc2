use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a client that is behind must take within the limit, unless it catches up.
const LEAST_BYTES: usize = 1024 * 1024;

/// A connection that breaks once its other end takes too little of what waits for it.
///
/// Without it a client that asks and does not read, or a byte now and then, keeps its connection, and what waits to be
/// written, for ever.
pub(super) struct Patient<S> {
    stream: S,
    limit: Duration,
    behind: Option<Behind>,
}

/// The other end has not taken all that there was for it.
struct Behind {
    taken: usize,
    until: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Patient<S> {
        Patient { stream, limit, behind: None }
    }

    /// What comes of an attempt to write: none without end, and none that takes too little.
    fn judge(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.behind.take_if(|behind| {
                    behind.taken += bytes;
                    behind.taken >= LEAST_BYTES
                });
                written
            }
            Poll::Ready(Err(_)) => written,
            Poll::Pending => self.wait(cx).map(Err),
        }
    }

    /// Ready once the time is over.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let behind = self.behind.get_or_insert_with(|| Behind { taken: 0, until: Box::pin(sleep(limit)) });
        behind.until.as_mut().poll(cx).map(|()| io::Error::new(io::ErrorKind::TimedOut, "the client does not read"))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => {
                // All that there was is written.
                self.behind = None;
                Poll::Ready(flushed)
            }
            Poll::Pending => self.wait(cx).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn whoever_reads_nothing_is_cut_off() {
        let (ours, _theirs) = duplex(64);
        let mut ours = Patient::new(ours, Duration::from_millis(50));
        let written = tokio::time::timeout(Duration::from_secs(20), ours.write_all(&[0; 1_000])).await.unwrap();
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn whoever_takes_a_byte_now_and_then_is_cut_off_too() {
        let (ours, mut theirs) = duplex(64);
        // Long enough that a busy machine lets some bytes through.
        let mut ours = Patient::new(ours, Duration::from_secs(2));
        let dripping = async {
            let mut byte = [0];
            while theirs.read(&mut byte).await.unwrap() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let writing = tokio::time::timeout(Duration::from_secs(20), ours.write_all(&[0; 1_000_000]));
        tokio::select! {
            written = writing => assert_eq!(written.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut),
            () = dripping => panic!("the stream ends"),
        }
    }

    #[tokio::test]
    async fn whoever_has_caught_up_has_all_the_time_again() {
        let (ours, mut theirs) = duplex(64);
        let mut ours = Patient::new(ours, Duration::from_secs(20));
        for _ in 0..3 {
            assert!(ours.write_all(&[0; 65]).now_or_never().is_none());
            assert!(ours.behind.is_some());
            theirs.read_exact(&mut [0; 64]).await.unwrap();
            ours.flush().await.unwrap();
            assert!(ours.behind.is_none());
        }
    }

    #[tokio::test]
    async fn whoever_reads_slowly_gets_everything() {
        let (ours, mut theirs) = duplex(64);
        let mut ours = Patient::new(ours, Duration::from_secs(20));
        let reading = async {
            let mut bytes = Vec::new();
            while theirs.read_buf(&mut bytes).await.unwrap() > 0 {
                tokio::task::yield_now().await;
            }
            bytes.len()
        };
        let writing = async move {
            ours.write_all(&[0; 10_000]).await.unwrap();
            ours.shutdown().await.unwrap();
        };
        assert_eq!(tokio::join!(writing, reading).1, 10_000);
    }
}
