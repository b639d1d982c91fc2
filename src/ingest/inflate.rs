//! Bodies that come compressed, inflated within their limits.
//!
//! It goes in steps: after each one the limit, the room and the other requests have their turn, so that a small body that
//! grows without end costs no more than the limit.

use super::reject::Reject;
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use std::io::{self, ErrorKind, Read};
use zstd::stream::raw::{DParameter, Decoder, Operation};

/// Inflated at a time.
const STEP_BYTES: usize = 64 * 1024;
/// Members of a gzip body, or frames of a zstd body, one after the other. Each costs something, even an empty one.
const MOST_PARTS: usize = 64;
/// 2 to the power of this is what a zstd frame may ask to be kept of what it inflated to: 8 MiB, as HTTP clients know.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// One member, or some of them one after the other.
    Gzip,
    /// With the frame of zlib, as the name says, or without any, as some senders understand it.
    Deflate,
    /// One frame, or some of them one after the other.
    Zstd,
}

/// Why a body cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// Its end is missing.
    #[error("breaks off")]
    BreaksOff,
    /// It is something else.
    #[error("cannot be inflated")]
    Corrupt,
    /// There is more after the end.
    #[error("has something behind its end")]
    Trailing,
    /// It is in so many parts that it cannot be meant.
    #[error("has more than {MOST_PARTS} parts")]
    Parts,
}

impl Encoding {
    /// The name of the content coding.
    pub(super) fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Zstd => "zstd",
        }
    }

    /// How the headers say that the body is compressed; `None` when it is not.
    ///
    /// # Errors
    /// When it is in a way that is not known here, or in several ways on top of each other.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Encoding>, Reject> {
        let mut found = None;
        for value in headers.get_all(CONTENT_ENCODING) {
            for coding in value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
                let encoding = match () {
                    () if coding.is_empty() || is("identity") => continue,
                    () if is("gzip") || is("x-gzip") => Encoding::Gzip,
                    () if is("deflate") => Encoding::Deflate,
                    () if is("zstd") => Encoding::Zstd,
                    () => return Err(Reject::ContentEncoding),
                };
                if found.replace(encoding).is_some() {
                    return Err(Reject::ContentEncodings);
                }
            }
        }
        Ok(found)
    }

    /// Inflates a body to at most so many bytes. `room` is asked before each piece is kept.
    ///
    /// # Errors
    /// When it becomes larger, is broken, or there is no room for it.
    pub(super) async fn inflate(
        self,
        body: &[u8],
        most: u64,
        room: impl FnMut(usize) -> bool,
    ) -> Result<Bytes, Reject> {
        if body.is_empty() {
            return Ok(Bytes::new());
        }
        let mut inflated = Inflated { bytes: Vec::new(), most, room };
        match self {
            Encoding::Gzip => gzip(body, &mut inflated).await,
            Encoding::Deflate => deflate(body, &mut inflated).await,
            Encoding::Zstd => zstd(body, &mut inflated).await,
        }
        .map_err(|stop| match stop {
            Stop::Broken(broken) => Reject::NotInflatable { encoding: self, broken },
            Stop::TooLarge => Reject::InflatedTooLarge(most),
            Stop::NoRoom => Reject::Busy,
        })?;
        Ok(inflated.bytes.into())
    }
}

/// Why inflating ends before its end.
#[derive(Debug)]
enum Stop {
    Broken(Broken),
    TooLarge,
    NoRoom,
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Stop {
        Stop::Broken(broken)
    }
}

/// What has been inflated.
struct Inflated<R> {
    bytes: Vec<u8>,
    most: u64,
    room: R,
}

impl<R: FnMut(usize) -> bool> Inflated<R> {
    /// Keeps a piece, then lets others have their turn.
    async fn keep(&mut self, piece: &[u8]) -> Result<(), Stop> {
        if (self.bytes.len() + piece.len()) as u64 > self.most {
            return Err(Stop::TooLarge);
        }
        if !(self.room)(piece.len()) {
            return Err(Stop::NoRoom);
        }
        self.bytes.extend_from_slice(piece);
        tokio::task::yield_now().await;
        Ok(())
    }
}

async fn gzip<R: FnMut(usize) -> bool>(body: &[u8], inflated: &mut Inflated<R>) -> Result<(), Stop> {
    let mut piece = vec![0; STEP_BYTES];
    let mut rest = body;
    for part in 0.. {
        if rest.is_empty() {
            break;
        }
        if part == MOST_PARTS {
            return Err(Broken::Parts.into());
        }
        // What does not even begin like a member is no further one.
        if part > 0 && !rest.starts_with(&[0x1f, 0x8b]) {
            return Err(Broken::Trailing.into());
        }
        let mut member = GzDecoder::new(rest);
        loop {
            let read = member.read(&mut piece).map_err(|error| broken(&error))?;
            inflated.keep(&piece[..read]).await?;
            if read == 0 {
                break;
            }
        }
        rest = member.into_inner();
    }
    Ok(())
}

fn broken(error: &io::Error) -> Broken {
    if error.kind() == ErrorKind::UnexpectedEof { Broken::BreaksOff } else { Broken::Corrupt }
}

async fn deflate<R: FnMut(usize) -> bool>(body: &[u8], inflated: &mut Inflated<R>) -> Result<(), Stop> {
    let mut piece = vec![0; STEP_BYTES];
    let mut stream = Decompress::new(has_zlib_header(body));
    loop {
        let (read, written) = (stream.total_in(), stream.total_out());
        let rest = &body[read as usize..];
        let status = stream.decompress(rest, &mut piece, FlushDecompress::None).map_err(|_| Broken::Corrupt)?;
        let new = (stream.total_out() - written) as usize;
        inflated.keep(&piece[..new]).await?;
        match status {
            Status::StreamEnd if stream.total_in() < body.len() as u64 => return Err(Broken::Trailing.into()),
            Status::StreamEnd => return Ok(()),
            Status::Ok | Status::BufError if new == 0 && stream.total_in() == read => {
                return Err(Broken::BreaksOff.into());
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

/// Its method is 8, and its two bytes are a multiple of 31.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(*body, [method, flags, ..] if method & 15 == 8 && (u16::from(method) << 8 | u16::from(flags)) % 31 == 0)
}

async fn zstd<R: FnMut(usize) -> bool>(body: &[u8], inflated: &mut Inflated<R>) -> Result<(), Stop> {
    let mut piece = vec![0; STEP_BYTES];
    let mut stream = Decoder::new().map_err(|_| Stop::NoRoom)?;
    stream.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(|_| Stop::NoRoom)?;
    let (mut rest, mut parts) = (body, 0);
    loop {
        let step = stream.run_on_buffers(rest, &mut piece).map_err(|_| Broken::Corrupt)?;
        rest = &rest[step.bytes_read..];
        inflated.keep(&piece[..step.bytes_written]).await?;
        if step.remaining == 0 {
            parts += 1;
            match parts {
                _ if rest.is_empty() => return Ok(()),
                // What does not even begin like a frame is no further one.
                _ if !is_zstd_frame(rest) => return Err(Broken::Trailing.into()),
                MOST_PARTS => return Err(Broken::Parts.into()),
                _ => {}
            }
        } else if step.bytes_read == 0 && step.bytes_written == 0 {
            return Err(Broken::BreaksOff.into());
        }
    }
}

/// By its magic number: of a frame, or of one that is to be skipped.
fn is_zstd_frame(rest: &[u8]) -> bool {
    matches!(rest, [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

#[cfg(test)]
mod tests;
