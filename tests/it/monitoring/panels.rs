//! Each expression of the dashboards and of the alert rules, asked of a real Prometheus that scrapes the real program
//! under load.

use serde_json::Value;

use super::watcher::Watcher;
use super::{dashboards, panels, rules, text};
use crate::support::app::Binary;
use crate::support::doors::SOON;
use crate::support::topic::Raw;
use crate::support::traffic::Load;
use crate::support::{self, Settings, eventually, now_ms, unique};

/// What Grafana puts in place of variables. The longer name first where one begins with another.
const VARIABLES: &[(&str, &str)] = &[
    ("$__rate_interval", "10s"),
    ("$__interval", "10s"),
    ("$__range_s", "900"),
    ("$__range", "15m"),
    ("$instance", ".+"),
    ("$job", "streamgauge"),
    ("$group", ".+"),
    ("$counter", "page_views"),
    ("$window", "10s"),
    ("$top", "5"),
];

/// Which windows the product dashboard takes by itself for a range of so many seconds. They are kept for an hour, a day
/// and 30 days; and the period before is to be there, too, if it can be.
const RANGES: &[(u32, &str)] =
    &[(300, "10s"), (1_800, "10s"), (3_600, "1m"), (10_800, "1m"), (86_400, "1h"), (604_800, "1h"), (2_592_000, "1h")];

/// Something that a dashboard asks for.
pub(super) struct Question {
    place: String,
    path: &'static str,
    parameters: Vec<(&'static str, String)>,
}

impl Question {
    async fn answer(&self, prometheus: &Watcher) -> Result<(), String> {
        let now = now_ms() / 1_000;
        let mut parameters: Vec<(&str, String)> = self.parameters.clone();
        if self.path == "query_range" {
            let range = [("start", (now - 20).to_string()), ("end", now.to_string()), ("step", "10".to_owned())];
            parameters.extend(range);
        }
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let data = prometheus.ask(self.path, &parameters).await?;
        if holds_a_number(&data) { Ok(()) } else { Err(format!("nothing: {data}")) }
    }
}

/// Whether an answer shows anything: a list of labels' values, or at least one sample that is a number.
fn holds_a_number(data: &Value) -> bool {
    if let Some(values) = data.as_array() {
        return !values.is_empty();
    }
    let is_number = |sample: &Value| sample[1].as_str().is_some_and(|text| text.parse().is_ok_and(f64::is_finite));
    data["result"].as_array().expect("a result").iter().any(|series| {
        is_number(&series["value"]) || series["values"].as_array().is_some_and(|all| all.iter().any(is_number))
    })
}

fn substituted(expr: &str) -> String {
    let expr = VARIABLES.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value));
    assert!(!expr.contains('$'), "an unknown variable: {expr}");
    expr
}

/// What the dashboards of these files ask.
pub(super) fn questions(of: impl Fn(&str) -> bool) -> Vec<Question> {
    let mut questions = Vec::new();
    for (file, dashboard) in dashboards().into_iter().filter(|(file, _)| of(file)) {
        let variables = dashboard["templating"]["list"].as_array().expect("variables");
        for variable in variables.iter().filter(|variable| variable["type"] == "query") {
            questions.extend(variable_question(&file, variable));
        }
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().expect("targets") {
                let expr = target["expr"].as_str().expect("an expression");
                let place = format!("{file}: {}: {expr}", panel["title"]);
                let path = if target["range"] == true { "query_range" } else { "query" };
                questions.push(Question { place, path, parameters: vec![("query", substituted(expr))] });
            }
        }
    }
    questions
}

/// Grafana's two functions for variables, as requests.
fn variable_question(file: &str, variable: &Value) -> Option<Question> {
    let query = variable["query"]["query"].as_str().expect("a query");
    let place = format!("{file}: variable {}: {query}", variable["name"]);
    let inner = query.split_once('(')?.1.strip_suffix(')')?;
    if query.starts_with("query_result") {
        return Some(Question { place, path: "query", parameters: vec![("query", substituted(inner))] });
    }
    let (metric, label) = inner.rsplit_once(", ").expect("a metric and a label");
    let path = match label {
        "job" => "label/job/values",
        "instance" => "label/instance/values",
        "counter" => "label/counter/values",
        "group" => "label/group/values",
        other => panic!("{place}: {other}"),
    };
    Some(Question { place, path, parameters: vec![("match[]", substituted(metric))] })
}

