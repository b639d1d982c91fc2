//! A request's body, taken in within its limits of size, time and memory.

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{EXPECT, HeaderMap};
use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// Room made for a body in advance, whatever length the client declares.
const FIRST_ROOM_BYTES: usize = 64 * 1024;
/// What is read of a body that is not wanted, and for how long. A connection that is closed while the client still
/// sends is reset, and the client may never see the answer.
const UNWANTED_BYTES: usize = 16 * 1024 * 1024;
const UNWANTED_TIME: Duration = Duration::from_secs(2);

/// Why a body was not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreceived {
    /// It is larger than may be.
    #[error("the body is larger than the {0} bytes that are allowed")]
    TooLarge(u64),
    /// It came too slowly.
    #[error("the body did not arrive within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// The client went away, or did not keep to HTTP.
    #[error("the body broke off: {0}")]
    BrokeOff(String),
    /// There is no room for it at the moment.
    #[error("too much is being received at the moment")]
    NoRoom,
}

/// Takes in a body of at most so many bytes. `room` is asked before each piece is kept.
///
/// # Errors
/// When it is larger, too slow, breaks off, or there is no room for it.
pub async fn receive<B>(
    body: &mut B,
    most: u64,
    within: Duration,
    room: impl FnMut(usize) -> bool,
) -> Result<Bytes, Unreceived>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    if body.size_hint().lower() > most {
        return Err(Unreceived::TooLarge(most));
    }
    timeout(within, read(body, most, room)).await.unwrap_or(Err(Unreceived::TimedOut(within)))
}

async fn read<B>(body: &mut B, most: u64, mut room: impl FnMut(usize) -> bool) -> Result<Bytes, Unreceived>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    // A body mostly comes in one piece, which is not copied.
    let mut first = Bytes::new();
    let mut all = Vec::new();
    // At most what is allowed; nothing where the client did not say.
    let declared = body.size_hint().lower() as usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Unreceived::BrokeOff(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if (first.len() + all.len()) as u64 + data.len() as u64 > most {
            return Err(Unreceived::TooLarge(most));
        }
        if !room(data.len()) {
            return Err(Unreceived::NoRoom);
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(FIRST_ROOM_BYTES.min(declared));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// Reads on past what is left of a body and not wanted, for a while. Not of a client that waits for our consent: it has
/// not begun to send, and reading would be the consent.
pub async fn discard<B>(headers: &HeaderMap, body: B)
where
    B: Body<Data = Bytes>,
{
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    let mut body = pin!(body);
    let rest = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Buf::remaining);
            if read > UNWANTED_BYTES {
                return;
            }
        }
    };
    // Whether all of it came does not matter: the answer is the same.
    let _ = timeout(UNWANTED_TIME, rest).await;
}
