//! User agents as they come, and what is told of them.

use super::*;
use proptest::prelude::*;
use std::mem::discriminant;

/// Browser, system, device, and the user agent.
#[rustfmt::skip]
const BROWSERS: &[(&str, &str, &str, &str)] = &[
    ("Chrome", "Windows", "desktop", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"),
    ("Chrome", "macOS", "desktop", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"),
    ("Chrome", "Linux", "desktop", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"),
    ("Chrome", "ChromeOS", "desktop", "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"),
    ("Chrome", "Android", "mobile", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"),
    ("Chrome", "Android", "tablet", "Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"),
    ("Chrome", "Android", "mobile", "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36"),
    ("Chrome", "iOS", "mobile", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1"),
    ("Edge", "Windows", "desktop", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0"),
    ("Edge", "Android", "mobile", "Mozilla/5.0 (Linux; Android 10; HD1913) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36 EdgA/141.0.0.0"),
    ("Edge", "iOS", "mobile", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 EdgiOS/141.0.0.0 Mobile/15E148 Safari/605.1.15"),
    ("Edge", "Xbox", "other", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/48.0 Safari/537.36 Edge/44.18363.8131"),
    ("Firefox", "Windows", "desktop", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0"),
    ("Firefox", "Linux", "desktop", "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"),
    ("Firefox", "Android", "mobile", "Mozilla/5.0 (Android 15; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0"),
    ("Firefox", "Android", "tablet", "Mozilla/5.0 (Android 15; Tablet; rv:143.0) Gecko/143.0 Firefox/143.0"),
    ("Firefox", "iOS", "mobile", "Mozilla/5.0 (iPhone; CPU iPhone OS 15_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/143.0 Mobile/15E148 Safari/605.1.15"),
    ("Safari", "macOS", "desktop", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15"),
    ("Safari", "iOS", "mobile", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1"),
    ("Safari", "iPadOS", "tablet", "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1"),
    ("Safari", "iOS", "mobile", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"),
    ("Opera", "Windows", "desktop", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36 OPR/121.0.0.0"),
    ("Opera", "Android", "mobile", "Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16"),
    ("Opera", "Windows", "desktop", "Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18"),
    ("Samsung Internet", "Android", "mobile", "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36"),
    ("Samsung Internet", "Tizen", "other", "Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/3.2 Chrome/76.0.3809.146 TV Safari/537.36"),
    ("Chrome", "webOS", "other", "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager"),
    ("Chrome", "Android", "other", "Mozilla/5.0 (Linux; Android 10; BRAVIA 4K UR2) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0.0.0 Safari/537.36"),
    ("Silk", "Android", "tablet", "Mozilla/5.0 (Linux; Android 9; KFMAWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/108.4.6 like Chrome/108.0.5359.220 Safari/537.36"),
    ("Yandex Browser", "Windows", "desktop", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 YaBrowser/25.8.0.0 Safari/537.36"),
    ("Vivaldi", "Linux", "desktop", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Vivaldi/7.6.3797.52"),
    ("DuckDuckGo", "macOS", "desktop", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15 Ddg/18.6"),
    ("Facebook", "iOS", "mobile", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/520.0.0.38;FBBV/1;FBDV/iPhone15,2]"),
    ("Instagram", "Android", "mobile", "Mozilla/5.0 (Linux; Android 14; Pixel 7; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/130.0.0.0 Mobile Safari/537.36 Instagram 350.0.0.40 Android"),
    ("Android Browser", "Android", "mobile", "Mozilla/5.0 (Linux; U; Android 4.0.3; de-de; GT-I9100) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30"),
    ("Internet Explorer", "Windows", "desktop", "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; SLCC2; Tablet PC 2.0; rv:11.0) like Gecko"),
    ("Firefox", "KaiOS", "mobile", "Mozilla/5.0 (Mobile; Nokia_8110_4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5"),
    ("Safari", "PlayStation", "other", "Mozilla/5.0 (PlayStation; PlayStation 5/9.00) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15"),
    ("other", "other", "other", "Mozilla/5.0 (compatible)"),
];

/// The name of a bot, and its user agent.
#[rustfmt::skip]
const BOTS: &[(&str, &str)] = &[
    ("Googlebot", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    ("Googlebot", "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    ("bingbot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36"),
    ("DuckDuckBot", "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)"),
    ("GPTBot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"),
    ("ClaudeBot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)"),
    ("facebookexternalhit", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"),
    ("AhrefsBot", "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"),
    ("HeadlessChrome", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36"),
    ("Lighthouse", "Mozilla/5.0 (Linux; Android 11; moto g power (2022)) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Mobile Safari/537.36 Chrome-Lighthouse"),
    ("YandexBot", "Mozilla/5.0 (compatible; YandexImages/3.0; +http://yandex.com/bots)"),
    ("WhatsApp", "WhatsApp/2.23.20.0"),
    ("UptimeRobot", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"),
    ("other", "Mozilla/5.0 (compatible; SomethingNewBot/0.1)"),
    ("other", "Mozilla/5.0 (compatible; Anything/1.0; +https://example.com/about)"),
];

const LIBRARIES: &[&str] = &[
    "curl/8.5.0",
    "Wget/1.21.4",
    "python-requests/2.32.3",
    "Python/3.12 aiohttp/3.9.5",
    "Go-http-client/2.0",
    "okhttp/4.12.0",
    "Java/21.0.2",
    "Apache-HttpClient/5.3 (Java/21)",
    "axios/1.7.2",
    "node",
    "PostmanRuntime/7.39.0",
    "my-orders-service/2.1",
    "robot-arm/3",
    "",
];

#[test]
fn browsers_are_told_by_family() {
    for (browser, os, device, text) in BROWSERS {
        let agent = Agent::of(text.as_bytes());
        assert_eq!((agent.browser, agent.os, agent.device), (Some(*browser), *os, *device), "{text}");
        assert!(agent.is_telling && !agent.is_bot && !agent.is_library, "{text}");
        assert!(["desktop", "mobile", "tablet", "other"].contains(&agent.device));
    }
}

#[test]
fn bots_say_who_they_are() {
    for (name, text) in BOTS {
        let agent = Agent::of(text.as_bytes());
        assert_eq!((agent.browser, agent.os, agent.device), (Some(*name), "other", "other"), "{text}");
        assert!(agent.is_bot && agent.is_telling, "{text}");
    }
}

#[test]
fn what_services_send_tells_of_no_visitor() {
    for text in LIBRARIES {
        assert!(!Agent::of(text.as_bytes()).is_telling, "{text}");
    }
    let libraries = LIBRARIES.iter().filter(|text| Agent::of(text.as_bytes()).is_library).count();
    assert_eq!(libraries, 10, "four say nothing that is known");
    assert_eq!(Agent::of(b"").browser, None);
    assert!(!Agent::of(b"Mozilla/5.0 (Windows NT 10.0) Python-urllib").is_library, "it says that it is a browser");
}

#[test]
fn only_the_first_bytes_are_looked_at() {
    let long = format!("Mozilla/5.0 {}Googlebot Chrome/1 Windows", "x".repeat(10_000));
    let agent = Agent::of(long.as_bytes());
    assert_eq!((agent.browser, agent.os, agent.is_bot), (Some("other"), "other", false));
}

#[test]
fn no_row_of_the_table_is_in_vain() {
    assert!(FINDER.is_some());
    for (row, (text, sign)) in SIGNS.iter().enumerate() {
        assert_eq!(*text, text.to_ascii_lowercase());
        let is_hidden = |(other, kind): &(&str, Sign)| text.contains(other) && discriminant(kind) == discriminant(sign);
        assert!(!SIGNS[..row].iter().any(is_hidden), "{text} comes after what is in it");
    }
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer_out_of_the_table(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let agent = Agent::of(&bytes);
        let known = |name: &str| name == OTHER || name == "Android Browser" || (0..SIGNS.len()).any(|row| named(row) == name);
        prop_assert!(known(agent.os) && known(agent.device) && agent.browser.is_none_or(known));
    }
}
