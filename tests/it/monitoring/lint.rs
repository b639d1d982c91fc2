//! Rules that each dashboard keeps, and each panel of it; most of them are those of Grafana's own dashboard-linter.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use streamgauge::query::SERIES;

use super::names::{Selector, selectors, unknown_metrics};
use super::{dashboards, panels, read};

/// Units that Grafana knows, of those that are used here.
const UNITS: &[&str] = &["none", "short", "s", "bytes", "cps", "reqps", "ops", "percentunit", "bool"];
const MATCHERS: &str = r#"job=~"$job", instance=~"$instance""#;
const DATA_SOURCE: &str = "${datasource}";

/// What is wrong with a dashboard.
fn findings(dashboard: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    check(dashboard["schemaVersion"] == 42, "schemaVersion is not 42");
    check(dashboard["editable"] == false, "it is editable, though it comes from a file");
    check(is_text(&dashboard["description"]), "it has no description");
    check(dashboard["uid"].as_str().is_some_and(|uid| uid.starts_with("streamgauge-")), "its uid is not ours");
    check(places_are_free(dashboard), "panels overlap, or are too wide");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    wrong.extend(variable_findings(variables));
    let mut titles = BTreeSet::new();
    for panel in panels(dashboard) {
        let title = panel["title"].as_str().unwrap_or_default();
        if !titles.insert(title) {
            wrong.push(format!("two panels are called {title}"));
        }
        wrong.extend(panel_findings(panel).into_iter().map(|what| format!("{title}: {what}")));
    }
    wrong
}

fn variable_findings(variables: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let find = |name: &str| variables.iter().find(|variable| variable["name"] == name).unwrap_or(&Value::Null);
    let source = find("datasource");
    if source["type"] != "datasource" || source["query"] != "prometheus" || source["label"] != "Data source" {
        wrong.push("no variable `datasource` of type prometheus, with the label Data source".to_owned());
    }
    for (name, label) in [("job", "Job"), ("instance", "Instance")] {
        let variable = find(name);
        let all = variable["multi"] == true && variable["includeAll"] == true && variable["allValue"] == ".+";
        if variable["type"] != "query" || variable["label"] != label || !all {
            wrong.push(format!("no variable `{name}` called {label} with many values, and `.+` for all of them"));
        }
    }
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        if variable["refresh"] != 2 || variable["datasource"]["uid"] != DATA_SOURCE {
            wrong.push(format!("{}: not asked for again when the time changes, or elsewhere", variable["name"]));
        }
    }
    wrong
}

fn panel_findings(panel: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    check(is_text(&panel["title"]), "no title");
    check(is_text(&panel["description"]), "no description");
    let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
    check(UNITS.contains(&unit), "no unit, or one that is not in UNITS");
    check(panel["datasource"]["uid"] == DATA_SOURCE, "not the chosen data source");
    let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
    check(!targets.is_empty(), "it asks for nothing");
    let refs: BTreeSet<_> = targets.iter().filter_map(|target| target["refId"].as_str()).collect();
    check(refs.len() == targets.len(), "targets share a refId");
    for target in targets {
        check(target["datasource"]["uid"] == DATA_SOURCE, "a target has not the chosen data source");
        let expr = target["expr"].as_str().unwrap_or_default();
        let unknown = unknown_metrics(expr, &[]);
        check(unknown.is_empty(), &format!("there is no metric {unknown:?}"));
        let selectors = selectors(expr);
        check(!selectors.is_empty(), "a target without a metric");
        for selector in selectors {
            check(selects_processes(&selector), &format!("`{}` is not limited by {MATCHERS}", selector.name));
            check(has_right_range(&selector), &format!("`{}`: not [$__rate_interval]", selector.name));
            check(is_aggregated(&selector), &format!("`{}` is a counter: rate or increase", selector.name));
        }
    }
    wrong
}

/// A window belongs to no process, so there is none to choose.
fn selects_processes(selector: &Selector<'_>) -> bool {
    SERIES.contains(&selector.name) || selector.labels.starts_with(MATCHERS)
}

fn has_right_range(selector: &Selector<'_>) -> bool {
    !["rate", "irate"].contains(&selector.function) || selector.range == "$__rate_interval"
}

