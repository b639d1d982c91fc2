//! A real Prometheus that watches the program with the configuration of deploy/, but for the addresses.

use serde_json::Value;

use super::{Yaml, in_repository, yaml};
use crate::support::doors::{Doors, SOON};
use crate::support::eventually;
use crate::support::prometheus::Prometheus;

pub(super) struct Watcher {
    prometheus: Prometheus,
    http: reqwest::Client,
}

impl Watcher {
    /// Scrapes and reads the program behind these doors, each second.
    pub(super) async fn start(doors: &Doors) -> Watcher {
        let watcher = Watcher { prometheus: Prometheus::start(&config(doors)).await, http: doors.http().clone() };
        eventually(SOON, "all targets are scraped", async || {
            let targets = watcher.ask("targets", &[]).await?;
            let active = targets["activeTargets"].as_array().expect("targets");
            let up = !active.is_empty() && active.iter().all(|target| target["health"] == "up");
            if up { Ok(()) } else { Err(format!("{active:?}")) }
        })
        .await;
        watcher
    }

    /// What its API answers to these parameters, or why it does not.
    pub(super) async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let request = self.http.get(self.prometheus.url(&format!("/api/v1/{path}"))).query(parameters);
        let answer = request.send().await.map_err(|e| format!("{e:?}"))?;
        let body = answer.text().await.map_err(|e| format!("{e:?}"))?;
        let mut answer: Value = serde_json::from_str(&body).map_err(|e| format!("{e}: {body}"))?;
        // Labels' values cannot be read remotely, which Prometheus says whenever it is asked for some.
        let known = |warning: &Value| warning == "not implemented" && path.starts_with("label/");
        let warned = answer["warnings"].as_array().is_some_and(|all| !all.iter().all(known));
        if answer["status"] != "success" || warned {
            return Err(answer.to_string());
        }
        Ok(answer["data"].take())
    }
}

fn config(doors: &Doors) -> String {
    let mut config = yaml("deploy/prometheus.yml");
    // It need not watch itself.
    let jobs = config["scrape_configs"].as_sequence_mut().expect("jobs");
    jobs.retain(|job| job["job_name"] == "streamgauge");
    for rules in config["rule_files"].as_sequence_mut().expect("rules") {
        let file = in_repository("deploy").join(rules.as_str().expect("a file"));
        *rules = Yaml::from(file.to_str().expect("a path that is text"));
    }
    let config = serde_yaml_ng::to_string(&config).expect("a configuration");
    let host = |url: String| url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let here = [
        ("_interval: 5s", "_interval: 1s".to_owned()),
        ("streamgauge:9464", host(doors.admin_url("/"))),
        ("streamgauge:8080", host(doors.query_url("/"))),
    ];
    here.into_iter().fold(config, |config, (deployed, here)| {
        assert!(config.contains(deployed), "deploy/prometheus.yml no longer has {deployed}");
        config.replace(deployed, &here)
    })
}
