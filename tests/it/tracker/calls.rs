//! Events of the page's own: by calls, by attributes, and by whatever a page may throw at it.

use serde_json::json;

use super::Stage;
use super::stage::payloads;

/// As docs/browser.md has it.
const STUB: &str = "<script>window.streamgauge = window.streamgauge || function () { (streamgauge.q = streamgauge.q || []).push(arguments) }</script>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_before_the_tracker_is_there_are_not_lost() {
    let mut stage = Stage::new().await;
    let early = "<script>streamgauge('early', {n: 1}); streamgauge('early', {n: 2})</script>";
    stage.door.page("/", &format!("<!doctype html><title>shop</title>{STUB}{early}{}", stage.tag("async")));
    stage.visit("/").await;
    // What becomes of an object later is not what happened.
    stage.run("(() => { const now = {n: 3}; streamgauge('early', now); now.n = 4; return 0 })()").await;
    stage.until_kept(0).await;
    let events = stage.sent_once(&[("page_view", 1), ("early", 3)]).await;
    assert_eq!(payloads(&events, "early"), [json!({"n": 1}), json!({"n": 2}), json!({"n": 3})]);
    // The line for them does no harm where nobody was early, nor where the tracker was.
    stage.door.page("/unused", &format!("<!doctype html><title>shop</title>{STUB}{}", stage.tag("")));
    stage.door.page("/late", &format!("<!doctype html><title>shop</title>{}{STUB}{early}", stage.tag("")));
    for path in ["/unused", "/late"] {
        stage.visit(path).await;
        stage.until_kept(0).await;
    }
    stage.sent_once(&[("page_view", 3), ("early", 5)]).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clicks_are_counted_where_attributes_say_so() {
    let mut stage = Stage::new().await;
    stage.page(
        "/",
        "",
        "<button id=buy data-streamgauge data-streamgauge-target=add-to-cart data-user=ann><b id=inner>buy</b></button>\
         <button id=share data-streamgauge=share data-streamgauge-how-far=far>share</button>\
         <button id=quiet data-secret=x>nothing</button>\
         <a id=out data-outbound href='https://example.com/a/b?token=1#x'>out</a>\
         <nav data-outbound><a id=nav href='http://example.org:8080/'>out</a><a id=home href='/home'>home</a>\
         <a id=mail href='mailto:a@example.com'>mail</a></nav>\
         <a id=plain href='https://example.com/plain'>not counted</a>\
         <form id=trap><input name=closest></form>\
         <script>document.body.addEventListener('click', (e) => { e.preventDefault(); e.stopPropagation() })</script>",
    );
    stage.visit("/").await;
    for id in ["#inner", "#share", "#quiet", "#out", "#nav", "#home", "#mail", "#plain"] {
        stage.browser.click(id).await;
    }
    // The middle button opens what a link leads to, the right one a menu.
    for button in [1, 2] {
        let event = format!("new MouseEvent('auxclick', {{button: {button}, bubbles: true, cancelable: true}})");
        stage.run(&format!("document.querySelector('#out').dispatchEvent({event}), 0")).await;
    }
    // Clicks on what is no element, and on one that pretends to be another.
    stage
        .run("[window, document, document.querySelector('#trap')].map((at) => at.dispatchEvent(new Event('click'))), 0")
        .await;
    stage.until_kept(0).await;
    let events = stage.sent_once(&[("page_view", 1), ("click", 1), ("share", 1), ("outbound_click", 3)]).await;
    assert_eq!(payloads(&events, "click"), [json!({"path": "/", "target": "add-to-cart"})]);
    assert_eq!(payloads(&events, "share"), [json!({"path": "/", "howFar": "far"})]);
    let example = json!({"path": "/", "target": "example.com", "url": "https://example.com/a/b"});
    let port = json!({"path": "/", "target": "example.org:8080", "url": "http://example.org:8080/"});
    assert_eq!(payloads(&events, "outbound_click"), [example.clone(), port, example]);
    stage.end().await;
}

