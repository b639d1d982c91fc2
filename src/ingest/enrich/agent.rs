//! What a user agent says: browser, system and device in general, and whether it is no person's. No versions and no models:
//! they are what people are told apart by.
//!
//! One table, found in one pass over the text. Of each kind the first row counts that stands in the text, wherever it does:
//! browsers name those that they want to be taken for as well, so the particular stands before the general.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use std::sync::LazyLock;

/// Bytes of a user agent that are looked at. Those of browsers have 100 to 200; what is behind is for nobody's good.
pub(super) const MOST_BYTES: usize = 512;
/// What is neither of the known ones.
const OTHER: &str = "other";

/// What a piece of text in a user agent means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Browser(&'static str),
    Os(&'static str),
    Device(&'static str),
    /// A program that says which it is.
    Bot(&'static str),
    /// A word that programs use of themselves.
    BotWord,
    /// A word that looks like one of these, and is none.
    NoBot,
    /// What services send requests with.
    Library,
}

use Sign::{Bot, BotWord, Browser, Device, Library, NoBot, Os};

/// Texts and what they mean, without regard to case.
#[rustfmt::skip]
const SIGNS: &[(&str, Sign)] = &[
    ("edg/", Browser("Edge")), ("edga/", Browser("Edge")), ("edgios/", Browser("Edge")), ("edge/", Browser("Edge")),
    ("opr/", Browser("Opera")), ("opt/", Browser("Opera")), ("opios/", Browser("Opera")), ("opera", Browser("Opera")),
    ("samsungbrowser/", Browser("Samsung Internet")), ("yabrowser/", Browser("Yandex Browser")),
    ("vivaldi/", Browser("Vivaldi")), ("duckduckgo/", Browser("DuckDuckGo")), (" ddg/", Browser("DuckDuckGo")),
    ("ucbrowser/", Browser("UC Browser")), ("qqbrowser/", Browser("QQ Browser")), ("silk/", Browser("Silk")),
    ("miuibrowser/", Browser("MIUI Browser")), ("huaweibrowser/", Browser("Huawei Browser")),
    ("fban/", Browser("Facebook")), ("fbav/", Browser("Facebook")), ("instagram ", Browser("Instagram")),
    ("bytedancewebview", Browser("TikTok")), ("musical_ly", Browser("TikTok")), ("micromessenger/", Browser("WeChat")),
    ("firefox/", Browser("Firefox")), ("fxios/", Browser("Firefox")), ("focus/", Browser("Firefox")),
    ("chrome/", Browser("Chrome")), ("crios/", Browser("Chrome")), ("chromium/", Browser("Chrome")),
    ("msie ", Browser("Internet Explorer")), ("trident/", Browser("Internet Explorer")),
    ("applewebkit/", Browser("Safari")),

    ("windows phone", Os("Windows Phone")), ("xbox", Os("Xbox")), ("playstation", Os("PlayStation")),
    ("nintendo", Os("Nintendo")), ("tizen", Os("Tizen")), ("web0s", Os("webOS")), ("kaios/", Os("KaiOS")),
    ("harmony", Os("HarmonyOS")), ("ipad", Os("iPadOS")), ("iphone", Os("iOS")), ("ipod", Os("iOS")),
    ("apple tv", Os("tvOS")), ("appletv", Os("tvOS")), ("android", Os("Android")), ("windows", Os("Windows")), (" cros ", Os("ChromeOS")),
    ("mac os x", Os("macOS")), ("macintosh", Os("macOS")), ("bsd", Os("BSD")), ("linux", Os("Linux")), ("x11", Os("Linux")),

    ("smarttv", Device(OTHER)), ("smart-tv", Device(OTHER)), ("smart tv", Device(OTHER)), ("googletv", Device(OTHER)),
    ("google tv", Device(OTHER)), ("android tv", Device(OTHER)), ("apple tv", Device(OTHER)), ("appletv", Device(OTHER)),
    ("hbbtv", Device(OTHER)), ("crkey", Device(OTHER)), ("bravia", Device(OTHER)), ("; aft", Device(OTHER)),
    ("web0s", Device(OTHER)), ("netcast", Device(OTHER)), ("roku", Device(OTHER)), ("vidaa", Device(OTHER)),
    ("viera", Device(OTHER)), ("xbox", Device(OTHER)), ("playstation", Device(OTHER)), ("nintendo", Device(OTHER)),
    ("tablet pc", Device("desktop")), ("ipad", Device("tablet")), ("tablet", Device("tablet")),
    ("mobile", Device("mobile")), ("iphone", Device("mobile")), ("ipod", Device("mobile")), ("phone", Device("mobile")),
    ("opera mini", Device("mobile")), ("opera mobi", Device("mobile")), ("kaios/", Device("mobile")),
    ("android", Device("tablet")), ("windows", Device("desktop")), (" cros ", Device("desktop")),
    ("macintosh", Device("desktop")), ("bsd", Device("desktop")), ("linux", Device("desktop")), ("x11", Device("desktop")),

    ("googlebot", Bot("Googlebot")), ("adsbot-google", Bot("Googlebot")), ("mediapartners-google", Bot("Googlebot")),
    ("storebot-google", Bot("Googlebot")), ("google-inspectiontool", Bot("Googlebot")), ("googleother", Bot("Googlebot")),
    ("bingbot", Bot("bingbot")), ("bingpreview", Bot("bingbot")), ("adidxbot", Bot("bingbot")),
    ("duckduckbot", Bot("DuckDuckBot")), ("yandex.com/bots", Bot("YandexBot")), ("yandexbot", Bot("YandexBot")),
    ("baiduspider", Bot("Baiduspider")), ("applebot", Bot("Applebot")), ("slurp", Bot("Yahoo Slurp")),
    ("gptbot", Bot("GPTBot")), ("chatgpt-user", Bot("ChatGPT")), ("oai-searchbot", Bot("ChatGPT")),
    ("claudebot", Bot("ClaudeBot")), ("claude-user", Bot("ClaudeBot")), ("claude-searchbot", Bot("ClaudeBot")),
    ("perplexity", Bot("PerplexityBot")), ("ccbot", Bot("CCBot")), ("bytespider", Bot("Bytespider")),
    ("amazonbot", Bot("Amazonbot")), ("facebookexternalhit", Bot("facebookexternalhit")), ("facebot", Bot("facebookexternalhit")),
    ("meta-externalagent", Bot("meta-externalagent")), ("meta-externalfetcher", Bot("meta-externalagent")),
    ("twitterbot", Bot("Twitterbot")), ("linkedinbot", Bot("LinkedInBot")), ("slackbot", Bot("Slackbot")),
    ("slack-imgproxy", Bot("Slackbot")), ("discordbot", Bot("Discordbot")), ("telegrambot", Bot("TelegramBot")),
    ("whatsapp/", Bot("WhatsApp")), ("skypeuripreview", Bot("Skype")), ("pinterestbot", Bot("Pinterestbot")),
    ("ahrefsbot", Bot("AhrefsBot")), ("ahrefssiteaudit", Bot("AhrefsBot")), ("semrushbot", Bot("SemrushBot")),
    ("mj12bot", Bot("MJ12bot")), ("dotbot", Bot("DotBot")), ("petalbot", Bot("PetalBot")), ("seznambot", Bot("SeznamBot")),
    ("screaming frog", Bot("Screaming Frog")), ("ia_archiver", Bot("Internet Archive")), ("archive.org_bot", Bot("Internet Archive")),
    ("headlesschrome", Bot("HeadlessChrome")), ("chrome-lighthouse", Bot("Lighthouse")), ("page speed", Bot("Lighthouse")),
    ("gtmetrix", Bot("GTmetrix")), ("phantomjs", Bot("PhantomJS")), ("puppeteer", Bot("Puppeteer")),
    ("playwright", Bot("Playwright")), ("selenium", Bot("Selenium")), ("cypress/", Bot("Cypress")), ("jsdom/", Bot("jsdom")),
    ("prerender", Bot("Prerender")), ("pingdom", Bot("Pingdom")), ("uptimerobot", Bot("UptimeRobot")),
    ("statuscake", Bot("StatusCake")), ("site24x7", Bot("Site24x7")), ("datadog", Bot("Datadog")),
    ("cubot", NoBot), ("bot", BotWord), ("crawl", BotWord), ("spider", BotWord), ("headless", BotWord),
    ("(+http", BotWord), ("; +http", BotWord), ("scraper", BotWord), ("checker", BotWord),

    ("curl/", Library), ("wget/", Library), ("python", Library), ("aiohttp", Library), ("httpx", Library),
    ("go-http-client", Library), ("okhttp", Library), ("java/", Library), ("apache-httpclient", Library),
    ("axios/", Library), ("node-fetch", Library), ("undici", Library), ("node.js", Library), ("deno/", Library), ("bun/", Library),
    ("ruby", Library), ("libwww", Library), ("perl", Library), ("php", Library), ("guzzle", Library), ("postman", Library),
    ("insomnia", Library), ("httpie", Library), ("dart/", Library), ("reqwest", Library), ("hyper/", Library),
    ("scrapy", Library), ("restsharp", Library), ("http-client", Library), ("httpclient", Library), ("cfnetwork/", Library),
];

/// The texts, so that all of them are found in one pass. `None` if they could not be built, which a test rules out.
static FINDER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let mut builder = AhoCorasick::builder();
    builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA));
    builder.build(SIGNS.iter().map(|(text, _)| text)).ok()
});

