//! Scripts of other sites may read the API where the configuration names their origin, and nowhere else.
//!
//! An answer names the one origin that asked, if it is allowed, and never allows credentials: a cookie is of no use to
//! another site, which has to send the token itself.

use crate::http::Body;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Response, StatusCode, Uri};

const PREFLIGHT: [(HeaderName, &str); 3] = [
    (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, if-none-match"),
    (ACCESS_CONTROL_MAX_AGE, "3600"),
];

/// The origins that may read.
#[derive(Debug)]
pub(super) struct Cors {
    allowed: Vec<String>,
}

impl Cors {
    pub(super) fn new(allowed: Vec<String>) -> Cors {
        Cors { allowed }
    }

    /// The answer to a browser that asks whether it may; `None` for every other request. It carries no token.
    pub(super) fn preflight(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response<Body>> {
        let asks = method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || !is_api(uri) || self.allowed(headers).is_none() {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        for (name, value) in PREFLIGHT {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Some(response)
    }

    /// Lets the browser hand an answer to the script that asked, if its origin may read.
    pub(super) fn allow(&self, uri: &Uri, asked: &HeaderMap, answer: &mut HeaderMap) {
        if self.allowed.is_empty() || !is_api(uri) {
            return;
        }
        answer.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = self.allowed(asked) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag, retry-after"));
        }
    }

    fn allowed<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then_some(origin)
    }
}

fn is_api(uri: &Uri) -> bool {
    uri.path().starts_with("/api/") || uri.path() == "/openapi.json"
}
