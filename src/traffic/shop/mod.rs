//! The shop of the demo: the pages that the synthetic visitors pretend to look at, for people, with the tracker on them.

use crate::http::{self, Body, Handler};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use std::net::SocketAddr;

const PAGE: &str = include_str!("index.html");

/// A path, what is there, and what it is.
type File = (&'static str, &'static str, &'static [u8]);

const FILES: [File; 3] = [
    ("/assets/shop.js", "text/javascript; charset=utf-8", include_bytes!("shop.js")),
    ("/assets/shop.css", "text/css; charset=utf-8", include_bytes!("shop.css")),
    ("/assets/shop.svg", "image/svg+xml", include_bytes!("shop.svg")),
];

/// Serves the shop: one page at every path, as its paths are the page's own business.
#[derive(Debug)]
pub struct Shop {
    page: String,
    policy: HeaderValue,
}

impl Shop {
    /// A shop whose pages send events to this ingest, and lead to the live page at this address.
    #[must_use]
    pub fn new(ingest: SocketAddr, query: SocketAddr) -> Shop {
        let (ingest, query) = (format!("http://{ingest}"), format!("http://{query}"));
        let page = PAGE.replace("{ingest}", &ingest).replace("{query}", &query);
        // Those of the live page, and the two lines that any page with a policy needs for the tracker.
        let policy = format!(
            "default-src 'self'; script-src 'self' {ingest}; connect-src {ingest}; object-src 'none'; base-uri 'none'; \
             form-action 'self'; frame-ancestors 'none'"
        );
        // An address has no character that a header could not have; were there one, nothing would be allowed.
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Shop { page, policy }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        let file = FILES.iter().find(|(at, _, _)| *at == path);
        let mut response = match file {
            _ if ![Method::GET, Method::HEAD].contains(method) => {
                let mut refused = http::error(StatusCode::METHOD_NOT_ALLOWED, "there is nothing to send here", None);
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                refused
            }
            Some((_, content_type, content)) => http::text(StatusCode::OK, content_type, *content),
            None if path.starts_with("/assets/") => http::error(StatusCode::NOT_FOUND, "there is no such file", None),
            None => http::text(StatusCode::OK, "text/html; charset=utf-8", self.page.clone()),
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        let common: [(HeaderName, &str); 3] =
            [(CACHE_CONTROL, "no-cache"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (REFERRER_POLICY, "strict-origin")];
        for (name, value) in common {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl Handler for Shop {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        http::discard(&head.headers, body).await;
        self.answer(&head.method, head.uri.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn get(path: &str) -> (StatusCode, String) {
        let shop = Shop::new("127.0.0.1:8081".parse().unwrap(), "[::1]:8080".parse().unwrap());
        let response = shop.answer(&Method::GET, path);
        assert!(response.headers().contains_key(CONTENT_SECURITY_POLICY));
        let status = response.status();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_page_is_at_every_path_and_knows_both_addresses() {
        for path in ["/", "/products/item-0001", "/search"] {
            let (status, page) = get(path).await;
            assert_eq!(status, StatusCode::OK);
            assert!(page.contains("src=\"http://127.0.0.1:8081/streamgauge.js\""), "{page}");
            assert!(page.contains("http://[::1]:8080/"), "{page}");
            assert!(!page.contains('{'), "{page}");
        }
        assert_eq!(get("/assets/shop.js").await.0, StatusCode::OK);
        assert_eq!(get("/assets/none.js").await.0, StatusCode::NOT_FOUND);
        let shop = Shop::new("127.0.0.1:8081".parse().unwrap(), "[::1]:8080".parse().unwrap());
        assert_eq!(shop.answer(&Method::POST, "/").status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    /// The content security policy forbids what is inline, so a browser would drop it without a word.
    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for banned in ["style=", "<style", " onclick", " onload", "javascript:", "http://", "https://"] {
            assert!(!PAGE.contains(banned), "{banned}");
        }
        for banned in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(FILES.iter().all(|(_, _, text)| !String::from_utf8_lossy(text).contains(banned)), "{banned}");
        }
    }
}
