use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp, Zipf};
use std::fmt::Write;

const PRODUCTS: f64 = 2_000.0;
const QUERIES: [&str; 24] = [
    "shoes",
    "jacket",
    "lamp",
    "rain coat",
    "desk",
    "headphones",
    "backpack",
    "coffee",
    "tent",
    "bicycle",
    "gloves",
    "kettle",
    "notebook",
    "monitor",
    "camera",
    "umbrella",
    "chair",
    "boots",
    "watch",
    "blender",
    "scarf",
    "tripod",
    "rug",
    "skates",
];
const SECTIONS: [&str; 6] = ["/", "/sale", "/cart", "/help", "/about", "/checkout"];
const TARGETS: [&str; 6] = ["add-to-cart", "image", "size-guide", "reviews", "wishlist", "share"];
const REFERRERS: [&str; 4] =
    ["https://www.example.com/", "https://news.example.org/today", "https://mail.example.net/", ""];
const SCREENS: [&str; 4] = ["1920x1080", "390x844", "1440x900", "412x915"];
const LANGUAGES: [&str; 5] = ["en-GB", "en-US", "de-DE", "fr-FR", "pl-PL"];

/// One in so many events is sent late: a phone that was without a network for a while.
const LATE_ONE_IN: u32 = 40;
/// How late such an event is on average, and at most, in seconds.
const LATE_MEAN_S: f64 = 30.0;
const LATE_MOST_S: f64 = 600.0;
/// One in so many is broken in one of the ways in which clients break events.
const BAD_ONE_IN: u32 = 300;
/// Pages that a session looks at, at most.
const LONGEST_SESSION: u32 = 24;

/// A body to post, as one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// JSON: an array of events, or the wreck of one.
    pub json: String,
    /// How many events it holds, good and bad.
    pub events: usize,
}

/// A visit: one browser, looking at a few pages.
#[derive(Debug)]
struct Visit {
    session: u64,
    user: Option<u32>,
    page: String,
    left: u32,
    screen: &'static str,
    language: &'static str,
}

/// People on a made-up shop: a few pages are liked most, a visit is several pages long, some click and some search,
/// some events come late and a few are broken.
#[derive(Debug)]
pub struct Visitors {
    random: StdRng,
    products: Zipf<f64>,
    queries: Zipf<f64>,
    late: Exp<f64>,
    visits: Vec<Visit>,
    crowd: usize,
}

impl Visitors {
    /// Visitors who do the same for the same seed. `crowd` of them are there at a time.
    ///
    /// # Errors
    /// Never with the constants above; the distributions check their parameters.
    pub fn new(seed: u64, crowd: usize) -> Result<Visitors, super::TrafficError> {
        Ok(Visitors {
            random: StdRng::seed_from_u64(seed),
            products: Zipf::new(PRODUCTS, 1.1)?,
            queries: Zipf::new(QUERIES.len() as f64, 1.0)?,
            late: Exp::new(1.0 / LATE_MEAN_S)?,
            visits: Vec::new(),
            crowd: crowd.max(1),
        })
    }

    /// What they do at `now_ms`: `events` events, in bodies of at most `most` of them. JSON that is broken stands in
    /// a body of its own, for it takes along whatever shares its request.
    pub fn bodies(&mut self, events: usize, most: usize, now_ms: i64) -> Vec<Body> {
        let (mut bodies, mut together) = (Vec::new(), Vec::new());
        for _ in 0..events {
            let bad = self.random.random_ratio(1, BAD_ONE_IN);
            let event = self.event(now_ms);
            match (bad, self.random.random_range(0..3)) {
                (true, 0) => bodies.push(Body { json: event[..event.len() * 2 / 3].to_owned(), events: 1 }),
                (true, 1) => together.push(event.replacen("\"event_type\"", "\"evnt_type\"", 1)),
                (true, _) => together.push(event.replacen("\"timestamp\":", "\"timestamp\":-", 1)),
                (false, _) => together.push(event),
            }
        }
        let arrays = together.chunks(most.max(1));
        bodies.extend(arrays.map(|some| Body { json: format!("[{}]", some.join(",")), events: some.len() }));
        bodies
    }

