//! NDJSON: an event on each line.

use serde::de::IgnoredAny;

/// The lines, without white space around them and without blank ones.
pub(super) fn of(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

/// Whether a body, which has no white space around it, is events on lines: it begins with an object, is not one JSON
/// value as a whole, and a line of it is an object.
pub(super) fn are_in(body: &[u8]) -> bool {
    let is_json = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    body.starts_with(b"{")
        && body.contains(&b'\n')
        && !is_json(body)
        && of(body).any(|line| line.starts_with(b"{") && is_json(line))
}
