//! How an accepted gap is written down. Both stores keep the same text.

/// Names the gap of a partition that is stopped at this offset. At any other offset the text means nothing, so what
/// was accepted once never stands for another gap.
pub(super) fn accepted_at(next_offset: Option<i64>) -> String {
    next_offset.map_or_else(|| "none".to_owned(), |offset| offset.to_string())
}
