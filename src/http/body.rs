use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of an answer: all of it at once, or a stream.
///
/// A whole body is not boxed, for that is what nearly every answer is.
pub struct Body(Inner);

enum Inner {
    Whole(Bytes),
    Stream(UnsyncBoxBody<Bytes, Infallible>),
}

impl Body {
    /// Nothing.
    pub fn empty() -> Body {
        Body::from(Bytes::new())
    }

    /// A body that comes bit by bit. A stream that cannot go on ends; the client sees a cut answer.
    pub fn stream(body: impl HttpBody<Data = Bytes, Error = Infallible> + Send + 'static) -> Body {
        Body(Inner::Stream(body.boxed_unsync()))
    }

    /// The same, and something that is dropped with the last byte of it, wherever that waits to be sent. A stream is
    /// never in memory as a whole, so it lets go at once.
    #[must_use]
    pub fn with(self, kept: impl Send + 'static) -> Body {
        match self.0 {
            Inner::Whole(bytes) => Body::from(Bytes::from_owner(Kept { bytes, _kept: kept })),
            Inner::Stream(_) => self,
        }
    }
}

/// Bytes, and what is to be dropped with them.
struct Kept<T> {
    bytes: Bytes,
    _kept: T,
}

impl<T> AsRef<[u8]> for Kept<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(whole: B) -> Body {
        Body(Inner::Whole(whole.into()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Whole(_) => "Body::Whole",
            Inner::Stream(_) => "Body::Stream",
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.get_mut().0 {
            Inner::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(bytes) => bytes.is_empty(),
            Inner::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(body) => body.size_hint(),
        }
    }
}
