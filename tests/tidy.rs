//! The house rules, as a test. Each failure names file, line, rule, and what to do.
//!
//! A rule is a function of text; `planted` holds a violation of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]

#[path = "it/support/config_keys.rs"]
mod config_keys;
#[path = "tidy/mutants.rs"]
mod mutants;
#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/planted.rs"]
mod planted;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use paths::{paths, room_of};
use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const MAIN_LINES: usize = 60;

/// The rooms from the inside out: one uses those of lower rank only…
const RANKS: &[(&str, u8)] = &[
    ("units", 0),
    ("retry", 0),
    ("event", 0),
    ("envelope", 0),
    ("window", 0),
    ("counter", 0),
    ("clock", 1),
    ("telemetry", 1),
    ("shutdown", 1),
    ("http", 1),
    ("embedded", 1),
    ("log", 2),
    ("store", 2),
    ("tail", 2),
    ("pipeline", 3),
    ("ingest", 3),
    ("query", 3),
    ("admin", 3),
    ("publish", 3),
    ("worker", 3),
    ("traffic", 3),
    ("config", 4),
    ("app", 5),
    ("cli", 6),
    ("main", 7),
];
/// … and of its own rank these.
const NEIGHBOURS: &[(&str, &str)] = &[
    ("counter", "event"),
    ("counter", "window"),
    ("envelope", "event"),
    ("http", "telemetry"),
    ("http", "shutdown"),
    ("tail", "store"),
];

/// Rooms that are told everything: no I/O, no clock, no runtime.
const PURE: &[&str] = &["event", "envelope", "window", "counter"];
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "rdkafka",
    "redis",
    "rusqlite",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// The keys that are contract. `[log.kafka.properties]` holds librdkafka's names, not ours.
const CONFIG_KEYS: &[&str] = &[
    "shutdown_timeout",
    "ingest.listen",
    "ingest.key",
    "ingest.open",
    "ingest.max_body",
    "ingest.max_inflated",
    "ingest.max_events",
    "ingest.max_event",
    "ingest.max_in_flight",
    "ingest.rate_limit",
    "ingest.trusted_proxies",
    "ingest.max_skew",
    "ingest.max_connections",
    "ingest.max_connections_per_address",
    "ingest.max_header",
    "ingest.tail",
    "ingest.header_timeout",
    "ingest.body_timeout",
    "ingest.spool.path",
    "ingest.spool.max_bytes",
    "ingest.spool.slow_after",
    "ingest.spool.synchronous",
    "sites.name",
    "sites.write_keys",
    "sites.write_keys_file",
    "sites.allowed_origins",
    "sites.rate_limit",
    "log.kind",
    "log.kafka.brokers",
    "log.kafka.topic",
    "log.kafka.group",
    "log.kafka.dead_letter_topic",
    "log.kafka.create_topics",
    "pipeline.workers",
    "pipeline.flush_interval",
    "pipeline.lateness",
    "pipeline.max_ahead",
    "pipeline.dedupe_horizon",
    "pipeline.on_gap",
    "store.kind",
    "store.redis.url",
    "store.redis.cluster_nodes",
    "store.redis.prefix",
    "store.redis.shards",
    "embedded.path",
    "embedded.retain",
    "embedded.max_bytes",
    "query.listen",
    "query.open",
    "query.token",
    "query.allowed_origins",
    "query.allowed_hosts",
    "admin.listen",
    "counters.name",
    "counters.kind",
    "counters.of",
    "counters.factor",
    "counters.event",
    "counters.only",
    "counters.except",
    "counters.by",
    "counters.windows",
    "counters.max_keys",
];

/// Traces of one machine, or of how the code came to be. In halves, or they would be found here.
const BANNED: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine; use one that is relative to the repository"),
    (concat!("/ro", "ot/"), "a path of one machine; use one that is relative to the repository"),
    (concat!("/ho", "me/"), "a path of one machine; use one that is relative to the repository"),
    (concat!("DESIGN", ".md"), "the project documents itself: say it in ARCHITECTURE.md or docs/"),
    (concat!("STYLE", ".md"), "the project documents itself: say it in ARCHITECTURE.md or docs/"),
    (concat!("crates", ".io"), "name the thing, not the host that happens to serve it"),
    (concat!("repo.maven", ".apache.org"), "name the thing, not the host that happens to serve it"),
];

/// The one file that may allow `unsafe`, which is denied everywhere else.
const UNSAFE: &str = "src/log/kafka/batch.rs";

struct Finding {
    file: PathBuf,
    line: usize,
    rule: String,
    remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    {}", self.file.display(), self.line, self.rule, self.remedy)
    }
}

