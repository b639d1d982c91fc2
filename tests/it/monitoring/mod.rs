//! What people and Prometheus see of the program: alert rules, dashboards, `/metrics`.

mod alerts;
mod flush;
mod lint;
mod names;
mod panels;
mod size;
mod watcher;
mod workers;

use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

fn in_repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(in_repository(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn yaml(file: &str) -> Yaml {
    serde_yaml_ng::from_str(&read(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The rules of deploy/alerts.yml, those that record and those that alert.
fn rules() -> Vec<Yaml> {
    let groups = yaml("deploy/alerts.yml")["groups"].as_sequence().expect("groups").clone();
    groups.iter().flat_map(|group| group["rules"].as_sequence().expect("rules").clone()).collect()
}

fn text<'a>(value: &'a Yaml, what: &str) -> &'a str {
    value[what].as_str().unwrap_or_else(|| panic!("no {what} in {value:?}"))
}

/// All dashboards, with the names of their files.
fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(in_repository("dashboards")).expect("dashboards").map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|ext| ext == "json")).collect();
    files.sort();
    let parse = |file: &PathBuf| serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    files.iter().map(|file| (file.display().to_string(), parse(file))).collect()
}

/// The panels of a dashboard that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().expect("panels").iter().filter(|panel| panel["type"] != "row")
}
