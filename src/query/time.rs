use super::QueryError;

/// How far back a question reaches that does not say.
const DEFAULT_RANGE_S: f64 = 15.0 * 60.0;
/// Times beyond the year 9999, of which milliseconds are the usual reason, are refused.
const LATEST_S: f64 = 253_402_300_800.0;

/// Milliseconds as unix seconds, as the API writes them.
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

/// From when to when a question asks: `from` <= start < `to`, in unix seconds. A fraction at the begin is rounded
/// down and one at the end up, which changes nothing for starts that are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Range {
    /// Reads a range at a given time. What is not given is the last 15 minutes.
    pub(super) fn parse(from: Option<&str>, to: Option<&str>, now_ms: i64) -> Result<Range, QueryError> {
        let to = to.map_or(Ok(seconds(now_ms)), |to| parse("to", to, now_ms))?;
        let from = from.map_or(Ok(to - DEFAULT_RANGE_S), |from| parse("from", from, now_ms))?;
        if from > to {
            return Err(QueryError::Backwards);
        }
        Ok(Range { from: from.floor() as i64, to: to.ceil() as i64 })
    }
}

fn parse(parameter: &'static str, text: &str, now_ms: i64) -> Result<f64, QueryError> {
    let value = || text.to_owned();
    let time = point(text, now_ms).ok_or_else(|| QueryError::Time { parameter, value: value() })?;
    if !(-LATEST_S..LATEST_S).contains(&time) {
        return Err(QueryError::TooFar { parameter, value: value() });
    }
    Ok(time)
}

/// A point in time as the API takes it, in ms: unix seconds, RFC 3339, `now`, or how long ago, like `-15m`.
pub fn time_ms(text: &str, now_ms: i64) -> Option<i64> {
    point(text, now_ms).filter(|time| (-LATEST_S..LATEST_S).contains(time)).map(|time| (time * 1_000.0).round() as i64)
}

fn point(text: &str, now_ms: i64) -> Option<f64> {
    if text == "now" {
        return Some(seconds(now_ms));
    }
    let number = text.strip_prefix('-').unwrap_or(text);
    if number.starts_with(|c: char| c.is_ascii_digit()) && number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return text.parse().ok();
    }
    if let Some(ago) = text.strip_prefix('-') {
        return Some(seconds(now_ms) - humantime::parse_duration(ago).ok()?.as_secs_f64());
    }
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    Some(timestamp.as_second() as f64 + f64::from(timestamp.subsec_nanosecond()) / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_760_000_000_500;

    fn range(from: Option<&str>, to: Option<&str>) -> (i64, i64) {
        let range = Range::parse(from, to, NOW_MS).unwrap();
        (range.from, range.to)
    }

    fn refused(from: &str) -> String {
        Range::parse(Some(from), None, NOW_MS).unwrap_err().to_string()
    }

    #[test]
    fn every_way_to_write_a_time_means_the_same() {
        let ten = (1_759_999_400, 1_760_000_001);
        for from in ["1759999400", "1759999400.25", "-10m", "2025-10-09T08:43:20Z", "2025-10-09T10:43:20+02:00"] {
            assert_eq!(range(Some(from), None), ten, "{from}");
        }
        assert_eq!(range(Some("-1h 30m"), Some("now")).0, 1_759_994_600);
        assert_eq!(range(Some("0"), Some("1760000000")), (0, 1_760_000_000));
        assert_eq!(range(Some("-1.5"), Some("0.000001")), (-2, 1));
    }

    #[test]
    fn the_commands_take_the_same_forms() {
        for (text, ms) in [("1759999400.25", 1_759_999_400_250), ("-10m", NOW_MS - 600_000), ("now", NOW_MS)] {
            assert_eq!(time_ms(text, NOW_MS), Some(ms));
        }
        assert_eq!(time_ms("2025-10-09T10:43:20.123+02:00", NOW_MS), Some(1_759_999_400_123));
        for wrong in ["", "yesterday", "1760000000000", "--5m"] {
            assert_eq!(time_ms(wrong, NOW_MS), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_given_is_the_last_quarter_of_an_hour() {
        assert_eq!(range(None, None), (1_759_999_100, 1_760_000_001));
        assert_eq!(range(None, Some("1000")), (100, 1_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in ["", "-", "yesterday", "1e9", "1.2.3", "NaN", "inf", "--5m", "-5x", "2025-10-09", "0x10"] {
            assert!(refused(wrong).contains("is not a time"), "{wrong}");
        }
        assert!(refused("1760000000000").contains("not in milliseconds"));
        assert!(refused("-99999999y").contains("too far"));
        assert!(refused("1760000002").contains("ends before it begins"));
    }
}
