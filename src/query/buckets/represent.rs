//! In which form an answer goes out, and whether the client has it already.

use super::Answer;
use super::csv::csv;
use crate::http::{self, Body};
use ahash::RandomState;
use hyper::header::{ACCEPT, CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, VARY};
use hyper::{Response, StatusCode};

/// Seeds of a tag: the same in every process, so that a client may ask another one.
const SEEDS: [RandomState; 2] =
    [RandomState::with_seeds(0x5347, 0x6261, 0x7567, 0x6531), RandomState::with_seeds(0x5347, 0x6261, 0x7567, 0x6532)];

impl Answer<'_> {
    /// The answer in the form that the client prefers, or 304 when it has it.
    pub(in crate::query) fn response(&self, asked: &HeaderMap) -> Response<Body> {
        let as_csv = prefers_csv(asked);
        let tag = self.settled.then(|| self.tag(as_csv)).flatten();
        let mut response = match &tag {
            Some(tag) if http::has_already(asked, tag) => http::not_modified(),
            _ if as_csv => {
                let table = csv(self).into_bytes().into_boxed_slice();
                http::text(StatusCode::OK, "text/csv; charset=utf-8; header=present", table)
            }
            _ => http::json(StatusCode::OK, self),
        };
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        if let Some(tag) = tag {
            response.headers_mut().insert(ETAG, tag);
            // It may be kept, but has to be asked for again each time: a late event may have corrected it.
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        }
        response
    }

    /// A weak tag: it stands for all of an answer but how fresh it is, which changes every second.
    fn tag(&self, as_csv: bool) -> Option<HeaderValue> {
        let tagged = (as_csv, self.counter, self.window, &self.value, &self.buckets);
        let [a, b] = SEEDS.map(|seeds| seeds.hash_one(tagged));
        HeaderValue::try_from(format!("W/\"{a:016x}{b:016x}\"")).ok()
    }
}

/// Whether `Accept` prefers CSV. Whoever accepts anything gets JSON.
fn prefers_csv(asked: &HeaderMap) -> bool {
    let accepted = asked.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut csv, mut json): (Option<f32>, Option<f32>) = (None, None);
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = quality.map_or(1.0, |q| q.parse().unwrap_or(0.0));
        let best = |seen: Option<f32>| Some(seen.map_or(quality, |seen| seen.max(quality)));
        if ["text/csv", "text/*"].iter().any(|csv| name.eq_ignore_ascii_case(csv)) {
            csv = best(csv);
        } else if ["application/json", "application/*", "*/*"].iter().any(|json| name.eq_ignore_ascii_case(json)) {
            json = best(json);
        }
    }
    csv.is_some_and(|csv| csv > 0.0 && json.is_none_or(|json| csv > json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefers(accept: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        prefers_csv(&headers)
    }

    #[test]
    fn csv_goes_to_those_who_prefer_it() {
        assert!(!prefers_csv(&HeaderMap::new()));
        for csv in ["text/csv", "Text/CSV; charset=utf-8", "text/csv, */*;q=0.1", "application/json;q=0.5,text/csv"] {
            assert!(prefers(csv), "{csv}");
        }
        for json in ["*/*", "application/json", "text/csv;q=0", "text/csv;q=0.5, application/json", "text/html", ""] {
            assert!(!prefers(json), "{json}");
        }
    }
}
