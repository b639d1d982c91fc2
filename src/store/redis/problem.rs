use crate::store::StoreError;
use ::redis::{ErrorKind, RedisError};

/// What Redis answers while it cannot do it, and what to do if that does not pass.
const PASSING: [(&str, &str); 18] = [
    ("LOADING", "it is loading its data; this passes"),
    ("TRYAGAIN", "a cluster slot is being moved; this passes"),
    ("CLUSTERDOWN", "its cluster is down: look at its nodes"),
    ("MASTERDOWN", "it is a replica that lost its master"),
    ("MOVED", "the key is on another node of a cluster; this passes, once store.redis.cluster_nodes names its nodes"),
    ("ASK", "a cluster slot is being moved; this passes"),
    ("CROSSSLOT", "it is a cluster that cannot take these keys together"),
    ("READONLY", "it is a replica: store.redis.url must name the master"),
    ("OOM", "its memory is full (maxmemory): give it more, or keep fewer windows and keys"),
    ("MISCONF", "it cannot save to its disk: look at its log"),
    ("NOREPLICAS", "it has too few replicas to accept writes (min-replicas-to-write)"),
    ("BUSY", "another client's script keeps it busy"),
    ("EXECABORT", "it refused the transaction"),
    ("NOSCRIPT", "it forgot the script that it was just given"),
    ("NOAUTH", "it wants a password: put it into store.redis.url"),
    ("WRONGPASS", "it refused the password of store.redis.url"),
    ("NOPERM", "its ACL forbids this user a command that streamgauge needs"),
    ("UNBLOCKED", "it became a replica; this passes"),
];

/// What of ours is in the store is not what it should be.
const CORRUPT: [&str; 2] = ["CORRUPT", "WRONGTYPE"];

pub(super) fn store_error(place: &str, error: &RedisError) -> StoreError {
    let place = place.to_owned();
    let text = told(error);
    if matches!(error.kind(), ErrorKind::Parse | ErrorKind::UnexpectedReturnType)
        || CORRUPT.iter().any(|code| has_code(error, &text, code))
    {
        return StoreError::Corrupt { place, problem: text };
    }
    if let Some((_, hint)) = PASSING.iter().find(|(code, _)| has_code(error, &text, code)) {
        return StoreError::Unavailable { place, problem: format!("{hint} ({text})") };
    }
    let problem = match error.kind() {
        ErrorKind::AuthenticationFailed => format!("it refused the login of store.redis.url ({text})"),
        _ if text.contains("cluster support disabled") => {
            format!("it is no cluster: leave store.redis.cluster_nodes empty ({text})")
        }
        _ if error.is_timeout() => "it did not answer in time".to_owned(),
        _ if error.is_connection_refusal() => "nothing listens there: start Redis, or mend store.redis.url".to_owned(),
        _ => text,
    };
    StoreError::Unavailable { place, problem }
}

/// Whether another connection may do better: this one is broken or hangs, or it leads to a node that lost its role.
pub(super) fn needs_new_connection(error: &RedisError) -> bool {
    let text = told(error);
    error.is_io_error()
        || error.is_timeout()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::Parse)
        || is_elsewhere(error)
        || ["READONLY", "MASTERDOWN", "UNBLOCKED", "NOAUTH"].iter().any(|code| has_code(error, &text, code))
}

/// Whether another node of a cluster has the keys.
pub(super) fn is_elsewhere(error: &RedisError) -> bool {
    has_code(error, &told(error), "MOVED")
}

/// What the server said where it was the server: a pipeline's error hides it behind its own words.
fn told(error: &RedisError) -> String {
    match error.clone().into_server_errors().as_deref() {
        Some([(_, first), ..]) => match first.details() {
            Some(details) => format!("{} {details}", first.code()),
            None => first.code().to_owned(),
        },
        _ => error.to_string(),
    }
}

/// Before version 7, Redis wraps what fails inside a script into an ERR with the code somewhere in the text.
fn has_code(error: &RedisError, text: &str, code: &str) -> bool {
    match text.split_whitespace().next() {
        Some(first) if first == code => true,
        _ if error.code() == Some(code) => true,
        Some("ERR") => text.split(|c: char| !c.is_ascii_uppercase()).any(|word| word == code),
        _ => false,
    }
}
