//! What a page loads to send events: `GET /streamgauge.js`, and its types.
//!
//! `streamgauge.min.js` is made of `streamgauge.js` by `scripts/tracker.sh`, which needs npm. Its first line says of which
//! text, and is not served.

use crate::http::{self, Body};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderMap, HeaderName,
    HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use std::io::Write;

const MADE: &str = include_str!("streamgauge.min.js");
const TYPES: &str = include_str!("streamgauge.d.ts");
/// For a browser that says by a header that its user does not want to be followed. The real script would find out by
/// itself, where the browser tells scripts of it too.
const NOTHING: &str = "window.streamgauge=()=>{};\
    try{Object.keys(localStorage).map(n=>n.startsWith(\"streamgauge:\")&&localStorage.removeItem(n))}catch{}\n";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The header of Global Privacy Control.
const PRIVACY: &str = "sec-gpc";
/// Pages of any site may load these files, and see what is in them. A change reaches all pages within the hour; until it
/// is there they use what they have.
const COMMON: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "public, max-age=3600, stale-while-revalidate=86400"),
    (VARY, "accept-encoding, sec-gpc"),
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// The files, ready to be sent.
#[derive(Debug)]
pub(super) struct Tracker {
    script: File,
    nothing: File,
    types: File,
}

/// A text, as it is and compressed.
#[derive(Debug)]
struct File {
    content_type: &'static str,
    plain: Bytes,
    compressed: Bytes,
    /// Weak: it stands for the text in either form.
    tag: HeaderValue,
}

impl Tracker {
    pub(super) fn new() -> Tracker {
        Tracker { script: File::of(SCRIPT, script()), nothing: File::of(SCRIPT, NOTHING), types: File::of(TEXT, TYPES) }
    }

    /// The answer to a request for one of the files; nothing if it is for anything else. No key is asked for: what is
    /// here everybody may have.
    pub(super) fn answer(&self, head: &Parts) -> Option<Response<Body>> {
        let wants_nothing = head.headers.get(PRIVACY).is_some_and(|value| value.as_bytes() == b"1");
        let file = match head.uri.path() {
            "/streamgauge.js" if wants_nothing => &self.nothing,
            "/streamgauge.js" => &self.script,
            "/streamgauge.d.ts" => &self.types,
            _ => return None,
        };
        if ![Method::GET, Method::HEAD].contains(&head.method) {
            let mut refused = http::error(StatusCode::METHOD_NOT_ALLOWED, "this file can only be read: use GET", None);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(refused);
        }
        Some(file.response(&head.headers))
    }
}

