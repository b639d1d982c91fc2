//! A real Prometheus server, and questions to it by its HTTP API.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::Process;
use super::{eventually, free_ports};

const START_DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Prometheus {
    process: Process,
    port: u16,
    http: reqwest::Client,
}

/// What it answered to an expression.
#[derive(Debug)]
pub(crate) struct Evaluated {
    /// Labels and value of each series, in the order of the answer; the value is the last one of a range.
    pub(crate) series: Vec<(Value, String)>,
    /// What went wrong at a storage that it reads from.
    pub(crate) warnings: Vec<String>,
}

impl Prometheus {
    /// A server with this configuration, once it answers.
    pub(crate) async fn start(config: &str) -> Prometheus {
        let [port] = free_ports();
        let process = Process::new("prometheus");
        let file = process.dir().join("prometheus.yml");
        std::fs::write(&file, config).expect("a configuration file");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", process.dir().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        process.spawn(command);
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client");
        let prometheus = Prometheus { process, port, http };
        eventually(START_DEADLINE, "prometheus is ready", async || {
            prometheus.process.assert_alive();
            let reply = prometheus.http.get(prometheus.url("/-/ready")).send().await.map_err(|e| e.to_string())?;
            if reply.status().is_success() { Ok(()) } else { Err(reply.status().to_string()) }
        })
        .await;
        prometheus
    }

    /// One whose only storage, but for its own empty one, is a remote read of this URL.
    pub(crate) async fn reading_from(url: &str, token: Option<&str>) -> Prometheus {
        let token = token.map_or(String::new(), |token| format!("    authorization: {{ credentials: {token} }}\n"));
        Prometheus::start(&format!("remote_read:\n  - url: {url}\n    read_recent: true\n{token}")).await
    }

    /// Evaluates an expression at a time in unix seconds.
    pub(crate) async fn query(&self, expression: &str, at: f64) -> Evaluated {
        let at = at.to_string();
        let answer = self.ask("/api/v1/query", &[("query", expression), ("time", &at)]).await;
        self.evaluated(answer, expression)
    }

    /// Values of an expression's only series at each step of a range, both ends in unix seconds.
    pub(crate) async fn range(&self, expression: &str, start: i64, end: i64, step: i64) -> Vec<(i64, String)> {
        let [start, end, step] = [start, end, step].map(|n| n.to_string());
        let parameters = [("query", expression), ("start", &start), ("end", &end), ("step", &step)];
        let answer = self.ask("/api/v1/query_range", &parameters).await;
        let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expression}: {answer}"));
        assert_eq!(result.len(), 1, "{expression}: {answer}");
        let values = result[0]["values"].as_array().expect("values");
        let value = |pair: &Value| {
            (pair[0].as_f64().expect("a time").round() as i64, pair[1].as_str().expect("a value").to_owned())
        };
        values.iter().map(value).collect()
    }

    fn evaluated(&self, answer: Value, expression: &str) -> Evaluated {
        assert_eq!(answer["status"], "success", "{expression}: {answer}\n{}", self.process.log_tail());
        let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expression}: {answer}"));
        let series = result.iter().map(|series| {
            let value = series["value"][1].as_str().unwrap_or_else(|| panic!("{expression}: {answer}"));
            (series["metric"].clone(), value.to_owned())
        });
        let warnings = answer["warnings"].as_array().cloned().unwrap_or_default();
        let warnings = warnings.into_iter().map(|warning| warning.as_str().unwrap_or_default().to_owned());
        Evaluated { series: series.collect(), warnings: warnings.collect() }
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let reply = self.http.post(self.url(path)).form(parameters).send().await.expect("an answer");
        reply.json().await.expect("an answer in JSON")
    }

    /// Of a path of its API.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}
