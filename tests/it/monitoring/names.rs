//! What an expression of PromQL asks for, and whether there is such a metric.

use streamgauge::telemetry::Metrics;

/// The windows themselves, which Prometheus reads remotely instead of scraping them.
pub(super) const WINDOWS: &[&str] = &["streamgauge_window_count", "streamgauge_window_total"];
/// Metrics of Prometheus itself and of the process, which are not in the catalogue.
const OTHERS: &[&str] = &[
    "up",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_start_time_seconds",
];
/// What a histogram of the catalogue is scraped as.
const PARTS: &[&str] = &["_bucket", "_sum", "_count"];
/// Words before a list of labels.
const GROUPING: &[&str] = &["by", "on", "without", "ignoring", "group_left", "group_right"];
const OPERATORS: &[&str] = &["and", "or", "unless", "bool", "offset"];

/// One metric of an expression, as it stands there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector<'a> {
    /// The function that is applied to it; nothing when there is none.
    pub(super) function: &'a str,
    pub(super) name: &'a str,
    /// What stands between the braces.
    pub(super) labels: &'a str,
    /// What stands between the brackets.
    pub(super) range: &'a str,
}

/// All metrics of an expression: words that are no function, no operator, no label and no unit.
pub(super) fn selectors(expr: &str) -> Vec<Selector<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut function, mut labels_follow) = (expr, "", false);
    while let Some(c) = rest.chars().next() {
        if c.is_ascii_alphabetic() || c == '_' {
            let (word, behind) = split(rest, |c| c.is_ascii_alphanumeric() || "_:".contains(c));
            rest = behind;
            labels_follow = GROUPING.contains(&word);
            if labels_follow {
                continue;
            }
            if is_function(behind) {
                function = word;
            } else if !OPERATORS.contains(&word) {
                let (labels, behind) = between(rest, '{', '}');
                let (range, behind) = between(behind, '[', ']');
                found.push(Selector { function: std::mem::take(&mut function), name: word, labels, range });
                rest = behind;
            }
        } else if c == '"' || (c == '(' && labels_follow) {
            labels_follow = false;
            rest = between(rest, c, if c == '"' { '"' } else { ')' }).1;
        } else if c.is_ascii_digit() || c == '$' {
            // A number with its unit, or a variable.
            rest = split(&rest[1..], |c| c.is_ascii_alphanumeric() || "_.".contains(c)).1;
        } else {
            function = if c.is_whitespace() || c == '(' { function } else { "" };
            rest = &rest[c.len_utf8()..];
        }
    }
    found
}

fn is_function(behind: &str) -> bool {
    let behind = behind.trim_start();
    ["(", "by ", "by(", "without "].iter().any(|next| behind.starts_with(next))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c: char| !belongs(c)).unwrap_or(text.len()))
}

/// What stands between the two at the beginning of a text, and what is behind it.
fn between(text: &str, open: char, close: char) -> (&str, &str) {
    let Some(inner) = text.strip_prefix(open) else { return ("", text) };
    inner.split_once(close).unwrap_or((inner, ""))
}

/// The metrics of an expression that there are not.
pub(super) fn unknown_metrics(expr: &str, recorded: &[String]) -> Vec<String> {
    let in_catalogue = |name: &str| Metrics::NAMES.contains(&name);
    let is_known = |name: &str| {
        let base = PARTS.iter().find_map(|part| name.strip_suffix(part));
        in_catalogue(name)
            || base.is_some_and(in_catalogue)
            || WINDOWS.contains(&name)
            || OTHERS.contains(&name)
            || recorded.iter().any(|recorded| recorded == name)
    };
    selectors(expr).iter().filter(|s| !is_known(s.name)).map(|s| s.name.to_owned()).collect()
}

#[test]
fn selectors_are_found_wherever_they_stand() {
    let expr = r#"1 - sum by (le, job) (rate(a_bucket{le=~"10|x{y", job="$job"}[5m])) / on (job) group_left () b_count > 3e4
        and histogram_quantile(0.95, job:c:rate5m offset 1h unless topk($top, d[$__range]))"#;
    let found: Vec<_> = selectors(expr).iter().map(|s| (s.function, s.name, s.labels, s.range)).collect();
    let expected = [
        ("rate", "a_bucket", r#"le=~"10|x{y", job="$job""#, "5m"),
        ("", "b_count", "", ""),
        ("", "job:c:rate5m", "", ""),
        ("", "d", "", "$__range"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_metric_that_is_not_in_the_catalogue_is_unknown() {
    assert_eq!(unknown_metrics("up + nonsense", &[]), ["nonsense"]);
    assert_eq!(
        unknown_metrics("rate(streamgauge_flushes_seconds_count[5m])", &[]),
        ["streamgauge_flushes_seconds_count"]
    );
    assert!(unknown_metrics("rate(streamgauge_flush_seconds_count[5m])", &[]).is_empty());
}
