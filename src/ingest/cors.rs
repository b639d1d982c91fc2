//! Browsers may send events from any site, without cookies.

use crate::http::Body;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderMap, HeaderName, HeaderValue,
};
use hyper::{Response, StatusCode};

/// What every answer tells the browser.
const ANSWER: [(HeaderName, &str); 2] =
    [(ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (ACCESS_CONTROL_EXPOSE_HEADERS, "retry-after")];
/// What a browser asks for before it sends. A day is as long as any browser remembers it.
const PREFLIGHT: [(HeaderName, &str); 4] = [
    (ACCESS_CONTROL_ALLOW_METHODS, "POST"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "content-type, content-encoding"),
    (ACCESS_CONTROL_MAX_AGE, "86400"),
    (ALLOW, "POST, OPTIONS"),
];

/// Lets scripts of any site read an answer.
pub(super) fn allow(headers: &mut HeaderMap) {
    insert(headers, ANSWER);
}

/// The answer to `OPTIONS`.
pub(super) fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    insert(response.headers_mut(), PREFLIGHT);
    response
}

fn insert<const N: usize>(headers: &mut HeaderMap, values: [(HeaderName, &'static str); N]) {
    for (name, value) in values {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
