//! What the head of a request and an event become.

use super::super::batch::{Batch, Taking};
use super::super::clock::Clock;
use super::super::sites::Sites;
use super::*;
use crate::event::{Door, Key};
use crate::store::{Day, Salt};
use hyper::header::{HeaderName, REFERER};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NOW: i64 = 1_760_000_000_000;
const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";
const ADDRESS: [u8; 4] = [203, 0, 113, 77];
const PAGE: (HeaderName, &str) = (ORIGIN, "https://shop.example");

fn visit(headers: &[(HeaderName, &str)]) -> Option<Visit> {
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
    let headers = headers.iter().map(|(name, text)| (name.clone(), value(text))).collect();
    Visit::of(&headers, || Some(ADDRESS.into()))
}

fn salts() -> Salts {
    let salts = Salts::new(true);
    salts.put(Day::of(NOW), Salt::of(&[7; 16]).unwrap());
    salts
}

fn all() -> Enrichment {
    Enrichment { ip: Ip::Truncated, ..Enrichment::default() }
}

/// The context of an event with this payload.
fn context(visit: &Visit, wanted: Enrichment, payload: &Value) -> Value {
    let told = visit.told(wanted, None, &salts(), NOW).unwrap();
    let event = json!({"type": "view", "payload": payload}).to_string();
    let event = Event::parse(event.as_bytes(), Door::Http).unwrap();
    let context = told.context(&event, None, None);
    context.map_or(Value::Null, |context| serde_json::from_str(&context).unwrap())
}

fn on_page(headers: &[(HeaderName, &str)], wanted: Enrichment) -> Value {
    context(&visit(headers).unwrap(), wanted, &Value::Null)
}

#[test]
fn all_of_it_together() {
    let visit = visit(&[PAGE, (USER_AGENT, CHROME), (ACCEPT_LANGUAGE, "de-AT,de;q=0.9,en;q=0.8")]).unwrap();
    let payload = json!({
        "url": "https://shop.example/a?utm_source=news&utm_campaign=%22sale%22", "referrer": "https://search.example/?q=x"
    });
    let mut found = context(&visit, all(), &payload);
    let visitor = found["visitor"].take();
    assert_eq!(visitor.as_str().unwrap().len(), 32);
    assert_eq!(
        found,
        json!({
            "browser": "Chrome", "os": "Linux", "device": "desktop", "language": "de", "visitor": null, "ip": "203.0.113.0",
            "referrer": "search.example", "utm_source": "news", "utm_campaign": "\"sale\"",
        })
    );
    let text = format!("{visit:?}");
    assert!(!text.contains("203") && !text.contains("Mozilla") && !text.contains("de-AT"), "{text}");
}

