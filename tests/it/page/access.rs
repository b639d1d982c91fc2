//! For whom it is: whoever uses the keyboard, a screen reader, or sees little contrast.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::Settings;
use crate::support::app::Running;
use crate::support::browser::Browser;

const LIVE: &str = "document.querySelector('#pulse')?.dataset.state === 'live'";
/// What can be used, by its role.
const CONTROLS: [&str; 7] = ["button", "combobox", "searchbox", "textbox", "slider", "DisclosureTriangle", "link"];
/// The least contrast of text: WCAG 2.2, success criterion 1.4.3.
const LEAST_CONTRAST: f64 = 4.5;

/// One of each kind of text that is not there at any time.
const SAMPLES: &str = "(() => {
  const add = (place, name, kind) => {
    const made = document.createElement(name);
    made.className = kind;
    made.textContent = kind || name;
    document.querySelector(place).append(made);
    return made;
  };
  for (const kind of ['banner', 'banner bad', 'banner info']) add('#banners', 'p', kind);
  for (const kind of ['reason', 'note bad', 'figure off', 'change up', 'change down', 'change same']) add('.tile', 'p', kind);
  add('.hop dl', 'div', 'bad');
})()";

/// The texts that are seen, each with the lowest contrast to what lies behind it.
const CONTRASTS: &str = "(() => {
  const numbers = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => {
    const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const contrast = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const grounds = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at), colour = numbers(style.backgroundColor);
      const drawn = [...style.backgroundImage.matchAll(/rgba?\\([^)]*\\)/g)].map(([text]) => numbers(text));
      if (drawn.length) return [...drawn, ...grounds(at.parentElement)];
      if (colour.length === 3 || colour[3] === 1) return [colour];
    }
    return [[255, 255, 255]];
  };
  const seen = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.data.trim(), element = walk.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest('.visually-hidden, noscript, script')) continue;
    const ink = numbers(getComputedStyle(element).color);
    seen.push([text, Math.min(...grounds(element).map((ground) => contrast(ink, ground)))]);
  }
  return seen;
})()";

async fn opened(gauge: &Running) -> Browser {
    gauge.post(&json!([{"type": "page_view", "payload": {"path": "/a"}}, {"type": "page_view"}])).await;
    gauge.until_consumed(2).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/?counter=page_views&window=1h")).await;
    browser.until(LIVE).await;
    browser.until("document.querySelectorAll('#keys tr').length === 2").await;
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_control_has_a_name_and_headings_and_landmarks_are_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let mut browser = opened(&gauge).await;
    browser.click("#twin summary").await;
    browser.until("document.querySelectorAll('#windows tr').length > 0").await;
    let nodes = browser.accessible().await;
    let controls: Vec<_> = nodes.iter().filter(|(role, _)| CONTROLS.contains(&role.as_str())).collect();
    assert!(controls.len() >= 7, "{nodes:?}");
    for (role, name) in &controls {
        assert!(!name.trim().is_empty(), "a {role} without a name");
    }
    let of = |role: &str| nodes.iter().filter(|(at, _)| at == role).count();
    assert_eq!((of("banner"), of("main")), (1, 1), "{nodes:?}");
    for table in ["Top keys", "Partitions", "Events per window"] {
        assert!(nodes.iter().any(|(role, name)| role == "table" && name.starts_with(table)), "{table}: {nodes:?}");
    }
    let regions = nodes.iter().filter(|(role, _)| role == "region").map(|(_, name)| name);
    assert!(regions.clone().count() >= 5 && regions.clone().all(|name| !name.is_empty()), "{nodes:?}");

    let levels = "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((h) => Number(h.tagName[1]))";
    let levels: Vec<i64> = serde_json::from_value(browser.eval(levels).await).unwrap();
    assert_eq!(levels.first(), Some(&1));
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "a level is left out: {levels:?}");
    assert_eq!(browser.eval("document.documentElement.lang").await, "en");
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_reached_by_the_tab_key_and_seen_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let mut browser = opened(&gauge).await;
    let mut reached = BTreeSet::new();
    for _ in 0..20 {
        browser.press("Tab").await;
        let focus = "(() => { const it = document.activeElement, style = getComputedStyle(it);
            return [it.id || it.ariaLabel || it.tagName, style.outlineStyle, parseFloat(style.outlineWidth)]; })()";
        let focus = browser.eval(focus).await;
        let name = focus[0].as_str().unwrap().to_owned();
        if name == "BODY" {
            continue;
        }
        assert!(focus[1] != "none" && focus[2].as_f64() >= Some(2.0), "the focus is not seen: {focus}");
        if name == "SUMMARY" && !reached.contains("SUMMARY") {
            // The twin of the chart opens by the keyboard, too.
            browser.press("Enter").await;
            browser
                .until("document.querySelector('#twin').open && document.querySelectorAll('#windows tr').length > 0")
                .await;
        }
        reached.insert(name);
    }
    for name in ["pause", "share", "counter", "window", "range", "chart", "SUMMARY", "filter"] {
        assert!(reached.contains(name), "{name} is not reached: {reached:?}");
    }
    for name in ["Events per window, scrollable", "Partitions, scrollable"] {
        assert!(reached.contains(name), "{name} is not reached: {reached:?}");
    }
    // The chart tells the window that it shows.
    let slider = "['valuemin', 'valuemax', 'valuenow', 'valuetext'].map((n) => document.querySelector('#chart').getAttribute(`aria-${n}`))";
    let told = browser.eval(slider).await;
    assert!(told[3].as_str().unwrap().contains("2 events"), "{told}");
    assert_eq!((&told[0], &told[1], &told[2]), (&json!("0"), &json!("23"), &json!("23")), "{told}");
    browser.eval("document.querySelector('#chart').focus(), 0").await;
    browser.press("ArrowLeft").await;
    browser.until("document.querySelector('#chart').getAttribute('aria-valuetext').includes('0 events')").await;
    gauge.stop().await;
}

