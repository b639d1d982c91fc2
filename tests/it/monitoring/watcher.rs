//! A real Prometheus, with the configuration of deploy/ but for the addresses.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{in_repository, read};
use crate::support::doors::{Doors, SOON};
use crate::support::process::Process;
use crate::support::{eventually, free_ports};

const START_DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct Watcher {
    process: Process,
    http: reqwest::Client,
    url: String,
}

impl Watcher {
    /// Scrapes and reads the program behind these doors, each second.
    pub(super) async fn start(doors: &Doors) -> Watcher {
        let [port] = free_ports();
        let process = Process::new("prometheus");
        let host = |url: String| url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let config = [
            ("_interval: 5s", "_interval: 1s".to_owned()),
            ("streamgauge:9464", host(doors.admin_url("/"))),
            ("streamgauge:8080", host(doors.query_url("/"))),
            ("localhost:9090", format!("127.0.0.1:{port}")),
        ]
        .into_iter()
        .fold(read("deploy/prometheus.yml"), |config, (deployed, here)| {
            assert!(config.contains(deployed), "deploy/prometheus.yml no longer has {deployed}");
            config.replace(deployed, &here)
        });
        std::fs::write(process.dir().join("prometheus.yml"), config).expect("a configuration file");
        std::fs::copy(in_repository("deploy/alerts.yml"), process.dir().join("alerts.yml")).expect("deploy/alerts.yml");

        let mut command = Command::new("prometheus");
        command.arg("--config.file=prometheus.yml").arg("--storage.tsdb.path=data");
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).current_dir(process.dir());
        process.spawn(command);
        let url = format!("http://127.0.0.1:{port}");
        let prometheus = Watcher { process, http: doors.http().clone(), url };
        eventually(START_DEADLINE, "Prometheus is ready", async || {
            prometheus.process.assert_alive();
            let answer = prometheus.http.get(format!("{}/-/ready", prometheus.url)).send().await?;
            answer.error_for_status()
        })
        .await;
        prometheus
    }

    /// What its API answers to these parameters, or why it does not.
    pub(super) async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let request = self.http.get(format!("{}/api/v1/{path}", self.url)).query(parameters);
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

    /// Waits until it has scraped all of its targets.
    pub(super) async fn until_scraped(&self) {
        eventually(SOON, "all targets are scraped", async || {
            let targets = self.ask("targets", &[]).await?;
            let active = targets["activeTargets"].as_array().expect("targets");
            let up = active.iter().all(|target| target["health"] == "up");
            if up { Ok(()) } else { Err(format!("{active:?}")) }
        })
        .await;
    }
}