    fn event(&mut self, now_ms: i64) -> String {
        let at = self.visit();
        let time_ms = now_ms - self.delay_ms();
        let id = self.id(time_ms);
        let (event_type, payload) = self.act(at);
        let visit = &self.visits[at];
        let mut json = format!(r#"{{"event_id":"{id}","event_type":"{event_type}","timestamp":{time_ms},"#);
        if let Some(user) = visit.user {
            // Writing to a String cannot fail.
            let _ = write!(json, r#""user_id":"user-{user:06}","#);
        }
        let _ = write!(
            json,
            r#""session_id":"s-{:016x}","payload":{{{payload},"screen":"{}","language":"{}"}}}}"#,
            visit.session, visit.screen, visit.language
        );
        if visit.left == 0 {
            self.visits.swap_remove(at);
        }
        json
    }

    /// Somebody who is there, or a newcomer while the crowd is not complete.
    fn visit(&mut self) -> usize {
        if self.visits.len() < self.crowd {
            let known = self.random.random_bool(0.4);
            let visit = Visit {
                session: self.random.random(),
                user: known.then(|| self.random.random_range(0..50_000)),
                page: self.page(),
                left: self.random.random_range(1..=LONGEST_SESSION),
                screen: SCREENS[self.random.random_range(0..SCREENS.len())],
                language: LANGUAGES[self.random.random_range(0..LANGUAGES.len())],
            };
            self.visits.push(visit);
            return self.visits.len() - 1;
        }
        self.random.random_range(0..self.visits.len())
    }

    /// What a visitor does next: mostly another page, sometimes a click on this one, sometimes a search,
    /// now and then a purchase.
    fn act(&mut self, at: usize) -> (&'static str, String) {
        self.visits[at].left -= 1;
        match self.random.random_range(0..10) {
            0..6 => {
                let page = self.page();
                let from = std::mem::replace(&mut self.visits[at].page, page);
                let outside = REFERRERS[self.random.random_range(0..REFERRERS.len())];
                let page = &self.visits[at].page;
                ("page_view", format!(r#""path":"{page}","previous":"{from}","referrer":"{outside}""#))
            }
            6..9 => {
                let target = TARGETS[self.random.random_range(0..TARGETS.len())];
                let (x, y) = (self.random.random_range(0..1_920), self.random.random_range(0..1_080));
                let page = &self.visits[at].page;
                ("click", format!(r#""target":"{target}","path":"{page}","x":{x},"y":{y}"#))
            }
            _ if self.random.random_ratio(1, 4) => {
                let cents = self.random.random_range(199..25_000);
                ("purchase", format!(r#""amount":{}.{:02},"path":"/checkout""#, cents / 100, cents % 100))
            }
            _ => {
                let query = QUERIES[self.queries.sample(&mut self.random) as usize - 1];
                let results = self.random.random_range(0..400);
                ("search", format!(r#""query":"{query}","results":{results},"path":"/search""#))
            }
        }
    }

    fn page(&mut self) -> String {
        if self.random.random_ratio(1, 4) {
            return SECTIONS[self.random.random_range(0..SECTIONS.len())].to_owned();
        }
        format!("/products/item-{:04}", self.products.sample(&mut self.random) as u32)
    }

    fn delay_ms(&mut self) -> i64 {
        if self.random.random_ratio(1, LATE_ONE_IN) {
            let seconds = (1.0 + self.late.sample(&mut self.random)).min(LATE_MOST_S);
            return (seconds * 1_000.0) as i64;
        }
        self.random.random_range(0..150)
    }

    fn id(&mut self, time_ms: i64) -> uuid::Uuid {
        let millis = u64::try_from(time_ms).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &self.random.random()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::HashMap;

    const NOW: i64 = 1_760_000_000_000;

    fn bodies(seed: u64) -> Vec<Body> {
        Visitors::new(seed, 50).unwrap().bodies(20_000, 100, NOW)
    }

    fn events() -> Vec<Value> {
        let arrays = bodies(1).into_iter().filter_map(|body| serde_json::from_str::<Vec<Value>>(&body.json).ok());
        arrays.flatten().collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_events() {
        assert_eq!(bodies(7), bodies(7));
        assert_ne!(bodies(7), bodies(8));
        assert_eq!(bodies(7).iter().map(|body| body.events).sum::<usize>(), 20_000);
        assert!(bodies(7).iter().all(|body| body.events <= 100));
    }

    #[test]
    fn a_few_events_are_broken_and_the_others_are_about_300_bytes() {
        let (mut broken, mut bytes) = (0, 0);
        for body in bodies(1) {
            match serde_json::from_str::<Vec<Value>>(&body.json) {
                Ok(some) => {
                    let good = |e: &&Value| e["event_type"].is_string() && e["timestamp"].as_i64() > Some(0);
                    broken += some.len() - some.iter().filter(good).count();
                    bytes += body.json.len();
                }
                Err(_) => broken += 1,
            }
        }
        assert!((20..200).contains(&broken), "{broken}");
        assert!((230..400).contains(&(bytes / 20_000)), "{}", bytes / 20_000);
    }

    #[test]
    fn some_events_are_late_and_none_is_early() {
        let times: Vec<_> = events().iter().filter_map(|e| e["timestamp"].as_i64()).filter(|t| *t > 0).collect();
        let late = times.iter().filter(|t| NOW - **t >= 1_000).count();
        assert!((300..800).contains(&late), "{late}");
        assert!(times.iter().all(|t| *t <= NOW));
        assert!(times.iter().any(|t| NOW - *t > 60_000));
    }

    #[test]
    fn a_few_pages_are_liked_most_and_a_visit_has_several() {
        let (mut pages, mut sessions) = (HashMap::<String, u32>::new(), HashMap::<String, u32>::new());
        for event in events() {
            if event["event_type"] == "page_view" {
                *pages.entry(event["payload"]["path"].to_string()).or_default() += 1;
            }
            *sessions.entry(event["session_id"].to_string()).or_default() += 1;
        }
        let mut counts: Vec<_> = pages.values().copied().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert!(pages.len() > 500, "{}", pages.len());
        assert!(counts[..20].iter().sum::<u32>() > counts.iter().sum::<u32>() / 3);
        assert!(20_000 / sessions.len() >= 5, "{}", sessions.len());
    }
}
