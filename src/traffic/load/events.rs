use super::mix::Mix;
use crate::event::Dimension;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};
use std::io::Write;
use std::sync::Arc;

/// Sessions and users that the events of a run belong to. Sessions are what ingest makes record keys of.
const SESSIONS: u32 = 10_000;
const USERS: u32 = 50_000;
/// Random text that padding is cut from: of one character only, Kafka's compression would make nothing of it.
const NOISE: usize = 1 << 16;
const NOISE_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
const PADDING: &str = r#""padding":""#;

/// What the events of a run look like.
#[derive(Debug)]
pub(super) struct Shape {
    run: String,
    mix: Mix,
    kinds: Vec<Kind>,
    keys: Zipf<f64>,
    event_bytes: usize,
    noise: Vec<u8>,
}

/// One type of events.
#[derive(Debug)]
struct Kind {
    /// The type as JSON.
    event_type: String,
    place: Place,
}

/// Where an event carries its key.
#[derive(Debug)]
enum Place {
    User,
    Session,
    /// Within the payload: what stands before and after it there.
    Payload(String, String),
}

/// A request's events.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) json: Bytes,
    /// The type of each, by its place in the mix.
    pub(super) types: Vec<u8>,
}

/// What begins every key of a run, and no key of anything else.
pub(super) fn marker(run: &str) -> String {
    format!("/load/{run}/")
}

impl Shape {
    /// Events of about `event_bytes`, whose keys are drawn from `keys` by a Zipf distribution with that exponent.
    /// `fields` says for each type of the mix where its events carry their key.
    pub(super) fn new(
        run: &str,
        mix: Mix,
        fields: &[Dimension],
        (keys, exponent): (u32, f64),
        event_bytes: usize,
    ) -> Result<Shape, rand_distr::ZipfError> {
        let kinds = mix
            .types()
            .zip(fields)
            .map(|(event_type, field)| Kind { event_type: quoted(event_type), place: Place::of(field) });
        let mut random = StdRng::seed_from_u64(0);
        let noise = (0..NOISE + event_bytes).map(|_| NOISE_ALPHABET[random.random_range(0..NOISE_ALPHABET.len())]);
        Ok(Shape {
            run: run.to_owned(),
            kinds: kinds.collect(),
            mix,
            keys: Zipf::new(f64::from(keys), exponent)?,
            event_bytes,
            noise: noise.collect(),
        })
    }
}

impl Place {
    /// What cannot be set from outside is not asked for; the path stands in then.
    fn of(field: &Dimension) -> Place {
        match field {
            Dimension::UserId => Place::User,
            Dimension::SessionId => Place::Session,
            Dimension::Payload(names) => Place::within(names),
            Dimension::EventType | Dimension::Context(_) => Place::within(&["path".into()]),
        }
    }

