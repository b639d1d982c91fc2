//! Who may read: a token in the header, or a session that a log-in with the token began.
//!
//! Browsers send no header with an EventSource, so the page's log-in gives them a cookie. It holds a random name of a
//! session that this process remembers, never the token. Wrong tokens are counted by address, and whoever sends many is
//! told to wait; the right one always opens, or one reader behind a proxy could lock out all others.

mod limit;
mod sessions;

use super::QueryError;
use super::assets;
use super::params::decode;
use crate::http::{self, Body};
use crate::telemetry::Metrics;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE};
use hyper::{Response, StatusCode, Uri};
use limit::WrongTokens;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sessions::{SESSION_S, Sessions};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

const COOKIE_NAME: &str = "streamgauge_session";
/// A form of a token and where to go on; more is no log-in.
pub(super) const MOST_FORM_BYTES: usize = 8 * 1024;

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    pub(super) peer: IpAddr,
    pub(super) now_ms: i64,
}

/// The door of the read side.
pub(super) struct Login {
    token: Option<SecretString>,
    sessions: Mutex<Sessions>,
    wrong: Mutex<WrongTokens>,
    metrics: Arc<Metrics>,
}

impl Login {
    /// With the token that opens it; without one it is always open.
    pub(super) fn new(token: Option<SecretString>, metrics: Arc<Metrics>) -> Login {
        Login { token, sessions: Mutex::default(), wrong: Mutex::default(), metrics }
    }

    /// Whether a token is asked for at all.
    pub(super) fn is_on(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a request may read.
    pub(super) fn admit(&self, headers: &HeaderMap, visit: Visit) -> Result<(), QueryError> {
        if self.token.is_none() {
            return Ok(());
        }
        if session_of(headers).is_some_and(|session| self.sessions().knows(session, visit.now_ms)) {
            return Ok(());
        }
        bearer_of(headers).map_or(Err(QueryError::Unauthorized), |sent| self.check(sent, visit))
    }

    /// Compares a token. The right one is never held back by wrong ones before it.
    fn check(&self, sent: &str, visit: Visit) -> Result<(), QueryError> {
        let Some(token) = &self.token else { return Ok(()) };
        if http::same_secret(token.expose_secret().as_bytes(), sent.as_bytes()) {
            return Ok(());
        }
        let noted = self.wrong.lock().unwrap_or_else(PoisonError::into_inner).note(visit.peer, visit.now_ms);
        let (result, refused) = match noted {
            Ok(()) => ("refused", QueryError::Unauthorized),
            Err(wait_s) => ("limited", QueryError::TooManyWrongTokens { wait_s }),
        };
        self.metrics.logins_total.with_label_values(&[result]).inc();
        Err(refused)
    }

    /// The form, for somebody who wanted the page with the query in `uri`'s `next`.
    pub(super) fn form(&self, uri: &Uri) -> Response<Body> {
        if self.token.is_none() {
            return see_other("/");
        }
        form(StatusCode::OK, &field(uri.query().unwrap_or_default(), "next"), None)
    }

    /// Takes a filled-in form, once it is known that no other site sent it.
    pub(super) fn log_in(&self, body: &[u8], headers: &HeaderMap, visit: Visit) -> Response<Body> {
        let body = String::from_utf8_lossy(body);
        let (token, next) = (field(&body, "token"), field(&body, "next"));
        if let Err(refused) = self.check(&token, visit) {
            let words = match refused {
                QueryError::TooManyWrongTokens { .. } => {
                    "This is not the token, as many before it were not. Wait a minute."
                }
                _ => "This is not the token.",
            };
            let mut response = form(refused.status(), &next, Some(words));
            if let Some(after) = refused.retry_after() {
                response.headers_mut().insert(RETRY_AFTER, after);
            }
            return response;
        }
        let mut response = see_other(&page_with(&next));
        if self.token.is_some() {
            self.metrics.logins_total.with_label_values(&["accepted"]).inc();
            let session = self.sessions().begin(visit.now_ms);
            set_cookie(&mut response, &session, SESSION_S, headers);
        }
        response
    }

    /// Ends the session of a request. One without a cookie may be a form of another site, which must not take the
    /// cookie from a browser that keeps it back.
    pub(super) fn log_out(&self, headers: &HeaderMap) -> Response<Body> {
        let mut response = see_other("/login");
        if let Some(session) = session_of(headers) {
            self.sessions().end(session);
            set_cookie(&mut response, "", 0, headers);
        }
        response
    }

    /// Where a browser without a session is sent that wanted the page.
    pub(super) fn instead_of(uri: &Uri) -> Response<Body> {
        match uri.query() {
            Some(query) if !query.is_empty() => {
                see_other(&format!("/login?next={}", utf8_percent_encode(query, NON_ALPHANUMERIC)))
            }
            _ => see_other("/login"),
        }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page with that query. It always begins with `/?`, so nobody can be sent elsewhere by a link to the log-in.
fn page_with(next: &str) -> String {
    if next.is_empty() { "/".to_owned() } else { format!("/?{next}") }
}

fn see_other(place: &str) -> Response<Body> {
    let mut response = http::text(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
    let place = HeaderValue::from_str(place).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, place);
    response
}

fn form(status: StatusCode, next: &str, refused: Option<&'static str>) -> Response<Body> {
    let refused = refused.map(|words| format!("<p class=\"banner bad\" role=\"alert\">{words}</p>"));
    let html = assets::LOGIN.replace("<!-- refused -->", &refused.unwrap_or_default());
    http::text(status, "text/html; charset=utf-8", html.replace("<!-- next -->", &escaped(next)))
}

/// Whether the page of another site sent a form. A browser says so where the connection can be trusted; what says
/// nothing is a program, or comes to an address where nothing is gained: a wrong token locks nobody out.
pub(super) fn is_of_another_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

/// Text as the value of an attribute in quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A field of a form or of a query string; empty when it is not there or cannot be read.
fn field(form: &str, name: &str) -> String {
    let value = form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| decode(value).ok()).unwrap_or_default()
}

/// The token that a program sends. Other schemes are not meant for us: a proxy in front may have asked for a password.
pub(super) fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let sent = headers.get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok()?.split_once(' '));
    let mut bearers = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearers.next().map(|(_, token)| token.trim())
}

fn session_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))
}

fn set_cookie(response: &mut Response<Body>, session: &str, age_s: i64, headers: &HeaderMap) {
    // Whoever claims https without it only keeps the cookie from himself, so the header needs no trust.
    let https = headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if https { "; Secure" } else { "" };
    let cookie = format!("{COOKIE_NAME}={session}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests;