/// What a user agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agent {
    /// The browser or the bot; absent when there is no user agent.
    pub(super) browser: Option<&'static str>,
    pub(super) os: &'static str,
    /// `desktop`, `mobile`, `tablet` or `other`.
    pub(super) device: &'static str,
    /// It says that it is no person's.
    pub(super) is_bot: bool,
    /// A library by which services send requests: no bot by itself.
    pub(super) is_library: bool,
    /// Whether it is that of a browser, or of a bot by its name. By it alone a request is known to be a visitor's.
    pub(super) is_telling: bool,
}

impl Agent {
    /// Reads a user agent, as far as it goes.
    pub(super) fn of(text: &[u8]) -> Agent {
        let text = &text[..text.len().min(MOST_BYTES)];
        let Found { browser, os, device, bot, bot_word, no_bot, library } = Found::in_text(text);
        let looks_like_browser = text.starts_with(b"Mozilla/") || text.starts_with(b"Opera/");
        let is_bot = bot.is_some() || bot_word && !no_bot;
        if is_bot || library && !looks_like_browser {
            // What it says of a system is not about anybody's.
            let browser = Some(bot.map_or(OTHER, named));
            let is_telling = bot.is_some() || looks_like_browser;
            return Agent { browser, os: OTHER, device: OTHER, is_bot, is_library: !is_bot, is_telling };
        }
        let (browser, os) = (browser.map_or(OTHER, named), os.map_or(OTHER, named));
        let browser = if (browser, os) == ("Safari", "Android") { "Android Browser" } else { browser };
        Agent {
            browser: (!text.is_empty()).then_some(browser),
            os,
            device: device.map_or(OTHER, named),
            is_bot: false,
            is_library: false,
            is_telling: looks_like_browser,
        }
    }
}

