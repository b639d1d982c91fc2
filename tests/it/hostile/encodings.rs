//! Compressed bodies: bombs, broken ones, and such that are not what they say.

use std::io::Write;

use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, GzBuilder};
use zstd::stream::raw::CParameter;

use super::case::{Case, Step, event, head, post_with, raw};

/// An encoding: what it is called here and in the header, and what compresses.
type Encoding = (&'static str, &'static str, fn(&[u8]) -> Vec<u8>);

const ALL: [Encoding; 4] =
    [("gzip", "gzip", gzip), ("zlib", "deflate", zlib), ("deflate", "deflate", bare), ("zstd", "zstd", zstd)];

pub(super) fn cases() -> Vec<Case> {
    [of_each(), bombs(), parts(), labels(), odd_gzip(), odd_zstd()].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), Compression::fast());
    to.write_all(bytes).expect("memory");
    to.finish().expect("memory")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut to = ZlibEncoder::new(Vec::new(), Compression::fast());
    to.write_all(bytes).expect("memory");
    to.finish().expect("memory")
}

fn bare(bytes: &[u8]) -> Vec<u8> {
    let mut to = DeflateEncoder::new(Vec::new(), Compression::fast());
    to.write_all(bytes).expect("memory");
    to.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory")
}

/// A body that says that it is in this encoding.
fn encoded(name: impl Into<String>, encoding: &str, body: impl AsRef<[u8]>) -> Case {
    post_with(name, &format!("content-encoding: {encoding}\r\n"), body)
}

fn of_each() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, encoding, compress) in ALL {
        // Long enough that it is compressed.
        let text = format!("[{}{}]", format!("{},", event("never")).repeat(100), event("never"));
        let whole = compress(text.as_bytes());
        let mut of = |what: &str, body: &[u8], text: &str| {
            cases.push(encoded(format!("{name}: {what}"), encoding, body).answered(400, text));
        };
        of("nothing", b"", "empty");
        of("nothing compressed", &compress(b""), "empty");
        of("cut to one byte", &whole[..1], "breaks off");
        of("cut in half", &whole[..whole.len() / 2], "breaks off");
        of("cut by one byte", &whole[..whole.len() - 1], "breaks off");
        of("a byte behind it", &[&whole[..], b"x"].concat(), "behind its end");
        of("NUL bytes behind it", &[&whole[..], &[0; 64]].concat(), "behind its end");
        of("an event behind it", &[&whole[..], event("never").as_bytes()].concat(), "behind its end");
        of("not compressed at all", text.as_bytes(), "Content-Encoding");
        of("noise", &[0xa5; 1_000], "Content-Encoding");
        of("compressed twice", &compress(&whole), "not");
        let good = format!("{name}-good");
        cases.push(encoded(format!("{name}: a good one"), encoding, compress(event(&good).as_bytes())).takes(&good));
        let lying = head(&format!("content-encoding: {encoding}\r\ncontent-length: {}\r\n", whole.len() - 5));
        let lying = [lying.as_bytes(), &whole].concat();
        cases.push(raw(format!("{name}: a length too short"), lying).answered(400, "breaks off").broken());
        let long = head(&format!("content-encoding: {encoding}\r\ncontent-length: {}\r\n", whole.len() + 5));
        let long = [long.as_bytes(), &whole].concat();
        cases.push(raw(format!("{name}: a length too long"), long).answered(408, "did not arrive").closes());
    }
    cases
}