fn finding(file: &Path, line: usize, rule: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { file: file.to_owned(), line, rule: rule.into(), remedy: remedy.into() }
}

// ---------------------------------------------------------------------------------------------- the rules

fn file_length(file: &Path, text: &str) -> Vec<Finding> {
    let limit = if file == Path::new("src/main.rs") { MAIN_LINES } else { FILE_LINES };
    let lines = text.lines().count();
    if lines <= limit {
        return Vec::new();
    }
    let rule = format!("{lines} lines; a file has at most {limit}");
    vec![finding(file, limit + 1, rule, "move a part that has a name of its own into a file of its own")]
}

fn function_length(file: &Path, text: &str) -> Vec<Finding> {
    struct Functions<'a>(&'a Path, Vec<Finding>);
    impl Functions<'_> {
        fn measure(&mut self, name: &syn::Ident, from: Span, to: Span) {
            let (from, to) = (from.start().line, to.end().line);
            let lines = to - from + 1;
            if lines > FUNCTION_LINES {
                let rule = format!("`{name}` has {lines} lines; a function has at most {FUNCTION_LINES}");
                self.1.push(finding(self.0, from, rule, "give its steps names: one function for each"));
            }
        }
    }
    impl<'ast> Visit<'ast> for Functions<'_> {
        fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
            self.measure(&item.sig.ident, item.sig.span(), item.block.span());
            visit::visit_item_fn(self, item);
        }
        fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
            self.measure(&item.sig.ident, item.sig.span(), item.block.span());
            visit::visit_impl_item_fn(self, item);
        }
        fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
            self.measure(&item.sig.ident, item.sig.span(), item.span());
            visit::visit_trait_item_fn(self, item);
        }
    }
    let mut functions = Functions(file, Vec::new());
    functions.visit_file(&parse(file, text));
    functions.1
}

fn import_direction(file: &Path, text: &str) -> Vec<Finding> {
    let Some(room) = room_of(file) else { return Vec::new() };
    let Some(rank) = rank_of(&room) else {
        let remedy = "give it a rank in RANKS of tests/tidy.rs, as far in as it can be";
        return vec![finding(file, 1, format!("`{room}` is a room that no rule knows"), remedy)];
    };
    let mut findings = Vec::new();
    for (line, path) in paths(file, text) {
        let ["crate", used, ..] = path.iter().map(String::as_str).collect::<Vec<_>>()[..] else { continue };
        let Some(used_rank) = rank_of(used) else { continue };
        if used != room && used_rank >= rank && !NEIGHBOURS.contains(&(room.as_str(), used)) {
            let rule = format!("`{room}` uses `{used}`, which is not further in");
            let remedy = "take it as an argument, move it further in, or let `app` put the two together";
            findings.push(finding(file, line, rule, remedy));
        }
    }
    findings
}

fn purity(file: &Path, text: &str) -> Vec<Finding> {
    if !room_of(file).is_some_and(|room| PURE.contains(&room.as_str())) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (line, path) in paths(file, text) {
        let path = path.join("::");
        if IMPURE.iter().any(|impure| path == *impure || path.starts_with(&format!("{impure}::"))) {
            let rule = format!("`{path}` in a pure room");
            findings.push(finding(file, line, rule, "let the caller do it, and hand in what comes of it"));
        }
    }
    findings
}

fn unsafe_elsewhere(file: &Path, text: &str) -> Vec<Finding> {
    if file == Path::new(UNSAFE) {
        return Vec::new();
    }
    let allowed = (1..).zip(text.lines()).filter(|(_, line)| line.contains(concat!("unsafe", "_code")));
    let remedy = format!("do without, or belong to {UNSAFE}");
    allowed.map(|(number, _)| finding(file, number, "`unsafe` is allowed", remedy.clone())).collect()
}

fn metrics_documented(catalogue: &Path, text: &str, names: &[&str], docs: &str) -> Vec<Finding> {
    let mentioned = metric_names(docs);
    let missing = names.iter().filter(|name| !mentioned.contains(**name));
    missing
        .map(|name| {
            let field = format!("{}:", name.trim_start_matches("streamgauge_"));
            let line = text.lines().position(|line| line.trim_start().starts_with(&field)).map_or(1, |at| at + 1);
            let remedy = "say in docs/ what it means and what to do when it is wrong, or take it out";
            finding(catalogue, line, format!("metric `{name}` is in no doc"), remedy)
        })
        .collect()
}