fn is_aggregated(selector: &Selector<'_>) -> bool {
    let name = selector.name;
    if SERIES.contains(&name) {
        return selector.function.ends_with("_over_time");
    }
    let is_counter = ["_total", "_bucket", "_count", "_sum"].iter().any(|suffix| name.ends_with(suffix));
    !is_counter || ["rate", "irate", "increase"].contains(&selector.function)
}

fn places_are_free(dashboard: &Value) -> bool {
    let mut taken = BTreeSet::new();
    dashboard["panels"].as_array().expect("panels").iter().all(|panel| {
        let at = |what: &str| panel["gridPos"][what].as_u64().expect("a place");
        let (left, top) = (at("x"), at("y"));
        let mut cells = (0..at("h")).flat_map(|y| (0..at("w")).map(move |x| (left + x, top + y)));
        cells.all(|(x, y)| x < 24 && taken.insert((x, y)))
    })
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}

#[test]
fn dashboards_keep_the_rules() {
    let mut uids = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        let wrong = findings(&dashboard);
        assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
        assert!(uids.insert(dashboard["uid"].to_string()), "{file}: another one has the same uid");
    }
    assert_eq!(uids.len(), 4);
}

/// Each rule is broken once, in a panel that keeps all of them.
#[test]
fn a_broken_rule_is_found() {
    let (_, sound) = dashboards().into_iter().find(|(file, _)| file.ends_with("overview.json")).expect("the overview");
    assert_eq!(findings(&sound), [""; 0]);
    let panel = "/panels/1";
    let rate = |range: &str| format!("rate(streamgauge_dead_letters_total{{{MATCHERS}}}[{range}])");
    let breaks = [
        ("/schemaVersion".to_owned(), json!(41), "schemaVersion"),
        ("/editable".to_owned(), json!(true), "editable"),
        ("/templating/list/0/query".to_owned(), json!("loki"), "datasource"),
        ("/templating/list/1/allValue".to_owned(), json!(".*"), "job"),
        ("/templating/list/2/multi".to_owned(), json!(false), "instance"),
        ("/templating/list/2/refresh".to_owned(), json!(1), "asked for again"),
        (format!("{panel}/title"), json!(" "), "no title"),
        (format!("{panel}/description"), json!(""), "no description"),
        (format!("{panel}/gridPos/x"), json!(22), "overlap"),
        (format!("{panel}/fieldConfig/defaults/unit"), json!("parsec"), "unit"),
        (format!("{panel}/datasource/uid"), json!("prometheus"), "data source"),
        (format!("{panel}/targets"), json!([]), "asks for nothing"),
        (format!("{panel}/targets/0/datasource/uid"), json!("prometheus"), "target has not"),
        (format!("{panel}/targets/0/expr"), json!("streamgauge_nonsense"), "no metric"),
        (format!("{panel}/targets/0/expr"), json!("streamgauge_pending_cells"), "not limited"),
        (format!("{panel}/targets/0/expr"), json!(rate("5m")), "rate_interval"),
        (
            format!("{panel}/targets/0/expr"),
            json!(format!("streamgauge_dead_letters_total{{{MATCHERS}}}")),
            "a counter",
        ),
        (format!("{panel}/targets/0/expr"), json!("7"), "without a metric"),
        (format!("{panel}/targets/0/expr"), json!("streamgauge_window_count{counter=\"a\"}"), "a counter"),
    ];
    for (pointer, value, complaint) in breaks {
        let mut broken = sound.clone();
        *broken.pointer_mut(&pointer).unwrap_or_else(|| panic!("nothing at {pointer}")) = value.clone();
        let wrong = findings(&broken);
        assert!(wrong.iter().any(|what| what.contains(complaint)), "{pointer} = {value}: {wrong:?}");
    }
    let mut twice = sound.clone();
    twice["panels"][2]["title"] = twice["panels"][1]["title"].clone();
    assert!(findings(&twice).iter().any(|what| what.contains("two panels")));
}

/// The linter itself has to be told why some expressions do not name a process.
#[test]
fn exceptions_for_the_linter_are_those_of_the_windows() {
    let exceptions: serde_yaml_ng::Value = serde_yaml_ng::from_str(&read("dashboards/.lint")).unwrap();
    for rule in ["target-job-rule", "target-instance-rule"] {
        let exception = &exceptions["exclusions"][rule];
        assert!(exception["reason"].is_string(), "{rule}");
        let entries = exception["entries"].as_sequence().unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0]["dashboard"], "streamgauge: product");
    }
}