fn bombs() -> Vec<Case> {
    let spaces = vec![b' '; 64 << 20];
    let quoted =
        [b"{\"type\":\"a\",\"id\":\"never\",\"payload\":{\"a\":\"".as_slice(), &spaces[..20 << 20], b"\"}}"].concat();
    let events = format!("[{}{}]", format!("{},", event("never")).repeat(300_000), event("never"));
    let mut cases = Vec::new();
    for (name, encoding, compress) in ALL {
        for (what, text) in [("spaces", &spaces[..]), ("one event", &quoted), ("300,000 events", events.as_bytes())] {
            let bomb = compress(text);
            assert!(bomb.len() < 1 << 20, "{name} {what}: {}", bomb.len());
            cases.push(encoded(format!("{name}: a bomb of {what}"), encoding, bomb).answered(413, "8388608"));
        }
        let nested = compress(&compress(&spaces));
        cases.push(encoded(format!("{name}: a bomb in a bomb"), encoding, nested).answered(400, "\"error\""));
        let many: Vec<u8> = compress(&spaces[..1 << 20]).repeat(20);
        let (status, text) = if encoding == "deflate" { (400, "behind its end") } else { (413, "8388608") };
        cases.push(encoded(format!("{name}: a bomb in parts"), encoding, many).answered(status, text));
        let trickle = [
            head(&format!("content-encoding: {encoding}\r\ntransfer-encoding: chunked\r\n")).as_bytes(),
            &chunks(&compress(&spaces)),
        ]
        .concat();
        cases.push(raw(format!("{name}: a bomb in chunks"), trickle).answered(413, "8388608"));
    }
    // Inside of the limit, but more events than may be.
    let events = format!("[{}{}]", "{},".repeat(1_000_000), event("never"));
    for (name, encoding, compress) in ALL {
        let body = compress(events.as_bytes());
        cases.push(encoded(format!("{name}: a million events"), encoding, body).answered(413, "5000"));
    }
    let deep = "[".repeat(8 << 20);
    cases.push(encoded("gzip: a nesting of 8 million", "gzip", gzip(deep.as_bytes())).answered(400, "not valid JSON"));
    cases
}

fn chunks(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for piece in bytes.chunks(1_000) {
        all.extend(format!("{:x}\r\n", piece.len()).bytes());
        all.extend(piece);
        all.extend(b"\r\n");
    }
    all.extend(b"0\r\n\r\n");
    all
}

fn parts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let empty = |n: usize| compress(b"").repeat(n);
        let good = format!("parts-{name}");
        let body = [empty(63), compress(event(&good).as_bytes())].concat();
        cases.push(encoded(format!("{name}: 64 parts"), name, body).takes(&good));
        let body = [empty(64), compress(event("never").as_bytes())].concat();
        cases.push(encoded(format!("{name}: 65 parts"), name, body).answered(400, "more than 64 parts"));
        cases.push(encoded(format!("{name}: 40,000 empty parts"), name, empty(40_000)).answered(400, "more than 64"));
        let (one, other) = (event("never"), event("never"));
        let body = [compress(one.as_bytes()), compress(other.as_bytes())[..6].to_vec()].concat();
        cases.push(encoded(format!("{name}: a second part that breaks off"), name, body).answered(400, "breaks off"));
    }
    cases
}

fn labels() -> Vec<Case> {
    let good = event("never");
    let mut cases = Vec::new();
    for label in ["br", "compress", "gzip;q=1", "*", "aws-chunked", "gzipx", "\u{e4}", "gzip zstd", "none"] {
        cases.push(
            encoded(format!("an encoding called {label:?}"), label, gzip(good.as_bytes())).answered(415, "compress by"),
        );
    }
    for label in ["gzip, gzip", "gzip, zstd", "gzip, gzip, gzip, gzip", "gzip\r\ncontent-encoding: gzip"] {
        let case = encoded(format!("encodings called {label:?}"), label, gzip(&gzip(good.as_bytes())));
        cases.push(case.answered(415, "compress once"));
    }
    for (from, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zlib", zlib), ("zstd", zstd)] {
        for to in ["gzip", "deflate", "zstd"] {
            if from != to && (from, to) != ("zlib", "deflate") {
                let body = compress(good.as_bytes());
                cases.push(encoded(format!("{from} called {to}"), to, body).answered(400, "Content-Encoding"));
            }
        }
        cases.push(
            encoded(format!("{from} called nothing"), "identity", compress(good.as_bytes())).answered(400, "not"),
        );
    }
    for (at, label) in ["GZIP", "x-gzip", " gzip ,, identity"].into_iter().enumerate() {
        let id = format!("label-{at}");
        cases.push(encoded(format!("gzip called {label:?}"), label, gzip(event(&id).as_bytes())).takes(&id));
    }
    cases
}