/// Of each kind the first row of the table that was found.
#[derive(Debug, Default)]
struct Found {
    browser: Option<usize>,
    os: Option<usize>,
    device: Option<usize>,
    bot: Option<usize>,
    bot_word: bool,
    no_bot: bool,
    library: bool,
}

impl Found {
    fn in_text(text: &[u8]) -> Found {
        let mut found = Found::default();
        let Some(finder) = &*FINDER else { return found };
        for row in finder.find_overlapping_iter(text).map(|hit| hit.pattern().as_usize()) {
            let kind = match SIGNS[row].1 {
                Browser(_) => &mut found.browser,
                Os(_) => &mut found.os,
                Device(_) => &mut found.device,
                Bot(_) => &mut found.bot,
                BotWord => {
                    found.bot_word = true;
                    continue;
                }
                NoBot => {
                    found.no_bot = true;
                    continue;
                }
                Library => {
                    found.library = true;
                    continue;
                }
            };
            *kind = Some(kind.map_or(row, |first| first.min(row)));
        }
        found
    }
}

fn named(row: usize) -> &'static str {
    match SIGNS[row].1 {
        Browser(name) | Os(name) | Device(name) | Bot(name) => name,
        BotWord | NoBot | Library => OTHER,
    }
}

#[cfg(test)]
mod tests;
