use crate::http::{self, Body};
use hyper::{Response, StatusCode};

/// A file of the live page. They are part of the program: there is nothing to install beside it.
#[derive(Debug)]
pub(super) struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

const ASSETS: &[Asset] = &[
    Asset { path: "/", content_type: "text/html; charset=utf-8", content: include_bytes!("page/index.html") },
    Asset {
        path: "/assets/app.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_bytes!("page/app.js"),
    },
    Asset {
        path: "/assets/chart.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_bytes!("page/chart.js"),
    },
    Asset {
        path: "/assets/style.css",
        content_type: "text/css; charset=utf-8",
        content: include_bytes!("page/style.css"),
    },
    Asset { path: "/openapi.json", content_type: "application/json", content: include_bytes!("openapi.json") },
    Asset { path: "/assets/icon.svg", content_type: "image/svg+xml", content: include_bytes!("page/icon.svg") },
];

impl Asset {
    /// The file that is served at a path.
    pub(super) fn at(path: &str) -> Option<&'static Asset> {
        ASSETS.iter().find(|asset| asset.path == path)
    }

    /// The file, as an answer.
    pub(super) fn response(&self) -> Response<Body> {
        http::text(StatusCode::OK, self.content_type, self.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(Asset::at(path).unwrap().content).unwrap()
    }

    /// The content security policy forbids what is inline, so a browser would drop it without a word.
    #[test]
    fn the_page_holds_nothing_inline_and_nothing_from_elsewhere() {
        let page = text("/");
        for banned in ["style=", "<style", " onclick", " onload", "javascript:", "http://", "https://"] {
            assert!(!page.contains(banned), "{banned}");
        }
        for banned in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"] {
            assert!(!text("/assets/app.js").contains(banned) && !text("/assets/chart.js").contains(banned), "{banned}");
        }
    }

    #[test]
    fn everything_that_the_page_loads_is_served() {
        let quoted: Vec<&str> = text("/").split('"').filter(|part| part.starts_with("/assets/")).collect();
        assert!(quoted.len() >= 3);
        quoted.into_iter().for_each(|path| assert!(Asset::at(path).is_some(), "{path}"));
    }
}
