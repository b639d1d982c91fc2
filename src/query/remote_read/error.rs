use super::{MOST_MATCHERS, MOST_QUERIES, MOST_REGEXES, MOST_SAMPLES, MOST_SERIES, PATIENCE};
use crate::http::Unreceived;
use hyper::StatusCode;

/// Why a remote read is not answered. The first line of it is what a Prometheus shows as its warning.
#[derive(Debug, thiserror::Error)]
pub(in crate::query) enum Refused {
    /// The body did not come, or not as it may be.
    #[error("{0}")]
    Unreceived(#[from] Unreceived),
    /// The body says that it is something else.
    #[error("this is for a Prometheus with remote_read: it takes application/x-protobuf, encoded with snappy")]
    ContentType,
    /// The body is not snappy.
    #[error("the body is no snappy block: {0}")]
    Snappy(String),
    /// The body is too large once it is inflated.
    #[error("the body has {found} bytes once inflated, and at most {most} are allowed")]
    Inflated {
        /// What its head says.
        found: usize,
        /// What is allowed.
        most: usize,
    },
    /// The body is no message.
    #[error("the body is no ReadRequest of Prometheus remote read: {0}")]
    Message(String),
    /// The client wants an answer in another form only.
    #[error("only the response type SAMPLES is answered: let accepted_response_types hold it, or leave it out")]
    ResponseType,
    /// More selectors than one request may have.
    #[error("{0} queries in one request, and at most {MOST_QUERIES} are answered")]
    Queries(usize),
    /// More matchers than one request may have.
    #[error("{0} matchers in one request, and at most {MOST_MATCHERS} are looked at")]
    Matchers(usize),
    /// More regular expressions than one request may have.
    #[error("{0} regular expressions in one request, and at most {MOST_REGEXES} are compiled: join them by |")]
    Regexes(usize),
    /// A matcher of a kind that is not known.
    #[error("matcher of label `{0}`: it is none of =, !=, =~ and !~")]
    Kind(String),
    /// A regular expression that cannot be used.
    #[error("matcher of label `{label}`: `{regex}` is refused: {why}")]
    Regex {
        /// The label.
        label: String,
        /// The expression, or its begin.
        regex: String,
        /// What is wrong with it, or that it is too large.
        why: String,
    },
    /// More series than one answer may have.
    #[error(
        "the selector matches more than {MOST_SERIES} series: match `counter`, `window` and `key`, or ask for \
         streamgauge_window_total, which has no keys"
    )]
    Series,
    /// More samples than one answer may have.
    #[error(
        "the answer would have more than {MOST_SAMPLES} samples: match `counter`, `window` and `key`, or ask for a \
         coarser window or a shorter range"
    )]
    Samples,
    /// It takes too long.
    #[error("the selector takes more than {} s to match: ask for less, or match by = in place of =~", PATIENCE.as_secs())]
    Slow,
}

impl Refused {
    /// What the client is told.
    pub(in crate::query) fn status(&self) -> StatusCode {
        match self {
            Refused::Unreceived(Unreceived::TooLarge(_)) | Refused::Inflated { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refused::Unreceived(Unreceived::TimedOut(_)) => StatusCode::REQUEST_TIMEOUT,
            Refused::Unreceived(Unreceived::NoRoom) => StatusCode::SERVICE_UNAVAILABLE,
            Refused::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
