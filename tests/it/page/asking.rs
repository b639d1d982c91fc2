//! When the page asks the API for itself: not while nobody looks, not twice at a time, and ever less while it fails.

use serde_json::{Value, json};

use crate::support::app::Running;
use crate::support::browser::Browser;
use crate::support::{Settings, now_ms};

const LIVE: &str = "document.querySelector('#pulse')?.dataset.state === 'live'";

/// A poll whose clock, visibility and answers the test makes; what it asks for is noted in `asked`.
const STAGE: &str = "(async () => {
  globalThis.asked = []; globalThis.asking = 0; globalThis.most = 0; globalThis.answers = []; globalThis.at = 0;
  Date.now = () => globalThis.at;
  const real = fetch;
  globalThis.fetch = (path, how) => (['/a', '/b'].includes(path) ? staged(path, how) : real(path, how));
  const staged = (path, { signal }) => new Promise((resolve, reject) => {
    asked.push(path); asking += 1; most = Math.max(most, asking);
    const end = (then) => (value) => { asking -= 1; then(value); };
    signal.addEventListener('abort', () => end(reject)(new Error('given up')));
    answers.push({ good: (body) => end(resolve)(new Response(JSON.stringify(body))),
                   bad: (error) => end(resolve)(new Response(JSON.stringify({ error }), { status: 503 })) });
  });
  const { Poll } = await import('/assets/poll.js');
  globalThis.awake = true; globalThis.told = 0;
  globalThis.poll = new Poll(() => awake);
  globalThis.want = (what, at) => { globalThis.at = at; poll.want(what, '/' + what, 1000, () => (told += 1)); return asked.length; };
})()";

/// Lets the newest question have its answer, and waits until the poll has it.
async fn answer(browser: &mut Browser, kind: &str, body: &str) {
    let told = browser.eval("told").await;
    browser.eval(&format!("answers.at(-1).{kind}({body}), 0")).await;
    browser.until(&format!("told === {told} + 1")).await;
}

async fn wants(browser: &mut Browser, what: &str, at_ms: u32) -> Value {
    browser.eval(&format!("want('{what}', {at_ms})")).await
}