    fn within(names: &[Box<str>]) -> Place {
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        Place::Payload(format!("{}:\"", names.join(":{")), format!("\"{}", "}".repeat(names.len() - 1)))
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Makes bodies, one after the other. Each of a run's composers has a number of its own.
#[derive(Debug)]
pub(super) struct Composer {
    shape: Arc<Shape>,
    random: StdRng,
    number: usize,
    made: u64,
}

impl Composer {
    pub(super) fn new(shape: Arc<Shape>, seed: u64, number: usize) -> Composer {
        let random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
        Composer { shape, random, number, made: 0 }
    }

    /// The next `events` events.
    pub(super) fn body(&mut self, events: u32) -> Body {
        let capacity = events as usize * (self.shape.event_bytes.max(200) + 8);
        let (mut json, mut types) = (Vec::with_capacity(capacity), Vec::with_capacity(events as usize));
        json.push(b'[');
        for index in 0..events {
            if index > 0 {
                json.push(b',');
            }
            types.push(self.event(&mut json));
        }
        json.push(b']');
        Body { json: json.into(), types }
    }

    /// Appends an event, and answers the place of its type. It has no timestamp: it counts at the time of its receipt.
    fn event(&mut self, json: &mut Vec<u8>) -> u8 {
        let Composer { shape, random, number, made } = self;
        let begin = json.len();
        let place = shape.mix.draw(random);
        let kind = &shape.kinds[place];
        let (run, key) = (&shape.run, shape.keys.sample(random) as u64);
        let (session, user) = (random.random_range(0..SESSIONS), random.random_range(0..USERS));
        *made += 1;
        // Writing into memory cannot fail.
        let _ = write!(json, r#"{{"event_id":"{run}-{number}-{made}","event_type":{}"#, kind.event_type);
        let _ = match kind.place {
            Place::Session => write!(json, r#","session_id":"/load/{run}/{key}""#),
            _ => write!(json, r#","session_id":"{run}-{session}""#),
        };
        let _ = match kind.place {
            Place::User => write!(json, r#","user_id":"/load/{run}/{key}""#),
            _ => write!(json, r#","user_id":"user-{user:06}""#),
        };
        json.extend_from_slice(br#","payload":{"#);
        let mut comma = "";
        if let Place::Payload(before, after) = &kind.place {
            let _ = write!(json, r#"{before}/load/{run}/{key}{after}"#);
            comma = ",";
        }
        let rest = comma.len() + PADDING.len() + r#""}}"#.len();
        let padding = shape.event_bytes.saturating_sub(json.len() - begin + rest);
        if padding > 0 {
            let from = random.random_range(0..NOISE);
            json.extend_from_slice(comma.as_bytes());
            json.extend_from_slice(PADDING.as_bytes());
            json.extend_from_slice(&shape.noise[from..from + padding]);
            json.push(b'"');
        }
        json.extend_from_slice(b"}}");
        // A mix has at most as many types as this counts; see `Plan::check`.
        place as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::{BTreeMap, BTreeSet};

    fn composer(fields: &[&str], keys: u32, exponent: f64, bytes: usize) -> Composer {
        let mix = "page_view=70,click=20,\"odd\\=10".parse().unwrap();
        let fields: Vec<_> = fields.iter().map(|path| Dimension::parse(path).unwrap()).collect();
        Composer::new(Arc::new(Shape::new("r1", mix, &fields, (keys, exponent), bytes).unwrap()), 7, 3)
    }

    #[test]
    fn each_type_carries_its_key_where_it_is_counted_by() {
        let mut composer = composer(&["payload.path", r#"payload.a."b.c".d"#, "session_id"], 50, 1.0, 300);
        let body = composer.body(5_000);
        let events: Vec<Value> = serde_json::from_slice(&body.json).unwrap();
        let mut ids = BTreeSet::new();
        for (event, place) in events.iter().zip(&body.types) {
            let (event_type, key) = match place {
                0 => ("page_view", &event["payload"]["path"]),
                1 => ("click", &event["payload"]["a"]["b.c"]["d"]),
                _ => ("\"odd\\", &event["session_id"]),
            };
            assert_eq!(event["event_type"], event_type);
            let key = key.as_str().unwrap().strip_prefix(&marker("r1")).unwrap();
            assert!((1..=50).contains(&key.parse::<u32>().unwrap()), "{key}");
            assert_eq!(event.to_string().matches("/load/").count(), 1, "{event}");
            assert!(ids.insert(event["event_id"].to_string()));
        }
        assert_eq!((events.len(), body.types.len()), (5_000, 5_000));
    }

    #[test]
    fn events_are_as_large_as_asked_for() {
        for bytes in [300, 2_000, 70_000] {
            let body = composer(&["payload.path"; 3], 50, 1.0, bytes).body(20);
            assert_eq!(body.json.len(), 20 * bytes + 21);
        }
        let body = composer(&["user_id"; 3], 50, 1.0, 1).body(20);
        let events: Vec<Value> = serde_json::from_slice(&body.json).unwrap();
        assert!(events.iter().all(|event| event["payload"] == serde_json::json!({})));
    }

    /// How often each key comes among 20,000 events.
    fn counts(keys: u32, exponent: f64) -> BTreeMap<u32, u32> {
        let mut composer = composer(&["payload.path"; 3], keys, exponent, 1);
        let mut counts = BTreeMap::new();
        for event in serde_json::from_slice::<Vec<Value>>(&composer.body(20_000).json).unwrap() {
            let key = event["payload"]["path"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
            *counts.entry(key).or_default() += 1;
        }
        counts
    }

    #[test]
    fn keys_follow_zipf() {
        let skewed = counts(100, 1.0);
        // The harmonic number of 100 is 5.187: the first key has 1/5.187 of all, the tenth a tenth of that.
        assert!((3_650..4_060).contains(&skewed[&1]), "{}", skewed[&1]);
        assert!((320..455).contains(&skewed[&10]), "{}", skewed[&10]);
        let even = counts(100, 0.0);
        assert_eq!(even.len(), 100);
        assert!(even.values().all(|count| (120..290).contains(count)), "{even:?}");
    }
}