fn too_faint(contrasts: &Value) -> Vec<String> {
    let all = contrasts.as_array().unwrap();
    assert!(all.len() > 3, "{contrasts}");
    all.iter().filter(|seen| seen[1].as_f64().unwrap() < LEAST_CONTRAST).map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_text_stands_out_in_both_themes() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path()).with("query.token", "t")).await;
    let mut browser = Browser::start().await;
    browser.open(&gauge.query_url("/")).await;
    // With its style sheet: the form is there before it.
    browser.until("document.readyState === 'complete' && document.querySelector('#token') !== null").await;
    for theme in ["light", "dark"] {
        browser.theme(theme).await;
        assert_eq!(too_faint(&browser.eval(CONTRASTS).await), [""; 0], "log-in, {theme}");
    }
    browser.set("#token", "t").await;
    browser.click("button").await;
    browser.until(LIVE).await;
    gauge.post(&json!({"type": "page_view", "payload": {"path": "/a"}})).await;
    browser.until("document.querySelectorAll('#keys tr').length === 1").await;
    browser.click("#pause").await;
    browser.until("document.body.dataset.old === 'yes'").await;
    for old in ["yes", "no"] {
        for theme in ["light", "dark"] {
            browser.theme(theme).await;
            browser.eval(&format!("document.body.dataset.old = '{old}'")).await;
            browser.eval(SAMPLES).await;
            assert_eq!(too_faint(&browser.eval(CONTRASTS).await), [""; 0], "{theme}, old: {old}");
        }
    }
    gauge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_screen_reader_is_told_of_trouble_and_not_of_each_second() {
    let dir = tempfile::tempdir().unwrap();
    let gauge = Running::start(&Settings::embedded(dir.path())).await;
    let mut browser = opened(&gauge).await;
    let regions = "[...document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log], output')]";
    let kinds = browser.eval(&format!("{regions}.map((r) => [r.id, r.role, r.ariaLive])")).await;
    assert_eq!(kinds, json!([["banners", "status", null]]), "polite, and only one");
    let watch = format!(
        "(() => {{ globalThis.told = 0; globalThis.seconds = new Set();
            for (const region of {regions}) new MutationObserver(() => (told += 1)).observe(region, {{ childList: true, subtree: true, characterData: true, attributes: true }});
            new MutationObserver(() => seconds.add(document.querySelector('#pulse-text').textContent)).observe(document.querySelector('#pulse-text'), {{ childList: true, characterData: true, subtree: true }}); }})()"
    );
    browser.eval(&watch).await;
    gauge.post(&json!({"type": "page_view", "payload": {"path": "/while/it/looks"}})).await;
    browser.until("document.querySelector('#keys').innerText.includes('/while/it/looks') && seconds.size >= 3").await;
    assert_eq!(browser.eval("told").await, 0, "chatty");
    browser.click("#pause").await;
    browser.until("told > 0").await;
    gauge.stop().await;
}
