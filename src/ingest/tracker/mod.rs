//! What a page loads to send events: `GET /streamgauge.js`, and its types.
//!
//! `streamgauge.min.js` is made of `streamgauge.js` by `scripts/tracker.sh`, which needs npm; it says of which.

use crate::http::{self, Body};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderMap, HeaderName,
    HeaderValue, VARY,
};
use hyper::{Response, StatusCode};
use std::io::Write;

const SCRIPT: &str = include_str!("streamgauge.min.js");
const TYPES: &str = include_str!("streamgauge.d.ts");

/// A change reaches all pages within the hour; until it is there, they use what they have.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=3600, stale-while-revalidate=86400");
const POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A file that any page of any site may load.
#[derive(Debug)]
struct File {
    content_type: &'static str,
    plain: Bytes,
    compressed: Bytes,
    tag: HeaderValue,
}