fn odd_gzip() -> Vec<Case> {
    let with = |builder: GzBuilder, id: &str| {
        let mut to = builder.write(Vec::new(), Compression::fast());
        to.write_all(event(id).as_bytes()).expect("memory");
        to.finish().expect("memory")
    };
    let named = || GzBuilder::new().filename("\u{1b}[31m../../etc/passwd").comment("\r\nFORGED").extra(vec![0; 60_000]);
    let whole = gzip(event("never").as_bytes());
    let changed = |at: usize, to: u8| {
        let mut body = whole.clone();
        body[at] = to;
        body
    };
    let end = whole.len();
    let mut cases =
        vec![encoded("gzip: a name, a comment and much more", "gzip", with(named(), "gzip-named")).takes("gzip-named")];
    for (what, body, text) in [
        ("a sum that is wrong", changed(end - 8, !whole[end - 8]), "cannot be inflated"),
        ("a size that is wrong", changed(end - 4, !whole[end - 4]), "cannot be inflated"),
        ("another method", changed(2, 7), "cannot be inflated"),
        ("flags that are reserved", changed(3, 0xe0), "Content-Encoding"),
        ("a name without an end", [&changed(3, 8)[..10], &[b'n'; 500_000]].concat(), "Content-Encoding"),
        ("an extra field that breaks off", [&changed(3, 4)[..10], b"\xff\xff", b"short"].concat(), "breaks off"),
        ("blocks of a kind that is none", [&whole[..10], &[0xff; 50]].concat(), "cannot be inflated"),
        (
            "a distance before the beginning",
            [&whole[..10], &[0x63, 0x00, 0x42, 0x00, 0x00]].concat(),
            "Content-Encoding",
        ),
    ] {
        cases.push(encoded(format!("gzip: {what}"), "gzip", body).answered(400, text));
    }
    cases
}

fn odd_zstd() -> Vec<Case> {
    let skipped = |bytes: usize| {
        let mut frame = b"\x50\x2a\x4d\x18".to_vec();
        frame.extend((bytes as u32).to_le_bytes());
        frame.extend(vec![0; bytes]);
        frame
    };
    let wide = {
        let mut to = zstd::Encoder::new(Vec::new(), 1).expect("memory");
        to.set_parameter(CParameter::WindowLog(27)).expect("a window");
        to.write_all(event("never").as_bytes()).expect("memory");
        to.finish().expect("memory")
    };
    let after_skipped = [skipped(1_000), zstd(event("zstd-skipped").as_bytes())].concat();
    // A header that promises 2 to the power of 60 bytes, and holds none.
    let promise = b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x10\x01\0\0".to_vec();
    let mut cases = vec![
        encoded("zstd: a frame to skip before it", "zstd", after_skipped).takes("zstd-skipped"),
        encoded("zstd: nothing but a frame to skip", "zstd", skipped(100_000)).answered(400, "empty"),
        encoded("zstd: a window of 128 MiB", "zstd", wide).answered(400, "cannot be inflated"),
        encoded("zstd: a promise of 2^60 bytes", "zstd", promise).answered(400, "Content-Encoding"),
        encoded("zstd: a dictionary of nobody", "zstd", b"\x28\xb5\x2f\xfd\x23\x39\x30\0\0\x01\x01\0\0")
            .answered(400, "cannot be inflated"),
        encoded("zstd: a frame to skip that breaks off", "zstd", &skipped(1_000)[..500]).answered(400, "breaks off"),
    ];
    let half = head("content-encoding: zstd\r\ncontent-length: 1000\r\n");
    let half = [half.as_bytes(), &zstd(event("never").as_bytes())[..20]].concat();
    cases.push(raw("zstd: a body that ends in the middle", half).then(Step::HalfClose).broken());
    cases
}
