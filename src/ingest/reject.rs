use super::batch::Fault;
use super::format::Malformed;
use super::inflate::{Broken, Encoding};
use super::reason::Reason;
use crate::event::Invalid;
use crate::http::{self, Body, Unreceived};
use hyper::header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::time::Duration;

/// How long a client is asked to wait when an event could not be stored.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");

/// Why a request as a whole was not taken. Its type decides status, headers and text, and nothing else does.
///
/// The texts are for clients: they say what to send instead, and nothing of what is behind ingest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reject {
    #[error("nothing is served here: POST events to /events")]
    NotFound,
    #[error("events are sent by POST")]
    Method,
    #[error("this content type is not taken: send application/json, application/x-ndjson or text/plain")]
    ContentType,
    #[error("this Content-Encoding is not taken: compress by gzip, deflate or zstd, or not at all")]
    ContentEncoding,
    #[error("several encodings on top of each other are not taken: compress once")]
    ContentEncodings,
    #[error("the body is larger than the {0} bytes that are allowed: send fewer events at a time")]
    BodyTooLarge(u64),
    #[error("the body becomes larger than the {0} bytes that are allowed: send fewer events at a time")]
    InflatedTooLarge(u64),
    #[error("the body {broken} (Content-Encoding: {})", .encoding.name())]
    NotInflatable { encoding: Encoding, broken: Broken },
    #[error("{found} events in one request, at most {most} are allowed: send fewer at a time")]
    TooManyEvents { found: usize, most: usize },
    #[error("the body did not arrive within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    #[error("the body broke off: {0}")]
    BrokeOff(String),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the parameter `dry_run` is 1 or 0")]
    DryRun,
    #[error(transparent)]
    SentAt(Invalid),
    #[error(
        "a write key is needed: send it in the header X-Write-Key, as Authorization: Bearer, as the parameter write_key, \
         or as `write_key` beside `events`"
    )]
    NoKey,
    #[error("this write key is not known")]
    UnknownKey,
    #[error("pages of this origin may not send with this write key")]
    Origin,
    #[error("this site takes no events from bots")]
    Bot,
    #[error("too many requests with this write key: try again in {0} s")]
    KeyRate(u64),
    #[error("too many requests from this address: try again in {0} s")]
    AddressRate(u64),
    #[error("{}", nothing_accepted(.0))]
    NothingAccepted(Vec<Fault>),
    #[error("an event is larger than the log takes: send smaller events")]
    EventTooLarge,
    #[error("too much is being received at the moment: send the events again later")]
    Busy,
    #[error("the events may not have been stored: send them again later, with the same event_id they count once")]
    NotStored,
}

fn nothing_accepted(faults: &[Fault]) -> String {
    match faults {
        [one] => one.error.clone(),
        many => format!("none of the {} events can be taken: see `errors`", many.len()),
    }
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(flatten)]
    counts: Option<Counts<'a>>,
}

#[derive(Serialize)]
struct Counts<'a> {
    accepted: usize,
    rejected: usize,
    event_ids: [&'a str; 0],
    errors: &'a [Fault],
}

impl From<Unreceived> for Reject {
    fn from(why: Unreceived) -> Reject {
        match why {
            Unreceived::TooLarge(most) => Reject::BodyTooLarge(most),
            Unreceived::TimedOut(within) => Reject::TimedOut(within),
            Unreceived::BrokeOff(why) => Reject::BrokeOff(why),
            Unreceived::NoRoom => Reject::Busy,
        }
    }
}

impl Reject {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Reject::NotFound => StatusCode::NOT_FOUND,
            Reject::Method => StatusCode::METHOD_NOT_ALLOWED,
            Reject::ContentType | Reject::ContentEncoding | Reject::ContentEncodings => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Reject::BodyTooLarge(_)
            | Reject::InflatedTooLarge(_)
            | Reject::TooManyEvents { .. }
            | Reject::EventTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reject::TimedOut(_) => StatusCode::REQUEST_TIMEOUT,
            Reject::BrokeOff(_)
            | Reject::NotInflatable { .. }
            | Reject::Malformed(_)
            | Reject::DryRun
            | Reject::SentAt(_)
            | Reject::NothingAccepted(_) => StatusCode::BAD_REQUEST,
            Reject::NoKey | Reject::UnknownKey => StatusCode::UNAUTHORIZED,
            Reject::Origin | Reject::Bot => StatusCode::FORBIDDEN,
            Reject::KeyRate(_) | Reject::AddressRate(_) => StatusCode::TOO_MANY_REQUESTS,
            Reject::Busy | Reject::NotStored => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it is counted by.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Reject::NotFound | Reject::Method => Reason::Address,
            Reject::ContentType | Reject::ContentEncoding | Reject::ContentEncodings => Reason::Format,
            Reject::BodyTooLarge(_)
            | Reject::InflatedTooLarge(_)
            | Reject::TooManyEvents { .. }
            | Reject::EventTooLarge => Reason::TooLarge,
            Reject::TimedOut(_) | Reject::BrokeOff(_) => Reason::Incomplete,
            Reject::NotInflatable { .. } | Reject::Malformed(_) => Reason::Malformed,
            Reject::DryRun | Reject::SentAt(_) => Reason::Parameter,
            Reject::NoKey => Reason::NoKey,
            Reject::UnknownKey => Reason::UnknownKey,
            Reject::Origin => Reason::Origin,
            Reject::Bot => Reason::Bot,
            Reject::KeyRate(_) => Reason::KeyRate,
            Reject::AddressRate(_) => Reason::AddressRate,
            Reject::NothingAccepted(_) => Reason::NoEvent,
            Reject::Busy => Reason::Busy,
            Reject::NotStored => Reason::NotStored,
        }
    }

    /// Whether the client may still be sending a body that nobody wants.
    pub(super) fn leaves_body(&self) -> bool {
        matches!(
            self,
            Reject::NotFound
                | Reject::Method
                | Reject::ContentType
                | Reject::ContentEncoding
                | Reject::ContentEncodings
                | Reject::DryRun
                | Reject::SentAt(_)
                | Reject::NoKey
                | Reject::UnknownKey
                | Reject::Origin
                | Reject::KeyRate(_)
                | Reject::AddressRate(_)
                | Reject::BodyTooLarge(_)
                | Reject::Busy
        )
    }

    /// The field or the parameter at fault, if it is one.
    pub(super) fn field(&self) -> Option<&str> {
        match self {
            Reject::Malformed(malformed) => malformed.field(),
            Reject::DryRun => Some("dry_run"),
            Reject::SentAt(invalid) => invalid.field(),
            Reject::NothingAccepted(faults) if faults.len() == 1 => faults[0].field.as_deref(),
            _ => None,
        }
    }

    pub(super) fn response(&self) -> Response<Body> {
        let counts = match self {
            Reject::NothingAccepted(faults) => {
                Some(Counts { accepted: 0, rejected: faults.len(), event_ids: [], errors: faults })
            }
            _ => None,
        };
        let refusal = Refusal { error: self.to_string(), field: self.field(), counts };
        let mut response = http::json(self.status(), &refusal);
        let headers = response.headers_mut();
        match self {
            Reject::Method => drop(headers.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"))),
            Reject::Busy | Reject::NotStored => drop(headers.insert(RETRY_AFTER, RETRY_AFTER_S)),
            Reject::KeyRate(wait_s) | Reject::AddressRate(wait_s) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*wait_s));
            }
            Reject::NoKey | Reject::UnknownKey => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Reject::TimedOut(_) => drop(headers.insert(CONNECTION, HeaderValue::from_static("close"))),
            _ => {}
        }
        response
    }
}