/// What no event can be made of; each is said on the console.
const UNSENDABLE: &[&str] = &[
    "const a = {}; a.a = a; streamgauge('cyclic', a)",
    "streamgauge('huge', {text: 'x'.repeat(1e6)})",
    "streamgauge('many', {list: Array(1e5).fill(1)})",
    "streamgauge('wide', Object.fromEntries(Array(9000).fill(0).map((_, n) => ['k' + n, n])))",
    "streamgauge('swelling', {text: '\\u0001'.repeat(15000)})",
    "streamgauge('getter', {get a() { throw new Error('getter') }})",
    "streamgauge('json', {toJSON() { throw {toString() { throw 1 }} }})",
    "streamgauge('bigint', {n: 1n})",
    "streamgauge('proxy', new Proxy({}, {ownKeys() { throw new Error('proxy') }}))",
    "const grow = (level) => ({get a() { return level < 40 ? grow(level + 1) : 1 }, get b() { return grow(level) }}); \
     streamgauge('deep', grow(0))",
    "const fork = (level) => level < 40 ? {get a() { return fork(level + 1) }, get b() { return fork(level + 1) }} : 1; \
     streamgauge('endless', fork(0))",
    "streamgauge(Symbol('type'), {})",
    "streamgauge({toString() { throw new Error('type') }})",
];
/// What the server refuses, event by event.
const REFUSED: &[&str] = &[
    "streamgauge('')",
    "streamgauge('a\\nb')",
    "streamgauge('x'.repeat(129))",
    "streamgauge('text', 'no object')",
    "streamgauge('surrogate', {text: '\\ud800'})",
    "let deep = {}; for (let n = 0; n < 40; n++) deep = {deep}; streamgauge('deep', deep)",
];
/// What is odd, and an event.
const ODD: &[&str] = &[
    "streamgauge('odd')",
    "streamgauge('odd', null)",
    "streamgauge('odd', {f() {}, u: undefined, s: Symbol('s'), n: NaN})",
    "streamgauge('odd', {length: 1e9, name: 'a'})",
    "streamgauge('odd', JSON.parse('{\"__proto__\": {\"a\": 1}, \"constructor\": 1}'))",
    "streamgauge('odd', Object.create(null))",
    "streamgauge('odd', {text: '</script>\\u2028🦀'.repeat(100)})",
    "streamgauge('odd', document.createElement('p'))",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_page_gives_it_nothing_is_thrown_back() {
    let mut stage = Stage::new().await;
    stage.page("/", "", "");
    stage.visit("/").await;
    for (warned, script) in (1..).zip(UNSENDABLE) {
        assert_eq!(stage.run(&format!("(() => {{ {script}; return 'done' }})()")).await, "done", "{script}");
        assert_eq!(stage.browser.warnings().len(), warned, "{script}: {:?}", stage.browser.warnings());
    }
    for script in REFUSED.iter().chain(ODD) {
        assert_eq!(stage.run(&format!("(() => {{ {script}; return 'done' }})()")).await, "done", "{script}");
    }
    // A console that throws, which is not the page's fault either.
    stage.run("console.warn = () => { throw new Error('console') }, streamgauge('big', {n: 1n}), 0").await;
    stage.until_kept(0).await;
    stage.counted(&[("page_view", 1), ("odd", ODD.len() as u64)]).await;
    let said = stage.browser.warnings().join("\n");
    for part in [
        "circular",
        "too large: huge",
        "too large: many",
        "too large: swelling",
        "too large: endless",
        "getter",
        "proxy",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_is_said_on_the_console() {
    let mut stage = Stage::new().await;
    stage.page("/", "", "");
    stage.visit("/").await;
    stage.run("streamgauge('x'.repeat(129)), 0").await;
    stage.until_kept(0).await;
    stage.counted(&[("page_view", 1)]).await;
    stage.browser.until_warned("129 bytes").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_10_000_is_counted_and_bounded() {
    let mut stage = Stage::new().await;
    stage.page("/", "", "");
    stage.visit("/").await;
    let took = "(() => { const from = performance.now(); for (let n = 0; n < 10000; n++) streamgauge('burst', {n, note: 'x'.repeat(100)}); \
                return Math.round(performance.now() - from) })()";
    let took = stage.run(took).await;
    let stored = stage.run("Object.values(localStorage).join('').length").await.as_u64().unwrap();
    assert!(stored < 300_000 && stage.kept().await <= 2_000, "{stored} characters are stored");
    let events = stage.sent_once(&[("page_view", 1), ("burst", 10_000)]).await;
    for (n, payload) in payloads(&events, "burst").iter().enumerate() {
        assert_eq!(payload["n"], n, "they keep their order");
    }
    stage.until_kept(0).await;
    let came = stage.door.came();
    println!("10,000 calls took {took} ms, {stored} characters were stored, {} requests", came.len());
    assert!(came.len() < 400, "{} requests", came.len());
    stage.end().await;
}
