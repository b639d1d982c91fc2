//! Browsers may send events from other sites, without cookies: from any, or, where sites are configured, from theirs.

use super::sites::Pages;
use crate::http::Body;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderMap, HeaderName, HeaderValue, VARY,
};
use hyper::{Response, StatusCode};

/// What every answer tells the browser of a page that may send.
const ANSWER: [(HeaderName, &str); 1] = [(ACCESS_CONTROL_EXPOSE_HEADERS, "retry-after")];
/// What a browser asks for before it sends. A day is as long as any browser remembers it.
const PREFLIGHT: [(HeaderName, &str); 4] = [
    (ACCESS_CONTROL_ALLOW_METHODS, "POST"),
    (
        ACCESS_CONTROL_ALLOW_HEADERS,
        "content-type, content-encoding, authorization, x-write-key, x-sent-at, traceparent",
    ),
    (ACCESS_CONTROL_MAX_AGE, "86400"),
    (ALLOW, "POST, OPTIONS"),
];

/// Lets scripts read an answer, if they are of a page that may send. `asked` is the origin that the request named.
/// Credentials are never allowed: a page can only use the key that it has itself.
pub(super) fn allow(pages: Pages<'_>, asked: Option<HeaderValue>, headers: &mut HeaderMap) {
    match pages {
        Pages::Any => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        Pages::Some(_) => {
            headers.append(VARY, HeaderValue::from_static("origin"));
            let Some(origin) = asked.filter(|origin| pages.allow(origin)) else { return };
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
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
