//! Prometheus remote read: the windows as series, so that a Prometheus evaluates PromQL over them.
//!
//! A window's sample stands at its last millisecond, its end − 1 ms: inside of the window, so that `[5m]` at a whole
//! second holds exactly the windows of the five minutes before, whether or not a Prometheus counts a range's left end
//! in. At each question the counts are read from the store, so a late event corrects what was answered before.
//!
//! A key that has no count in a window that was counted is *stale* there, as a target's series is that is gone: an
//! instant query never shows the count of an older window beside those of the newest. A window that nobody has counted
//! yet (it is neither final nor has it a count) has no sample.

mod error;
mod matchers;
mod messages;
mod plan;
mod series;
#[cfg(test)]
mod tests;

pub(super) use error::Refused;
pub(super) use plan::Plan;

use crate::http::{Body, receive};
use bytes::Bytes;
use hyper::body::Body as HttpBody;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use messages::{ReadRequest, ReadResponse, SAMPLES};
use prost::Message;
use std::fmt::Display;
use std::time::Duration;

/// Names of the series that are answered.
pub const SERIES: &[&str] = &[COUNT, TOTAL, VALUE, TOTAL_VALUE];
/// Counts by key.
const COUNT: &str = "streamgauge_window_count";
/// All of a window, `other` included.
const TOTAL: &str = "streamgauge_window_total";
/// What the events of a `sum` or a `distinct` amount to, by key.
const VALUE: &str = "streamgauge_window_value";
/// The same of all of a window.
const TOTAL_VALUE: &str = "streamgauge_window_total_value";

/// A request is a few matchers: this leaves room for long expressions, and costs nothing when many clients send it.
const MOST_BODY_BYTES: u64 = 64 * 1024;
const MOST_INFLATED_BYTES: usize = 256 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Selectors of a request (Prometheus sends one), matchers of all of them, series and samples of an answer.
const MOST_QUERIES: usize = 16;
const MOST_MATCHERS: usize = 64;
/// Of the matchers those with an expression: compiled and in use, one may take some MiB.
const MOST_REGEXES: usize = 16;
const MOST_SERIES: usize = 50_000;
const MOST_SAMPLES: usize = 1_000_000;
/// How long an answer may take, reading and matching together.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes in a request.
pub(super) async fn request<B>(headers: &HeaderMap, body: &mut B) -> Result<ReadRequest, Refused>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let is = |name: HeaderName, wanted: &str| match headers.get(name).map(HeaderValue::as_bytes) {
        None => true,
        Some(sent) => {
            sent.split(|b| *b == b';').next().is_some_and(|sent| sent.eq_ignore_ascii_case(wanted.as_bytes()))
        }
    };
    if !is(CONTENT_TYPE, "application/x-protobuf") || !is(CONTENT_ENCODING, "snappy") {
        return Err(Refused::ContentType);
    }
    let body = receive(body, MOST_BODY_BYTES, BODY_TIMEOUT, |_| true).await?;
    decode(&body)
}

fn decode(body: &[u8]) -> Result<ReadRequest, Refused> {
    let snappy = |error: snap::Error| Refused::Snappy(error.to_string());
    // The length stands at the begin of a block, so a bomb is refused before it is inflated.
    let found = snap::raw::decompress_len(body).map_err(snappy)?;
    if found > MOST_INFLATED_BYTES {
        return Err(Refused::Inflated { found, most: MOST_INFLATED_BYTES });
    }
    let inflated = snap::raw::Decoder::new().decompress_vec(body).map_err(snappy)?;
    let request = ReadRequest::decode(inflated.as_slice()).map_err(|error| Refused::Message(error.to_string()))?;
    let types = &request.accepted_response_types;
    if !types.is_empty() && !types.contains(&SAMPLES) {
        return Err(Refused::ResponseType);
    }
    Ok(request)
}

/// The answer as Prometheus takes it.
pub(super) fn respond(answer: &ReadResponse) -> Response<Body> {
    let compressed = snap::raw::Encoder::new().compress_vec(&answer.encode_to_vec());
    match compressed {
        Ok(body) => {
            let mut response = crate::http::text(StatusCode::OK, "application/x-protobuf", body.into_boxed_slice());
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "an answer to remote read cannot be compressed");
            crate::http::error(StatusCode::INTERNAL_SERVER_ERROR, "internal error", None)
        }
    }
}
