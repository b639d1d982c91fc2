use super::remote_read::Refused;
use crate::http::{self, Body};
use crate::store::StoreError;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the query side does not start.
#[derive(Debug, thiserror::Error)]
pub enum Misconfigured {
    /// Others could read the counts and nobody said that they may.
    #[error(
        "query.listen = \"{0}\" can be reached by other machines: set query.token or query.token_file, or \
         query.open = true to let everybody read, or listen on 127.0.0.1"
    )]
    Public(SocketAddr),
    /// It is unclear which token counts.
    #[error("query.token and query.token_file are both set: keep one of them")]
    TwoTokens,
    /// The token cannot protect anything.
    #[error("the query token is empty or cannot stand in a header: use printable ASCII without spaces")]
    Token,
    /// The token cannot be read.
    #[error("query.token_file `{}` cannot be read: {error}", .path.display())]
    TokenFile {
        /// The configured path.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// An origin that no browser sends.
    #[error(
        "query.allowed_origins: `{0}` is not an origin: write it like \"https://app.example.com\" or \
         \"http://localhost:3000\", without a path"
    )]
    Origin(String),
    /// A name that no request has.
    #[error(
        "query.allowed_hosts: `{0}` is not the name of a host: write it like \"counts.example.com\", without a port"
    )]
    HostName(String),
}

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    /// The request is for a name that need not lead to this machine.
    #[error(
        "this is for `{0}`, but without a token only localhost and addresses are answered: put the name into \
         query.allowed_hosts, or set query.token"
    )]
    OtherHost(String),
    /// The request carries no token, or a wrong one.
    #[error("this needs the header `Authorization: Bearer …` with the query token, or a log-in at /login")]
    Unauthorized,
    /// The token is wrong, and too many of that address were before it.
    #[error("this token is wrong, and too many before it were: try again in {wait_s} s")]
    TooManyWrongTokens {
        /// Until the next wrong one is answered as such.
        wait_s: i64,
    },
    /// The page of another site sent a form of ours.
    #[error("a page of another site sent this form: open /login itself")]
    OtherSite,
    /// Something that is sent to be read, and is too large for that.
    #[error("this is too large for a log-in")]
    TooLarge,
    /// The live view needs a counter.
    #[error("`counter` is missing: name one of {0}")]
    NoCounter(String),
    /// Nothing is served there.
    #[error(
        "nothing is served at `{0}`: try /, /api/v1/counters, /api/v1/counters/NAME, /api/v1/status, /api/v1/live, \
         /api/v1/tail, /api/v1/prometheus/read or /openapi.json"
    )]
    NoSuchPath(String),
    /// The path exists, but takes other methods.
    #[error("this takes {0}")]
    Method(&'static str),
    /// A part of the query string is not text.
    #[error("`{0}` is not UTF-8 once its % escapes are decoded")]
    NotUtf8(String),
    /// A parameter that the path does not have.
    #[error("unknown parameter `{name}`: {hint}")]
    UnknownParameter {
        /// As the client wrote it.
        name: String,
        /// What it may have meant.
        hint: String,
    },
    /// A parameter that says two things.
    #[error("parameter `{0}` is given twice")]
    Twice(&'static str),
    /// There is no such counter.
    #[error("unknown counter `{name}`: {hint}")]
    UnknownCounter {
        /// As the client wrote it.
        name: String,
        /// The nearest name, or the names that exist.
        hint: String,
    },
    /// The counter has no such window.
    #[error("counter `{counter}` has no window `{window}`: it has {known}")]
    UnknownWindow {
        /// The counter.
        counter: String,
        /// As the client wrote it.
        window: String,
        /// The windows that it has.
        known: String,
    },
    /// A time that cannot be read.
    #[error(
        "`{value}` is not a time: write unix seconds (1760000000), RFC 3339 (2026-01-31T12:00:00Z, with a + as %2B), \
         a time ago (-15m) or now"
    )]
    Time {
        /// `from` or `to`.
        parameter: &'static str,
        /// As the client wrote it.
        value: String,
    },
    /// A time that no calendar has, mostly because it is in milliseconds.
    #[error("`{value}` is too far away: times are in seconds, not in milliseconds")]
    TooFar {
        /// `from` or `to`.
        parameter: &'static str,
        /// As the client wrote it.
        value: String,
    },
    /// The range ends before it begins.
    #[error("the range ends before it begins: `from` must not be later than `to` (which is now unless given)")]
    Backwards,
    /// The range begins where nothing can be yet.
    #[error("the range begins in the future: `from` must not be later than a minute from now")]
    Future,
    /// Not a number of keys.
    #[error("`{0}` is not a number of keys: `top` is from 0 to 10000")]
    Top(String),
    /// Not an outcome of an event.
    #[error("`{0}` is not an outcome: it is accepted or refused")]
    Outcome(String),
    /// One key is wanted of a counter that has none.
    #[error("counter `{0}` has no keys: it has no `by`, so leave `key` out")]
    NoKeys(String),
    /// The answer would take more reading than one question may cause.
    #[error("this would read {cells} counts, and one question may read {limit}: {hint}")]
    TooMuch {
        /// Buckets, or buckets × keys.
        cells: u64,
        /// The most that is allowed.
        limit: u64,
        /// What to ask instead.
        hint: String,
    },
    /// The answers that others have not taken yet leave no room for this one.
    #[error("too many large answers wait for their clients to take them: try again, or ask for less")]
    Unsent,
    /// A remote read that is not answered.
    #[error(transparent)]
    RemoteRead(#[from] Refused),
    /// The store does not answer.
    #[error("the counts cannot be read at the moment: {0}")]
    Store(#[from] StoreError),
}

impl QueryError {
    /// What the client is told.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            QueryError::OtherHost(_) => StatusCode::MISDIRECTED_REQUEST,
            QueryError::Unauthorized => StatusCode::UNAUTHORIZED,
            QueryError::TooManyWrongTokens { .. } => StatusCode::TOO_MANY_REQUESTS,
            QueryError::OtherSite => StatusCode::FORBIDDEN,
            QueryError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            QueryError::NoSuchPath(_) | QueryError::UnknownCounter { .. } => StatusCode::NOT_FOUND,
            QueryError::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            QueryError::RemoteRead(refused) => refused.status(),
            QueryError::Store(_) | QueryError::Unsent => StatusCode::SERVICE_UNAVAILABLE,
            QueryError::NoCounter(_)
            | QueryError::NotUtf8(_)
            | QueryError::UnknownParameter { .. }
            | QueryError::Twice(_)
            | QueryError::UnknownWindow { .. }
            | QueryError::Time { .. }
            | QueryError::TooFar { .. }
            | QueryError::Backwards
            | QueryError::Future
            | QueryError::Top(_)
            | QueryError::Outcome(_)
            | QueryError::NoKeys(_)
            | QueryError::TooMuch { .. } => StatusCode::BAD_REQUEST,
        }
    }

    /// The parameter that is to blame, if it is one.
    fn field(&self) -> Option<&str> {
        match self {
            QueryError::UnknownParameter { name, .. } => Some(name),
            QueryError::Twice(name) => Some(name),
            QueryError::Time { parameter, .. } | QueryError::TooFar { parameter, .. } => Some(parameter),
            QueryError::UnknownWindow { .. } | QueryError::TooMuch { .. } => Some("window"),
            QueryError::Backwards | QueryError::Future => Some("from"),
            QueryError::NoCounter(_) => Some("counter"),
            QueryError::Top(_) => Some("top"),
            QueryError::Outcome(_) => Some("outcome"),
            QueryError::NoKeys(_) => Some("key"),
            _ => None,
        }
    }

    /// When it is worth trying again.
    pub(super) fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            QueryError::Store(_) | QueryError::Unsent => Some(HeaderValue::from_static("1")),
            QueryError::TooManyWrongTokens { wait_s } => Some(HeaderValue::from(*wait_s)),
            _ => None,
        }
    }

    /// The answer to the client.
    pub(super) fn response(&self) -> Response<Body> {
        let mut response = http::error(self.status(), &self.to_string(), self.field());
        let header = match self {
            QueryError::Unauthorized => Some((WWW_AUTHENTICATE, "Bearer realm=\"streamgauge\"")),
            QueryError::Method(allowed) => Some((ALLOW, *allowed)),
            _ => None,
        };
        if let Some(after) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, after);
        }
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