async fn staged(gauge: &Running) -> Browser {
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/")).await;
    browser.until(LIVE).await;
    browser.eval(STAGE).await;
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_asked_once_at_a_time_and_ever_less_while_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let mut browser = staged(&gauge).await;
    assert_eq!(wants(&mut browser, "a", 100_000).await, 1);
    assert_eq!(wants(&mut browser, "a", 190_000).await, 1, "there is no answer yet");
    answer(&mut browser, "good", "{n: 1}").await;
    assert_eq!(wants(&mut browser, "a", 190_900).await, 1, "the interval has not passed");
    assert_eq!(wants(&mut browser, "a", 191_100).await, 2);
    // Each failure doubles the wait, up to a minute; the last good answer stays.
    let mut at = 191_100;
    for (round, wait) in [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000].into_iter().enumerate() {
        answer(&mut browser, "bad", "'it is away'").await;
        assert_eq!(browser.eval("[poll.error, poll.answer.n]").await, json!(["it is away", 1]));
        assert_eq!(wants(&mut browser, "a", at + wait - 1).await, round + 2, "too early after {round} failures");
        at += wait;
        assert_eq!(wants(&mut browser, "a", at).await, round + 3, "too late after {round} failures");
    }
    answer(&mut browser, "good", "{n: 2}").await;
    assert_eq!(browser.eval("[poll.error, poll.answer.n]").await, json!([null, 2]));
    let asked = wants(&mut browser, "a", at + 1_001).await;
    // Another question puts an end to the one before, and has its answer alone.
    assert_eq!(wants(&mut browser, "b", at + 1_002).await.as_i64(), asked.as_i64().map(|n| n + 1));
    assert_eq!(browser.eval("poll.answer").await, Value::Null, "the answer to another question");
    answer(&mut browser, "good", "{n: 3}").await;
    assert_eq!(browser.eval("[asking, poll.answer.n]").await, json!([0, 3]));
    assert_eq!(browser.eval("most").await, 1, "two at a time");
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nobody_looks_nothing_is_asked_again_and_what_is_new_once() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let mut browser = staged(&gauge).await;
    assert_eq!(wants(&mut browser, "a", 100_000).await, 1);
    answer(&mut browser, "good", "{n: 1}").await;
    browser.eval("awake = false, 0").await;
    assert_eq!(wants(&mut browser, "a", 900_000).await, 1, "nobody looks");
    assert_eq!(wants(&mut browser, "b", 900_000).await, 2, "a click is worth an answer");
    answer(&mut browser, "bad", "'it is away'").await;
    assert_eq!(wants(&mut browser, "b", 990_000).await, 2, "nobody looks");
    browser.eval("awake = true, 0").await;
    assert_eq!(wants(&mut browser, "b", 990_000).await, 3);
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_counter_is_looked_at_during_a_pause_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let event = |kind: &str| json!({"type": kind, "payload": {"path": "/p", "target": "buy"}});
    gauge.post(&json!([event("page_view"), event("click")])).await;
    gauge.until_consumed(2).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1h")).await;
    browser.until(LIVE).await;
    browser.click("#pause").await;
    browser.set("#counter", "clicks").await;
    browser.until("document.querySelector('#chart-title').innerText.startsWith('clicks')").await;
    browser.until("document.querySelector('#keys').innerText.includes('buy')").await;
    assert!(browser.text("#banners").await.starts_with("Paused. What you see is from"));
    gauge.post(&json!([event("click")])).await;
    gauge.until_consumed(3).await;
    // Nothing is open any more that could tell of it.
    let metrics = gauge.admin("/metrics").await.text();
    assert!(metrics.contains("streamgauge_live_streams 0"), "{metrics}");
    assert_eq!(browser.text("#rate-note").await, "2 in all");
    browser.click("#pause").await;
    browser.until("document.querySelector('#rate-note').innerText === '3 in all'").await;
    browser.assert_content();
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_stream_tells_is_not_asked_for_and_a_long_range_that_cannot_be_read_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let now = now_ms();
    let event =
        |n: i64| json!({"type": "page_view", "timestamp": now - n * 620_000, "payload": {"path": format!("/{n}")}});
    gauge.post(&(0..12).map(event).collect()).await;
    gauge.until_consumed(12).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1m&range=1800")).await;
    browser.until(LIVE).await;
    browser.until("document.querySelector('#keys').innerText.includes('/0')").await;
    browser.eval("globalThis.paths = [], globalThis.real = fetch, globalThis.fetch = (path, how) => (paths.push(path), real(path, how)), 0").await;
    browser.set("#filter", "/").await;
    browser.until("document.querySelector('#keys-note').innerText === '1 of 1 keys match.'").await;
    assert_eq!(browser.eval("paths").await, json!([]), "the stream has named all keys");
    browser.set("#filter", "").await;

    // A longer range is asked for, and its error is shown beside what is known.
    browser
        .eval("globalThis.fetch = async () => new Response('{\"error\":\"the store is away\"}', { status: 503 }), 0")
        .await;
    browser.set("#range", "10800").await;
    browser.until("document.querySelector('#chart-note').innerText.includes('the store is away')").await;
    assert!(browser.text("#chart-sum").await.starts_with("3 events in 3"), "half an hour of it");
    browser.eval("globalThis.fetch = real, 0").await;
    browser.set("#range", "1800").await;
    browser.until("document.querySelector('#chart-note').innerText === ''").await;
    browser.set("#range", "10800").await;
    browser.until("document.querySelector('#chart-sum').innerText === '12 events in 180 windows'").await;
    browser.assert_content();
    gauge.stop().await;
}
