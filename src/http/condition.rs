//! Requests of clients that have an answer already, and name it by its tag.

use super::Body;
use hyper::header::{HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};

/// Whether `If-None-Match` names the tag, or any. Tags are compared weakly: with or without `W/`.
pub fn has_already(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let wanted = opaque(tag.as_bytes());
    let sent = asked.get_all(IF_NONE_MATCH).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    sent.map(<[u8]>::trim_ascii).any(|sent| sent == b"*" || opaque(sent) == wanted)
}

/// The answer to a client that has it.
pub fn not_modified() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_and_one_of_them_is_enough() {
        let tag = HeaderValue::from_static("W/\"a\"");
        let has = |sent: &str| has_already(&HeaderMap::from_iter([(IF_NONE_MATCH, sent.parse().unwrap())]), &tag);
        assert!(has("W/\"a\"") && has("\"a\"") && has("\"b\" , W/\"a\"") && has("*"));
        assert!(!has("\"b\"") && !has("a") && !has("") && !has_already(&HeaderMap::new(), &tag));
    }
}