/// The program with everything that can be measured going on, and a Prometheus that watches it.
async fn watched() -> (Binary, Load, Watcher) {
    let (kafka, redis) = (support::kafka().await, support::redis().await);
    let (topic, prefix) = (unique("watched"), unique("watched"));
    let settings = Settings::kafka(kafka, redis, &topic, &prefix);
    let program = Binary::start("run", &settings).await;
    program.until_ready().await;
    let load = Load::start(&program, &prefix);
    load.until_acknowledged(100).await;
    kafka.produce(&topic, [Raw { value: Some(b"no event".to_vec()), ..Raw::default() }]).await;
    let prometheus = Watcher::start(&program).await;
    (program, load, prometheus)
}

/// Asks until everything is answered at the same time, and fails with what is not.
async fn until_answered(program: &Binary, prometheus: &Watcher, questions: &[Question]) {
    eventually(SOON, "each expression has an answer", async || {
        // So that there are queries to show, too.
        program.status().await;
        all_answered(prometheus, questions).await
    })
    .await;
}

/// Asks each question once, and says which have no answer.
pub(super) async fn all_answered(prometheus: &Watcher, questions: &[Question]) -> Result<(), String> {
    let mut unanswered = Vec::new();
    for question in questions {
        if let Err(why) = question.answer(prometheus).await {
            unanswered.push(format!("{}\n    {why}", question.place));
        }
    }
    if unanswered.is_empty() { Ok(()) } else { Err(format!("\n{}", unanswered.join("\n"))) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_answers_under_load() {
    let (program, load, prometheus) = watched().await;
    // Services have a program of their own: `super::workers`.
    let questions = questions(|file| !file.ends_with("workers.json"));
    assert!(questions.len() > 80, "only {} questions", questions.len());
    until_answered(&program, &prometheus, &questions).await;

    let nonsense =
        |query: &str| Question { place: String::new(), path: "query", parameters: vec![("query", query.to_owned())] };
    assert!(nonsense("streamgauge_nonsense").answer(&prometheus).await.is_err(), "an empty answer is taken");
    assert!(nonsense("sum(").answer(&prometheus).await.is_err(), "an error is taken");

    for (range_s, window) in RANGES {
        until_chosen(&prometheus, *range_s, window).await;
    }
    assert_rules_are_evaluated(&prometheus).await;
    load.stop().await;
    program.kill();
    until_counted_as_down(&prometheus).await;
}

/// What is down says nothing of itself any more. It must not look healthy for that.
async fn until_counted_as_down(prometheus: &Watcher) {
    let all = questions(|file| file.ends_with("overview.json"));
    let of_panel = |question: &&Question| question.place.contains("\"Not ready or down\"");
    let expr = &all.iter().find(of_panel).expect("the panel").parameters[0].1;
    eventually(SOON, "a process is down", async || {
        let data = prometheus.ask("query", &[("query", expr)]).await?;
        if data["result"][0]["value"][1] == "1" { Ok(()) } else { Err(data.to_string()) }
    })
    .await;
}

/// Waits until the product dashboard takes this size of windows for this range, of the documented counters.
async fn until_chosen(prometheus: &Watcher, range_s: u32, window: &str) {
    let (_, product) = dashboards().into_iter().find(|(file, _)| file.ends_with("product.json")).expect("product");
    let variables = product["templating"]["list"].as_array().expect("variables");
    let variable = variables.iter().find(|variable| variable["name"] == "window").expect("window");
    let query = variable["query"]["query"].as_str().expect("a query");
    let expr = query.strip_prefix("query_result(").and_then(|query| query.strip_suffix(')')).expect("query_result");
    let expr = expr.replace("$__range_s", &range_s.to_string()).replace("$__range", &format!("{range_s}s"));
    eventually(SOON, &format!("{window} is chosen for {range_s} s"), async || {
        let data = prometheus.ask("query", &[("query", &substituted(&expr))]).await?;
        // Grafana takes the first, unless the one before is still among them.
        let first = &data["result"][0]["metric"]["window"];
        if first == window { Ok(()) } else { Err(data.to_string()) }
    })
    .await;
}

/// Alert rules may have nothing to say, but must be understood.
async fn assert_rules_are_evaluated(prometheus: &Watcher) {
    for rule in rules() {
        let expr = text(&rule, "expr");
        let answer = prometheus.ask("query", &[("query", expr)]).await;
        assert!(answer.is_ok(), "{expr}: {answer:?}");
    }
    eventually(SOON, "all rules are evaluated", async || {
        let groups = prometheus.ask("rules", &[]).await?["groups"].take();
        let all: Vec<&Value> =
            groups.as_array().expect("groups").iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
        assert_eq!(all.len(), rules().len());
        let ill: Vec<_> = all.iter().filter(|rule| rule["health"] != "ok").collect();
        if ill.is_empty() { Ok(()) } else { Err(format!("{ill:?}")) }
    })
    .await;
}
