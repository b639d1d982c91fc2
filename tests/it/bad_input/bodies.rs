//! The HTTP door: bad events among good ones. What is refused as a whole is in `hostile`.

use serde_json::{Value, json};

use crate::hostile::json::events;
use crate::support::Settings;
use crate::support::app::Running;
use crate::support::oracle::{Recount, records_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_good_events_each_bad_one_is_named_and_the_others_count() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(dir.path());
    let gauge = Running::start(&settings).await;
    let bad = events();
    let mut body: Vec<String> = bad.iter().flat_map(|(_, event, _)| [event.clone(), good()]).collect();
    body.extend(strange());
    let answer = gauge.send(gauge.events("application/x-ndjson", body.join("\n"))).await.expect(202);
    let good = body.len() - bad.len();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(good), &json!(bad.len())), "{answer}");
    for (error, (at, (why, _, field))) in answer["errors"].as_array().unwrap().iter().zip(bad.iter().enumerate()) {
        assert_eq!(error["index"], 2 * at, "{why}: {error}");
        assert_eq!(error["field"].as_str(), *field, "{why}: {error}");
        assert!(error["error"].as_str().unwrap().len() > 10, "{why}: {error}");
    }
    gauge.until_consumed(good as u64).await;
    let recount = Recount::of_records(&settings, &records_of(settings.text_of("embedded.path").as_ref()));
    assert_eq!(recount.outcome("counted"), good as u64);
    recount.assert_in_api(&gauge).await;
    gauge.stop().await;
}

fn good() -> String {
    json!({"type": "page_view", "payload": {"path": "/good"}}).to_string()
}

/// Events that are odd, but right.
fn strange() -> Vec<String> {
    let deep = format!("{}1{}", "{\"a\":".repeat(31), "}".repeat(31));
    let view = |payload: &Value| json!({"type": "page_view", "payload": payload}).to_string();
    vec![
        view(&json!({"path": "/nul\u{0}byte"})),
        view(&json!({"path": "x".repeat(60_000)})),
        view(&json!({"path": "ä".repeat(200)})),
        view(&json!({"path": {"an": "object"}})),
        view(&json!({"path": [1, null, "😀"]})),
        view(&json!({"path": true})),
        view(&json!({"path": 12_345_678_901_i64})),
        view(&json!({"path": null})),
        view(&json!({"path": "\u{202e}\n\r\t\"\\"})),
        format!("{{\"type\":\"page_view\",\"payload\":{{\"path\":{deep}}}}}"),
        r#"{"type":"page_view","payload":{"path":"/first","path":"/last"}}"#.to_owned(),
        r#"{"type":"page_view","unknown":1,"unknown":2}"#.to_owned(),
        r#"{"type":"\ud83d\ude00","payload":{"path":"a pair of surrogates"}}"#.to_owned(),
        r#"{"type":"page_view","timestamp":946684800000}"#
            .replace("946684800000", &crate::support::now_ms().to_string()),
        format!("{{\"type\":\"{}\",\"event_id\":\"{}\"}}", "t".repeat(128), "i".repeat(128)),
    ]
}
