//! deploy/alerts.yml: checked and tested by promtool, and each alert has all that the person on call needs.

use std::collections::BTreeMap;
use std::process::Command;

use serde_yaml_ng::Value;

use super::names::unknown_metrics;
use super::{in_repository, read, rules, text, yaml};

fn promtool(args: &[&str]) {
    let output = Command::new("promtool").args(args).current_dir(in_repository("deploy")).output();
    let output = output.unwrap_or_else(|e| panic!("cannot run promtool: {e}; run make test, which installs it"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {args:?}:\n{said}\n{complained}");
}

fn alerts() -> Vec<Value> {
    rules().into_iter().filter(|rule| rule.get("alert").is_some()).collect()
}

#[test]
fn rules_and_configuration_are_correct() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["check", "config", "prometheus.yml"]);
}

#[test]
fn alerts_fire_and_stay_silent_as_tested() {
    promtool(&["test", "rules", "alerts_test.yml"]);
}

#[test]
fn each_alert_is_tested_both_ways() {
    let mut tested: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for case in yaml("deploy/alerts_test.yml")["tests"].as_sequence().unwrap() {
        for check in case["alert_rule_test"].as_sequence().unwrap() {
            let both = tested.entry(text(check, "alertname").to_owned()).or_default();
            if check["exp_alerts"].as_sequence().unwrap().is_empty() {
                both.1 = true;
            } else {
                both.0 = true;
            }
        }
    }
    for alert in alerts() {
        let name = text(&alert, "alert");
        let (fires, silent) = tested.remove(name).unwrap_or_default();
        assert!(fires, "no case in which {name} fires");
        assert!(silent, "no case in which {name} does not fire");
    }
    assert!(tested.is_empty(), "cases of alerts that there are not: {tested:?}");
}

#[test]
fn each_alert_says_what_to_do() {
    let runbook = read("docs/runbook.md");
    let sections: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for alert in alerts() {
        let name = text(&alert, "alert");
        assert!(["critical", "warning"].contains(&text(&alert["labels"], "severity")), "{name}");
        for annotation in ["summary", "description"] {
            assert!(!text(&alert["annotations"], annotation).is_empty(), "{name}: {annotation}");
        }
        let url = format!("docs/runbook.md#{}", name.to_lowercase());
        assert_eq!(text(&alert["annotations"], "runbook_url"), url, "{name}");
        assert!(sections.contains(&name), "docs/runbook.md has no section {name}");
    }
    let names: Vec<Value> = alerts();
    let names: Vec<&str> = names.iter().map(|alert| text(alert, "alert")).collect();
    let stale: Vec<_> = sections.iter().filter(|s| s.starts_with("Streamgauge") && !names.contains(*s)).collect();
    assert!(stale.is_empty(), "sections of alerts that there are not: {stale:?}");
}

#[test]
fn each_runbook_section_says_what_it_means_how_to_look_and_what_to_do() {
    let runbook = read("docs/runbook.md");
    for section in runbook.split("\n## ").filter(|section| section.starts_with("Streamgauge")) {
        for part in ["**What it means.**", "**How to look.**", "**What to do.**"] {
            assert!(section.contains(part), "no {part} in:\n{section}");
        }
    }
}

#[test]
fn rules_name_metrics_that_there_are() {
    let rules = rules();
    let recorded: Vec<String> = rules.iter().filter_map(|rule| rule["record"].as_str()).map(str::to_owned).collect();
    for rule in &rules {
        let expr = text(rule, "expr");
        let unknown = unknown_metrics(expr, &recorded);
        assert!(unknown.is_empty(), "there is no {unknown:?}: {expr}");
    }
}
