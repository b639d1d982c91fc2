//! What the query string of a request says. Parameters that are not known are left alone: pages add their own.

use super::reject::Reject;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The value of a parameter, decoded; the first where there are several.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| percent_decode_str(value).into())
}

/// Whether the request only asks what would become of its events.
///
/// # Errors
/// When it is unclear: then nothing is stored.
pub(super) fn is_dry_run(query: Option<&str>) -> Result<bool, Reject> {
    match query.and_then(|query| parameter(query, "dry_run")).as_deref() {
        None | Some(b"0" | b"false") => Ok(false),
        Some(b"1" | b"true" | b"") => Ok(true),
        Some(_) => Err(Reject::DryRun),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_and_decoded() {
        let key = |query: &'static str| parameter(query, "write_key").map(Cow::into_owned);
        assert_eq!(key("write_key=a%2Bb"), Some(b"a+b".to_vec()));
        assert_eq!(key("a=1&write_key=x&write_key=y"), Some(b"x".to_vec()));
        assert_eq!((key("write_key"), key("write_key=")), (Some(Vec::new()), Some(Vec::new())));
        assert_eq!(key("write_key=%ff%"), Some(b"\xff%".to_vec()));
        assert_eq!([key(""), key("writekey=x"), key("a=write_key")], [None, None, None]);
    }

    #[test]
    fn a_dry_run_is_asked_for_clearly() {
        for (query, dry) in [("dry_run=1", true), ("v=2&dry_run", true), ("dry_run=true", true), ("dry_run=0", false)] {
            assert_eq!(is_dry_run(Some(query)), Ok(dry), "{query}");
        }
        assert_eq!((is_dry_run(None), is_dry_run(Some("dry-run=1"))), (Ok(false), Ok(false)));
        for unclear in ["dry_run=yes", "dry_run=2", "dry_run=TRUE", "dry_run=1%20"] {
            assert_eq!(is_dry_run(Some(unclear)), Err(Reject::DryRun), "{unclear}");
        }
    }
}
