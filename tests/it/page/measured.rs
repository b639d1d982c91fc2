//! Counters that tell more than how many, on the page.

use serde_json::{Value, json};

use crate::support::Settings;
use crate::support::app::Running;
use crate::support::browser::Browser;

const COUNTERS: &str = r#"
[[counters]]
name = "revenue"
kind = "sum"
of = "payload.amount"
factor = 100
by = ["payload.shop"]
windows = [{ size = "1h", keep = "1d" }]

[[counters]]
name = "buyers"
kind = "distinct"
of = "user_id"
by = ["payload.shop"]
windows = [{ size = "10s", keep = "1h" }, { size = "1h", keep = "1d" }]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_sums_and_who_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path()).counting(COUNTERS)).await;
    let sale = |(n, shop): (usize, &str)| {
        let payload = json!({"shop": shop, "amount": format!("{}.5", 100 * (n + 1))});
        json!({"type": "purchase", "user_id": format!("u{}", n % 3), "payload": payload})
    };
    let sales: Vec<Value> = ["north", "south", "north", "north"].into_iter().enumerate().map(sale).collect();
    gauge.post(&json!(sales)).await;
    gauge.until_consumed(4).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=revenue&window=1h")).await;
    browser.until("document.querySelector('#keys')?.innerText.includes('north')").await;
    assert_eq!(browser.text("#chart-title").await, "revenue, sum of payload.amount per 1h");
    assert!(browser.text("#readout").await.contains("1,002 in all"), "{}", browser.text("#readout").await);
    let first = browser.text("#keys tr:first-child").await;
    assert!(first.contains("north") && first.contains("801.5") && first.contains("80.0 %"), "{first}");
    assert_eq!(browser.text("#keys-n").await, "Value");
    browser.until("document.querySelector('#active').innerText === '3'").await;
    assert_eq!(browser.text("#active-note").await, "different user_id in 5 minutes");
    browser.picture("sum").await;

    browser.set("#counter", "buyers").await;
    browser.until("document.querySelector('#chart-title').innerText === 'buyers, different user_id per 1h'").await;
    browser.until("document.querySelector('#readout').innerText.includes('about 3 different')").await;
    let rows = browser.eval("[...document.querySelectorAll('#keys tr')].map((row) => row.innerText)").await;
    assert_eq!(rows.as_array().unwrap().len(), 2, "nobody is left over: {rows}");
    browser.picture("distinct").await;
    browser.assert_content();
    gauge.stop().await;
}
