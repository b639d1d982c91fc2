//! A violation of each rule, and beside it what the rule lets pass.

use std::path::Path;

use super::*;

fn lines(findings: &[Finding]) -> Vec<usize> {
    findings.iter().map(|finding| finding.line).collect()
}

#[test]
fn a_long_file() {
    let text = |lines| "//\n".repeat(lines);
    assert_eq!(lines(&file_length(Path::new("src/log/mod.rs"), &text(501))), [501]);
    assert!(file_length(Path::new("src/log/mod.rs"), &text(500)).is_empty());
    assert_eq!(lines(&file_length(Path::new("src/main.rs"), &text(61))), [61]);
}

#[test]
fn a_long_function() {
    let function = |lines: usize| format!("\nfn f() {{\n{}}}\n", "();\n".repeat(lines - 2));
    let inside = |outer: &str| format!("{outer} {{{}}}", function(71));
    let file = Path::new("src/log/mod.rs");
    assert_eq!(lines(&function_length(file, &function(71))), [2]);
    assert!(function_length(file, &function(70)).is_empty());
    assert_eq!(lines(&function_length(file, &inside("impl A"))), [2]);
    assert_eq!(lines(&function_length(file, &inside("trait A"))), [2]);
}

#[test]
fn an_import_outwards() {
    let uses = |file, text| lines(&import_direction(Path::new(file), text));
    assert_eq!(uses("src/log/kafka.rs", "\nuse crate::pipeline::Worker;"), [2]);
    assert_eq!(uses("src/log/kafka.rs", "use crate::{event::Event, store::{Flush, Cell}};"), [1, 1]);
    assert_eq!(uses("src/log/kafka.rs", "fn f() {\n    crate::app::run();\n}"), [2]);
    assert_eq!(uses("src/log/kafka.rs", "fn f(a: super::super::query::A) {}"), [1]);
    assert_eq!(uses("src/log/mod.rs", "mod a {\n    use super::super::ingest::A;\n}"), [2]);
    assert_eq!(uses("src/log/mod.rs", "fn f() {\n    info!(a = %crate::admin::NAME, \"b\");\n}"), [2]);
    assert_eq!(uses("src/event/mod.rs", "use crate::window::Window;"), [1]);
    assert_eq!(uses("src/attic/mod.rs", ""), [1]);

    assert!(uses("src/log/kafka.rs", "use super::kafka::A; use crate::{event, http}; use crate::log::B;").is_empty());
    assert!(uses("src/counter/mod.rs", "use crate::event::Event; use crate::window::Window;").is_empty());
    assert!(uses("src/log/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::app::App;\n}").is_empty());
    assert!(uses("src/main.rs", "use streamgauge::cli;").is_empty());
    assert!(uses("src/lib.rs", "pub mod app;").is_empty());
}

#[test]
fn a_clock_in_a_pure_room() {
    let impure = |file, text| lines(&purity(Path::new(file), text));
    assert_eq!(impure("src/window/mod.rs", "use std::time::{Duration, Instant};"), [1]);
    assert_eq!(impure("src/event/mod.rs", "fn f() {\n    std::fs::read(\"a\");\n}"), [2]);
    assert_eq!(impure("src/event/mod.rs", "fn f() {\n    assert!(tokio::spawn(a).is_ok());\n}"), [2]);
    assert!(impure("src/window/mod.rs", "use std::time::Duration;").is_empty());
    assert!(impure("src/log/mod.rs", "use std::time::Instant;").is_empty());
}

#[test]
fn unsafe_in_another_place() {
    let text = concat!("fn f() {}\n#![allow(unsafe", "_code)]");
    assert_eq!(lines(&unsafe_elsewhere(Path::new("src/log/mod.rs"), text)), [2]);
    assert!(unsafe_elsewhere(Path::new(UNSAFE), text).is_empty());
}

#[test]
fn a_metric_without_a_doc_and_a_doc_without_a_metric() {
    let names = ["streamgauge_flush_seconds", "streamgauge_pending_cells"];
    let file = Path::new("metrics.rs");
    let catalogue = "catalogue! {\n    flush_seconds: Histogram,\n    pending_cells: IntGauge,\n}";
    let undocumented = |docs| lines(&metrics_documented(file, catalogue, &names, docs));
    assert_eq!(undocumented("`streamgauge_flush_seconds`: how long"), [3]);
    assert_eq!(undocumented("`streamgauge_flush_seconds_more`, `streamgauge_pending_cells`"), [2]);
    assert!(undocumented("`streamgauge_flush_seconds`, `streamgauge_pending_cells`").is_empty());

    let unknown = |text| lines(&metrics_exist(file, text, &names));
    assert_eq!(unknown("\nrate(streamgauge_flushes_total[1m])"), [2]);
    assert!(unknown("streamgauge_flush_seconds_bucket{le=\"1\"} streamgauge_pending_cells streamgauge_*").is_empty());
}

#[test]
fn a_key_that_is_not_documented() {
    let toml = "# a\nlone = 1\n[a.b]\nset = 2 # why\n# shown = \"x\"\n# [c]\n# in_comment = 3\n[[d]]\neach = 4";
    let missing = |keys| config_documented(Path::new("a.toml"), toml, keys).len();
    assert_eq!(missing(&["lone", "a.b.set", "a.b.shown", "c.in_comment", "d.each"]), 0);
    assert_eq!(missing(&["set", "a.lone", "a.b.absent"]), 3);
}

#[test]
fn a_trace_of_a_machine() {
    let traces = |text: &str| lines(&banned_words(Path::new("a.md"), text));
    for (word, _) in BANNED {
        assert_eq!(traces(&format!("\nsee {word}x")), [2], "{word}");
    }
    assert!(traces(&format!("frame{}x", BANNED[0].0)).is_empty());
}
