use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io::Write;
use std::time::{Duration, Instant};

/// Bodies that are right, or nearly.
const BODIES: [&str; 12] = [
    r#"{"type":"page_view","id":"a","session_id":"s","user_id":"u","timestamp":1760000000000,"payload":{"path":"/a"}}"#,
    r#"[{"event_type":"click","event_version":2,"properties":{"target":"\"\u00e9\ud83d\ude00\\"}}, {"type":"a"},null]"#,
    r#"{"sent_at":"2025-10-09T08:53:20Z","write_key":"k","events":[{"type":"a","timestamp":"2025-10-09T08:00:00+02:00"}]}"#,
    "{\"type\":\"a\"}\n\n{\"type\":\"b\",\"id\":\"b\"}\r\n{broken\n",
    r#"{"type":"a","payload":{"__proto__":{"a":[1,2.5e3,-0,true,null,"",{}]}},"extra":{"deep":[[[[[]]]]]}}"#,
    r#"{"type":"a","message_id":"m","events":[1],"sent_at":1700000000000,"context":null}"#,
    r#"{"event_type":null,"type":"a","event_id":null,"id":"x","unknown":1,"unknown":2,"\u0075nknown":3}"#,
    r#"{"type":"search","payload":{"query":"a b","path":"\u2028\u0000"}}"#,
    r#"{"events":[]}"#,
    r#"[[{"type":"a"}]]"#,
    "\u{feff}{\"type\":\"a\"}",
    " \t\r\n[ { \"type\" : \"a\" } , { } ] \n",
];
/// What is put in between.
const PIECES: [&str; 28] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\n",
    "\r\n",
    "\0",
    " ",
    "\"type\":\"a\"",
    "\"event_id\":\"",
    "\"events\":[",
    "\"payload\":{",
    "\"context\":{}",
    "\"received_at\":1",
    "\"timestamp\":",
    "1e999",
    "-",
    "\\ud800",
    "\\u0000",
    "null",
    "\u{feff}",
    "\u{1f600}",
    "\"sent_at\":",
    "{\"a\":",
];

fn compressed(choice: u8, bytes: &[u8], raw: bool) -> Vec<u8> {
    let level = Compression::fast();
    match usize::from(choice) / TYPES.len() % ENCODINGS.len() {
        1 => {
            let mut to = GzEncoder::new(Vec::new(), level);
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        2 if raw => {
            let mut to = DeflateEncoder::new(Vec::new(), level);
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        2 => {
            let mut to = ZlibEncoder::new(Vec::new(), level);
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        3 => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

/// Changes a body in one place.
fn spoil(body: &mut Vec<u8>, random: &mut StdRng) {
    let at = random.random_range(0..=body.len());
    let until = (at + random.random_range(0..=20_usize.min(body.len() - at))).min(body.len());
    match random.random_range(0..7) {
        0 => body.truncate(at),
        1 => drop(body.drain(at..until)),
        2 => body.insert(at, random.random()),
        3 => {
            if let Some(byte) = body.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        4 => {
            let again = body[at..until].repeat(random.random_range(1..40));
            body.splice(at..at, again);
        }
        _ => drop(body.splice(at..at, PIECES[random.random_range(0..PIECES.len())].bytes())),
    }
}

/// A body that is nearly right, by its seed; the first byte says how it is called.
fn nearly_right(seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let choice: u8 = random.random();
    let mut body = BODIES[random.random_range(0..BODIES.len())].as_bytes().to_vec();
    for _ in 0..random.random_range(0..4) {
        spoil(&mut body, &mut random);
    }
    let mut sent = compressed(choice, &body, random.random());
    if random.random_range(0..4) == 0 {
        for _ in 0..random.random_range(0..3) {
            spoil(&mut sent, &mut random);
        }
    }
    sent.insert(0, choice);
    sent
}

/// Says which seed it was, should it fail.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the body of the seed {}: {:?}", self.0, String::from_utf8_lossy(&nearly_right(self.0)));
        }
    }
}

#[test]
fn bodies_as_they_should_be_are_accepted() {
    for (choice, body, accepted) in
        [(0, BODIES[0], 1), (0, BODIES[1], 2), (0, BODIES[2], 1), (1, BODIES[3], 2), (2, BODIES[3], 2)]
    {
        for encoding in 0..ENCODINGS.len() {
            let choice = (choice + encoding * TYPES.len()) as u8;
            let sent = [&[choice], &*compressed(choice, body.as_bytes(), false)].concat();
            assert_eq!(any_body(&sent), Became::Accepted(accepted), "{choice}: {body}");
        }
    }
}

#[test]
fn what_is_made_here_is_accepted_often_and_refused_often() {
    let accepted = (0..1_000).filter(|seed| any_body(&nearly_right(*seed)) != Became::Refused).count();
    assert!((100..900).contains(&accepted), "{accepted} of 1,000");
}

proptest! {
    #[test]
    fn bytes_are_accepted_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        any_body(&bytes);
    }

    #[test]
    fn pieces_of_json_are_accepted_or_refused(choice: u8, pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        let body = pieces.concat();
        any_body(&[&[choice], &*compressed(choice, body.as_bytes(), false)].concat());
    }

    #[test]
    fn bodies_that_are_nearly_right_are_accepted_or_refused(seed: u64) {
        any_body(&nearly_right(seed));
    }
}

/// `make fuzz`: for so many MINUTES, from a SEED on.
#[test]
#[ignore = "takes as long as it is told to"]
fn nothing_is_found_in_minutes() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let (minutes, first) = (number("MINUTES").unwrap_or(10), number("SEED").unwrap_or_else(rand::random));
    let (mut bodies, mut accepted, mut events, end) =
        (0_u64, 0_u64, 0, Instant::now() + Duration::from_secs(60 * minutes));
    while Instant::now() < end {
        for _ in 0..1_000 {
            let seed = Seed(first.wrapping_add(bodies));
            if let Became::Accepted(found) = any_body(&nearly_right(seed.0)) {
                accepted += 1;
                events += found;
            }
            bodies += 1;
        }
    }
    println!("{bodies} bodies from the seed {first} on in {minutes} min: {accepted} accepted, with {events} events");
}