impl File {
    fn of(content_type: &'static str, text: &'static str) -> File {
        let plain = Bytes::from_static(text.as_bytes());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let compressed = encoder.write_all(&plain).and_then(|()| encoder.finish());
        // Memory takes all that is written to it; if it did not, there would be no harm in sending what is plain.
        let compressed = compressed.map_or_else(|_| plain.clone(), Bytes::from);
        let tag = format!("W/\"{:08x}{:x}\"", crc32fast::hash(&plain), plain.len());
        let tag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("W/\"0\""));
        File { content_type, plain, compressed, tag }
    }

    fn response(&self, asked: &HeaderMap) -> Response<Body> {
        let mut response = if http::has_already(asked, &self.tag) {
            http::not_modified()
        } else if takes_gzip(asked) {
            let mut response = http::text(StatusCode::OK, self.content_type, self.compressed.clone());
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            http::text(StatusCode::OK, self.content_type, self.plain.clone())
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.tag.clone());
        for (name, value) in COMMON {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The script without the line that says of what it was made.
fn script() -> &'static str {
    MADE.split_once('\n').map_or(MADE, |(_, script)| script)
}

/// Whether a client names gzip as something that it takes.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let quality = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), |quality| quality.trim().parse::<f32>());
        name.trim().eq_ignore_ascii_case("gzip") && quality.is_ok_and(|quality| quality > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use http_body_util::BodyExt;
    use hyper::Request;
    use hyper::header::IF_NONE_MATCH;
    use std::io::Read;

    fn answer(method: Method, path: &str, headers: &[(&str, &str)]) -> Option<Response<Body>> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Tracker::new().answer(&request.body(()).unwrap().into_parts().0)
    }

    fn get(path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        answer(Method::GET, path, headers).unwrap()
    }

    async fn bytes(response: Response<Body>) -> Vec<u8> {
        response.into_body().collect().await.unwrap().to_bytes().to_vec()
    }

    #[test]
    fn what_is_served_was_made_of_the_source() {
        let sum = ring::digest::digest(&ring::digest::SHA256, include_bytes!("streamgauge.js"));
        let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let (line, script) = MADE.split_once('\n').unwrap();
        assert!(line.contains(&sum), "run scripts/tracker.sh: streamgauge.js was changed since\n{line}\n{sum}");
        assert!(script.starts_with('(') && script.len() > 1_000, "{script}");
    }

    #[tokio::test]
    async fn the_script_has_at_most_2048_bytes() {
        let response = get("/streamgauge.js", &[("accept-encoding", "gzip, deflate, br")]);
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        let compressed = bytes(response).await;
        assert!(compressed.len() <= 2_048, "{} bytes", compressed.len());
        let mut text = String::new();
        GzDecoder::new(&compressed[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text.as_bytes(), bytes(get("/streamgauge.js", &[])).await);
        assert_eq!(text, script());
    }

    #[tokio::test]
    async fn whoever_has_a_file_is_told_so() {
        for path in ["/streamgauge.js", "/streamgauge.js?v=1", "/streamgauge.d.ts"] {
            let tag = get(path, &[]).headers()[ETAG].to_str().unwrap().to_owned();
            let again = get(path, &[(IF_NONE_MATCH.as_str(), &tag)]);
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(again.headers()[ETAG], tag.as_str());
            assert!(again.headers().contains_key(CACHE_CONTROL) && again.headers().contains_key(VARY));
            assert_eq!(bytes(again).await, b"");
            let stale = get(path, &[(IF_NONE_MATCH.as_str(), "W/\"1\"")]);
            assert_eq!(stale.status(), StatusCode::OK);
        }
    }

    #[tokio::test]
    async fn who_does_not_want_to_be_followed_gets_nothing() {
        let (nothing, script) = (get("/streamgauge.js", &[("sec-gpc", "1")]), get("/streamgauge.js", &[]));
        assert_ne!(nothing.headers()[ETAG], script.headers()[ETAG]);
        assert!(nothing.headers()[VARY].to_str().unwrap().contains("sec-gpc"));
        let text = String::from_utf8(bytes(nothing).await).unwrap();
        assert!(!text.contains("fetch") && !text.contains("Beacon"), "{text}");
        assert_eq!(get("/streamgauge.js", &[("sec-gpc", "0")]).headers()[ETAG], script.headers()[ETAG]);
    }

    #[test]
    fn pages_of_any_site_may_load_it_and_nobody_may_write() {
        let response = get("/streamgauge.js", &[("origin", "https://shop.example")]);
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(response.headers()["cross-origin-resource-policy"], "cross-origin");
        assert_eq!(response.headers()["content-type"], SCRIPT);
        assert_eq!(answer(Method::HEAD, "/streamgauge.d.ts", &[]).unwrap().status(), StatusCode::OK);
        for method in [Method::POST, Method::OPTIONS, Method::DELETE] {
            let refused = answer(method, "/streamgauge.js", &[]).unwrap();
            assert_eq!(
                (refused.status(), &refused.headers()[ALLOW]),
                (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
            );
        }
        for other in ["/events", "/streamgauge", "/streamgauge.js/", "/x/streamgauge.js"] {
            assert!(answer(Method::GET, other, &[]).is_none(), "{other}");
        }
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let takes = |value: &str| takes_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, value.parse().unwrap())]));
        for yes in ["gzip", "br, GZip", "deflate;q=0.5,gzip;q=0.1", "gzip; q=1.0"] {
            assert!(takes(yes), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip;q=0.0", "gzip;q=x", "xgzip", "identity"] {
            assert!(!takes(no), "{no}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