#[test]
fn each_part_can_be_switched_off() {
    let off = Enrichment {
        user_agent: false,
        language: false,
        referrer: false,
        utm: false,
        visitor: false,
        bots: Bots::Off,
        ip: Ip::None,
    };
    let visit = visit(&[PAGE, (USER_AGENT, CHROME), (ACCEPT_LANGUAGE, "de")]).unwrap();
    let payload = json!({"url": "https://shop.example/a?utm_source=news", "referrer": "https://search.example/"});
    let names = |wanted| match context(&visit, wanted, &payload) {
        Value::Object(members) => members.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    assert!(names(off).is_empty());
    assert_eq!(names(Enrichment { user_agent: true, ..off }), ["browser", "device", "os"]);
    assert_eq!(names(Enrichment { language: true, ..off }), ["language"]);
    assert_eq!(names(Enrichment { referrer: true, ..off }), ["referrer"]);
    assert_eq!(names(Enrichment { utm: true, ..off }), ["utm_source"]);
    assert_eq!(names(Enrichment { visitor: true, ..off }), ["visitor"]);
    assert_eq!(names(Enrichment { ip: Ip::Truncated, ..off }), ["ip"]);
}

#[test]
fn only_what_comes_from_pages_is_told_of() {
    for service in
        ["curl/8.5.0", "python-requests/2.32.3", "Go-http-client/2.0", "okhttp/4.12.0", "Java/21", "", "shop/1"]
    {
        assert!(visit(&[(USER_AGENT, service)]).is_none(), "{service}");
    }
    assert!(visit(&[]).is_none() && visit(&[(ACCEPT_LANGUAGE, "de"), (REFERER, "https://shop.example/")]).is_none());
    assert!(visit(&[PAGE]).is_none() && visit(&[PAGE, (USER_AGENT, "")]).is_none(), "every browser has a user agent");
    for headers in
        [&[PAGE, (USER_AGENT, "shop/1")][..], &[(USER_AGENT, CHROME)], &[(USER_AGENT, "facebookexternalhit/1.1")]]
    {
        assert!(visit(headers).is_some(), "{headers:?}");
    }
    // A page's origin says that it is one, and then such a program plays a visitor.
    let played = on_page(&[PAGE, (USER_AGENT, "curl/8.5.0")], Enrichment::default());
    assert_eq!(played, json!({"browser": "other", "os": "other", "device": "other", "bot": true}));
}

#[test]
fn a_bot_is_no_visitor() {
    let headless = CHROME.replace("Chrome/", "HeadlessChrome/");
    let headers = [PAGE, (USER_AGENT, &*headless)];
    let flagged = on_page(&headers, Enrichment::default());
    assert_eq!(flagged, json!({"browser": "HeadlessChrome", "os": "other", "device": "other", "bot": true}));
    let off = on_page(&headers, Enrichment { bots: Bots::Off, ..Enrichment::default() });
    assert!(off.get("bot").is_none() && off["visitor"].is_string(), "{off}");
    let refuse = Enrichment { bots: Bots::Refuse, ..Enrichment::default() };
    assert_eq!(visit(&headers).unwrap().told(refuse, None, &salts(), NOW).unwrap_err(), Reject::Bot);
    assert!(visit(&[PAGE, (USER_AGENT, CHROME)]).unwrap().told(refuse, None, &salts(), NOW).is_ok());
}

#[test]
fn without_a_salt_there_is_no_visitor_and_it_is_said() {
    let visit = visit(&[PAGE, (USER_AGENT, CHROME)]).unwrap();
    let told = |salts: &Salts, wanted| visit.told(wanted, None, salts, NOW).unwrap();
    let none = Salts::new(true);
    let lacking = told(&none, Enrichment::default());
    assert!(lacking.lacks_visitor && !lacking.whole.contains("visitor") && lacking.whole.contains("Chrome"));
    assert!(!told(&none, Enrichment { visitor: false, ..all() }).lacks_visitor);
    assert!(!told(&salts(), all()).lacks_visitor);
}

#[test]
fn another_day_or_another_site_is_another_visitor() {
    let toml = "[[sites]]\nname = \"a\"\nwrite_keys = [\"ka\"]\n[[sites]]\nname = \"b\"\nwrite_keys = [\"kb\"]\n";
    let mut configs: BTreeMap<String, Vec<super::super::Site>> = toml::from_str(toml).unwrap();
    let configs = configs.remove("sites").unwrap();
    let sites = Sites::open(&configs, false, Enrichment::default()).unwrap();
    let salts = salts();
    salts.put(Day::of(NOW).next(), Salt::of(&[8; 16]).unwrap());
    let visit = visit(&[PAGE, (USER_AGENT, CHROME)]).unwrap();
    let told = |key: &str, ms| {
        let sender = sites.sender_by_body(Some(key), None).unwrap();
        let told = visit.told(Enrichment::default(), sender.site(), &salts, ms).unwrap();
        serde_json::from_str::<Value>(&told.whole).unwrap()["visitor"].to_string()
    };
    let first = told("ka", NOW);
    assert_eq!(told("ka", NOW + 3_600_000), first);
    assert_ne!(told("ka", NOW + 86_400_000), first);
    assert_ne!(told("kb", NOW), first);
}

#[test]
fn an_array_is_still_read_in_one_pass() {
    let visit = visit(&[PAGE, (USER_AGENT, CHROME)]).unwrap();
    let told = visit.told(all(), None, &salts(), NOW).unwrap();
    let clock = Clock { received_ms: NOW, max_skew_ms: 60_000 };
    let (key, told) = (Key::Session, Some(&told));
    let taking = Taking { key: &key, max_event: 1_000, clock, skew_ms: Some(90_000), site: None, told, trace: None };
    let view = |id: u32| {
        let url = format!("https://shop.example/a?utm_source=s{id}");
        json!({"type": "view", "id": id.to_string(), "timestamp": NOW, "payload": {"url": url, "referrer": "https://a.example"}})
    };
    let events: Vec<_> = (0..3).map(|id| view(id).to_string()).collect();
    let array = format!("[{}]", events.join(","));
    let in_one = Batch::of_array(&array, 10, taking).expect("a plain array");
    let in_two = Batch::of(&events.iter().map(|event| event.as_bytes().into()).collect::<Vec<_>>(), taking);
    assert_eq!((&in_one.records, &in_one.event_ids), (&in_two.records, &in_two.event_ids));
    let event: Value = serde_json::from_slice(in_one.records[2].value.as_deref().unwrap()).unwrap();
    let context = &event["context"];
    assert_eq!((&context["utm_source"], &context["clock_skew_ms"]), (&json!("s2"), &json!(90_000)));
    assert_eq!((&context["referrer"], &context["browser"]), (&json!("a.example"), &json!("Chrome")));
}

#[test]
fn a_language_is_a_short_tag_or_none() {
    let of = |accepted: &str| language(accepted.as_bytes());
    for (accepted, expected) in
        [("de", "de"), ("en-US,en;q=0.5", "en"), (" FR ;q=1", "fr"), ("gsw-CH", "gsw"), ("zh-Hant-TW", "zh")]
    {
        assert_eq!(of(accepted).as_deref(), Some(expected), "{accepted}");
    }
    for none in ["", "*", "x", "english", "d3", "<script>", "\u{fc}b", ",de", "de_AT"] {
        assert_eq!(of(none), None, "{none}");
    }
    assert_eq!(language(b"\xff\xfe"), None);
    assert_eq!(language(&[b'd'; 10_000]), None);
}

#[test]
fn headers_that_are_no_text_or_too_long_do_no_harm() {
    let long = format!("Mozilla/5.0 ({}) Chrome/1", "x".repeat(10_000));
    let found = on_page(&[PAGE, (USER_AGENT, &long), (ACCEPT_LANGUAGE, &"de,".repeat(3_000))], Enrichment::default());
    assert_eq!((&found["browser"], &found["language"]), (&json!("other"), &json!("de")));
    // Visitors are told apart by what is looked at, too.
    let longer = format!("{long} and more");
    assert_eq!(on_page(&[PAGE, (USER_AGENT, &longer)], Enrichment::default())["visitor"], found["visitor"]);
    let headers =
        [(USER_AGENT, &b"Mozilla/5.0 \xff\xfe Chrome/1"[..]), (ACCEPT_LANGUAGE, b"\xff"), (ORIGIN, b"\xc3\x28")];
    let headers = headers.map(|(name, bytes)| (name, HeaderValue::from_bytes(bytes).unwrap())).into_iter().collect();
    let visit = Visit::of(&headers, || None).unwrap();
    let found = context(&visit, all(), &json!({"referrer": "https://search.example/"}));
    assert_eq!(found, json!({"browser": "Chrome", "os": "other", "device": "other", "referrer": "search.example"}));
}

/// What it costs: `cargo test --lib what_a_visit_costs -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_a_visit_costs() {
    const ROUNDS: u32 = 200_000;
    let text = |name, text: &str| (name, HeaderValue::from_str(text).unwrap());
    let headers: HeaderMap =
        [text(ORIGIN, PAGE.1), text(USER_AGENT, CHROME), text(ACCEPT_LANGUAGE, "de-AT,de;q=0.9")].into_iter().collect();
    let long: HeaderMap = [text(USER_AGENT, &format!("Mozilla/5.0 {}", "bot x".repeat(2_000)))].into_iter().collect();
    let salts = salts();
    let event = json!({"type": "view", "payload": {
        "path": "/a", "url": "https://shop.example/a?utm_source=news&utm_medium=mail", "referrer": "https://search.example/"
    }}).to_string();
    let bare = json!({"type": "click", "payload": {"target": "buy"}}).to_string();
    let [event, bare] = [&event, &bare].map(|text| Event::parse(text.as_bytes(), Door::Http).unwrap());
    let measured = |what: &str, step: &dyn Fn()| {
        let begun = std::time::Instant::now();
        (0..ROUNDS).for_each(|_| step());
        println!("{what}: {} ns", begun.elapsed().as_nanos() / u128::from(ROUNDS));
    };
    let address = || Some(ADDRESS.into());
    let one = || Visit::of(std::hint::black_box(&headers), address).unwrap();
    let visit = one();
    let told = visit.told(Enrichment::default(), None, &salts, NOW).unwrap();
    measured("the head of a request", &|| drop(std::hint::black_box(one())));
    measured("a user agent of 10 kB", &|| drop(std::hint::black_box(Visit::of(&long, address))));
    measured("what is told of it", &|| {
        drop(std::hint::black_box(visit.told(Enrichment::default(), None, &salts, NOW)));
    });
    measured("the context of a page view", &|| drop(std::hint::black_box(told.context(&event, None, None))));
    measured("the context of a click", &|| drop(std::hint::black_box(told.context(&bare, None, None))));
}