/// Dashboards, alerts and docs speak only of metrics that there are.
fn metrics_exist(file: &Path, text: &str, names: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for name in metric_names(line) {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            if !names.contains(&name.as_str()) && !base.is_some_and(|base| names.contains(&base)) {
                let remedy = "name one of src/telemetry/metrics.rs";
                findings.push(finding(file, number, format!("there is no metric `{name}`"), remedy));
            }
        }
    }
    findings
}

fn config_documented(file: &Path, text: &str, keys: &[&str]) -> Vec<Finding> {
    let documented = config_keys::documented(text);
    let missing = keys.iter().filter(|key| !documented.contains_key(**key));
    let remedy = "write it there with its default and what it is for; in a comment when it has none";
    missing.map(|key| finding(file, 1, format!("key `{key}` is not documented"), remedy)).collect()
}

fn banned_words(file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (word, remedy) in BANNED {
            let alone = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c));
            if line.match_indices(word).any(|(at, _)| !word.starts_with('/') || alone(at)) {
                findings.push(finding(file, number, format!("mentions `{word}`"), *remedy));
            }
        }
    }
    findings
}

// ------------------------------------------------------------------------------------- reading the sources

fn parse(file: &Path, text: &str) -> syn::File {
    syn::parse_file(text).unwrap_or_else(|e| panic!("{}:{}: {e}", file.display(), e.span().start().line))
}

fn rank_of(room: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

fn metric_names(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("streamgauge_").map(|(at, _)| &text[at..]);
    let names = starts.map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap());
    names.map(|name| name.trim_end_matches('_').to_owned()).filter(|name| name != "streamgauge").collect()
}

// ------------------------------------------------------------------------------------------ the repository

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is made here, and no part of the repository.
const MADE: &[&str] =
    &["target", "data", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", "fuzz/coverage", "fuzz/Cargo.lock"];

/// All text files under these folders or files of the repository, by their path in it.
fn files(under: &[&str]) -> Vec<(PathBuf, String)> {
    fn walk(path: &Path, found: &mut Vec<(PathBuf, String)>) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let ours = !name.starts_with('.') || name == ".ci" || name == ".github";
        if !ours || MADE.iter().any(|made| path == root().join(made)) {
            return;
        }
        if path.is_dir() {
            let mut entries: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            for entry in entries {
                walk(&entry, found);
            }
        } else if let Ok(text) = std::fs::read_to_string(path) {
            found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
    let mut found = Vec::new();
    for part in under {
        walk(&root().join(part).components().collect::<PathBuf>(), &mut found);
    }
    found
}

fn sources(under: &[&str]) -> Vec<(PathBuf, String)> {
    files(under).into_iter().filter(|(file, _)| file.extension().is_some_and(|ext| ext == "rs")).collect()
}

fn report(findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} to put right:\n\n{}\n", findings.len(), lines.join("\n"));
}

fn check(files: Vec<(PathBuf, String)>, rule: fn(&Path, &str) -> Vec<Finding>) {
    report(&files.iter().flat_map(|(file, text)| rule(file, text)).collect::<Vec<_>>());
}

const CODE: &[&str] = &["src", "tests", "benches", "examples"];

#[test]
fn files_are_short() {
    check(sources(CODE), file_length);
}

#[test]
fn functions_are_short() {
    check(sources(CODE), function_length);
}

#[test]
fn imports_point_inwards() {
    check(sources(&["src"]), import_direction);
}

#[test]
fn pure_rooms_are_pure() {
    check(sources(&["src"]), purity);
}

#[test]
fn unsafe_has_one_place() {
    check(sources(&["src", "tests", "benches", "examples"]), unsafe_elsewhere);
}

#[test]
fn nothing_names_a_machine() {
    let mut files = files(&["."]);
    files.retain(|(file, _)| file != Path::new("Cargo.lock"));
    check(files, banned_words);
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let names = streamgauge::telemetry::Metrics::NAMES;
    let known = [names, streamgauge::query::SERIES].concat();
    let catalogue = Path::new("src/telemetry/metrics.rs");
    let text = std::fs::read_to_string(root().join(catalogue)).unwrap();
    let docs: String = files(&["docs"]).into_iter().map(|(_, text)| text).collect();
    let mut findings = metrics_documented(catalogue, &text, names, &docs);
    for (file, text) in files(&["docs", "dashboards", "deploy"]) {
        findings.extend(metrics_exist(&file, &text, &known));
    }
    report(&findings);
}

#[test]
fn every_key_is_documented() {
    let file = Path::new("config/streamgauge.toml");
    let text = std::fs::read_to_string(root().join(file)).expect("config/streamgauge.toml");
    text.parse::<toml::Table>().expect("config/streamgauge.toml is TOML");
    report(&config_documented(file, &text, CONFIG_KEYS));
}
