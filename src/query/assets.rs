use crate::http::{self, Body};
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};

/// A file of the live page. They are part of the program: there is nothing to install beside it.
#[derive(Debug)]
pub(super) struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The page itself, and the form that stands before it where a token is asked for.
const PAGE: &str = include_str!("page/index.html");
pub(super) const LOGIN: &str = include_str!("page/login.html");

/// What the API is, for programs.
const DOCUMENT: &Asset =
    &Asset { path: "/openapi.json", content_type: "application/json", content: include_bytes!("openapi.json") };

/// What whoever is not logged in may load: what the form looks like.
const PUBLIC: [&str; 2] = ["/assets/style.css", "/assets/icon.svg"];

macro_rules! assets {
    ($($name:literal: $content_type:expr,)+) => {
        &[$(Asset {
            path: concat!("/assets/", $name),
            content_type: $content_type,
            content: include_bytes!(concat!("page/", $name)),
        }),+]
    };
}

const ASSETS: &[Asset] = assets! {
    "app.js": SCRIPT,
    "banners.js": SCRIPT,
    "chart.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "keys.js": SCRIPT,
    "live.js": SCRIPT,
    "partitions.js": SCRIPT,
    "pickers.js": SCRIPT,
    "pipeline.js": SCRIPT,
    "poll.js": SCRIPT,
    "rates.js": SCRIPT,
    "series.js": SCRIPT,
    "tiles.js": SCRIPT,
    "style.css": STYLE,
    "icon.svg": "image/svg+xml",
    "vendor/uPlot.iife.min.js": SCRIPT,
    "vendor/uPlot.min.css": STYLE,
    "vendor/uPlot-LICENSE": "text/plain; charset=utf-8",
};

impl Asset {
    /// The file that is served at a path.
    pub(super) fn at(path: &str) -> Option<&'static Asset> {
        ASSETS.iter().chain([DOCUMENT]).find(|asset| asset.path == path)
    }

    /// Whether those who are not logged in may load it.
    pub(super) fn is_public(&self) -> bool {
        PUBLIC.contains(&self.path)
    }

    /// The file, as an answer.
    pub(super) fn response(&self) -> Response<Body> {
        file(self.content_type, self.content)
    }
}

/// The page, with a way out if there is a log-in.
pub(super) fn page(has_login: bool) -> Response<Body> {
    if has_login {
        return file(HTML, PAGE.replace("data-login=\"off\"", "data-login=\"on\""));
    }
    file(HTML, PAGE)
}

fn file(content_type: &'static str, content: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = http::text(StatusCode::OK, content_type, content);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content security policy forbids what is inline, so a browser would drop it without a word.
    #[test]
    fn the_pages_hold_nothing_inline_and_nothing_from_elsewhere() {
        for page in [PAGE, LOGIN] {
            for banned in ["style=", "<style", " onclick", " onload", "javascript:", "http://", "https://"] {
                assert!(!page.contains(banned), "{banned}");
            }
        }
        let ours = ASSETS.iter().filter(|asset| asset.content_type == SCRIPT && !asset.path.contains("/vendor/"));
        for asset in ours {
            let text = std::str::from_utf8(asset.content).unwrap();
            assert!(text.lines().count() <= 500, "{}", asset.path);
            for banned in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"] {
                assert!(!text.contains(banned), "{}: {banned}", asset.path);
            }
        }
    }

    #[test]
    fn everything_that_the_pages_load_is_served() {
        let scripts = ASSETS.iter().filter(|asset| asset.content_type == SCRIPT);
        let texts = scripts.map(|asset| std::str::from_utf8(asset.content).unwrap()).chain([PAGE, LOGIN]);
        let quoted: Vec<&str> =
            texts.flat_map(|text| text.split('"')).filter(|part| part.starts_with("/assets/")).collect();
        assert!(quoted.len() >= 15, "{quoted:?}");
        quoted.into_iter().for_each(|path| assert!(Asset::at(path).is_some(), "{path}"));
    }

    #[test]
    fn the_form_loads_only_what_everybody_may_load() {
        let loaded = LOGIN.split('"').filter(|part| part.starts_with("/assets/"));
        loaded.for_each(|path| assert!(PUBLIC.contains(&path), "{path}"));
    }

    #[test]
    fn a_way_out_is_shown_where_there_is_a_way_in() {
        assert_eq!(PAGE.matches("data-login=\"off\"").count(), 1);
    }
}
