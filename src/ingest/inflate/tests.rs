use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use hyper::header::HeaderValue;
use proptest::prelude::*;
use std::io::Write;

const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), Compression::best());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut to = ZlibEncoder::new(Vec::new(), Compression::best());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut to = DeflateEncoder::new(Vec::new(), Compression::best());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn deflated(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Gzip => gzip(bytes),
        Encoding::Deflate => zlib(bytes),
        Encoding::Zstd => zstd(bytes),
    }
}

async fn inflated(encoding: Encoding, body: &[u8], most: u64) -> Result<Vec<u8>, Reject> {
    encoding.inflate(body, most, |_| true).await.map(Into::into)
}

fn broken(encoding: Encoding, broken: Broken) -> Result<Vec<u8>, Reject> {
    Err(Reject::NotInflatable { encoding, broken })
}

#[test]
fn headers_name_one_encoding() {
    let of = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        Encoding::of(&headers)
    };
    for none in [&[][..], &["identity"], &["Identity, identity"], &[""], &["identity", " "]] {
        assert_eq!(of(none), Ok(None), "{none:?}");
    }
    for (values, encoding) in [
        (&["gzip"][..], Encoding::Gzip),
        (&["X-GZIP"], Encoding::Gzip),
        (&["deflate"], Encoding::Deflate),
        (&[" ZStd , identity"], Encoding::Zstd),
        (&["identity", "gzip"], Encoding::Gzip),
    ] {
        assert_eq!(of(values), Ok(Some(encoding)), "{values:?}");
    }
    for unknown in ["br", "compress", "gzip;q=1", "gzip zstd", "*", "aws-chunked, gzip"] {
        assert_eq!(of(&[unknown]), Err(Reject::ContentEncoding), "{unknown}");
    }
    for several in [&["gzip, gzip"][..], &["deflate", "zstd"], &["gzip, identity, zstd"]] {
        assert_eq!(of(several), Err(Reject::ContentEncodings), "{several:?}");
    }
}

#[tokio::test]
async fn parts_one_after_the_other_are_one_body() {
    assert_eq!(inflated(Encoding::Gzip, &[gzip(b"a"), gzip(b""), gzip(b"b")].concat(), 9).await.unwrap(), b"ab");
    assert_eq!(inflated(Encoding::Zstd, &[zstd(b"a"), zstd(b""), zstd(b"b")].concat(), 9).await.unwrap(), b"ab");
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    assert_eq!(inflated(Encoding::Zstd, &[&skipped[..], &zstd(b"a")].concat(), 9).await.unwrap(), b"a");
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let empty = deflated(encoding, b"");
        assert_eq!(inflated(encoding, &empty.repeat(64), 0).await.unwrap(), b"");
        assert_eq!(inflated(encoding, &empty.repeat(65), 0).await, broken(encoding, Broken::Parts));
    }
}

#[tokio::test]
async fn deflate_is_taken_with_and_without_its_frame() {
    for text in [&b""[..], b"a", &b"event ".repeat(10_000)] {
        for body in [zlib(text), raw_deflate(text)] {
            assert_eq!(inflated(Encoding::Deflate, &body, 1 << 20).await.unwrap(), text);
        }
    }
}

#[tokio::test]
async fn what_is_broken_is_told_from_what_breaks_off() {
    let text = b"{\"type\":\"view\"}".repeat(1_000);
    for encoding in ALL {
        let body = deflated(encoding, &text);
        for end in 1..body.len() {
            let cut = inflated(encoding, &body[..end], 1 << 20).await;
            assert_eq!(cut, broken(encoding, Broken::BreaksOff), "{encoding:?} of {end} bytes");
        }
        for trailing in [&b"x"[..], b"\0", b"{\"type\":\"view\"}"] {
            let more = inflated(encoding, &[&body[..], trailing].concat(), 1 << 20).await;
            assert_eq!(more, broken(encoding, Broken::Trailing), "{encoding:?}");
        }
        assert_eq!(inflated(encoding, &text, 1 << 20).await, broken(encoding, Broken::Corrupt), "{encoding:?}");
    }
    let mut wrong_sum = gzip(&text);
    let end = wrong_sum.len() - 8;
    wrong_sum[end] ^= 1;
    assert_eq!(inflated(Encoding::Gzip, &wrong_sum, 1 << 20).await, broken(Encoding::Gzip, Broken::Corrupt));
}

#[tokio::test]
async fn a_bomb_ends_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    for encoding in ALL {
        let (bomb, mut held) = (deflated(encoding, &zeros), 0);
        assert!(bomb.len() < 100_000);
        let room = |bytes| {
            held += bytes;
            true
        };
        let stopped = encoding.inflate(&bomb, 1 << 20, room).await;
        assert_eq!(stopped, Err(Reject::InflatedTooLarge(1 << 20)));
        assert!(held <= 1 << 20, "{held}");
    }
}

#[tokio::test]
async fn room_is_asked_for_what_it_becomes() {
    for encoding in ALL {
        let body = deflated(encoding, &vec![b'x'; 300_000]);
        let mut left = 200_000;
        let room = |bytes| {
            left -= bytes as i64;
            left >= 0
        };
        assert_eq!(encoding.inflate(&body, 1 << 20, room).await, Err(Reject::Busy));
    }
}

#[tokio::test]
async fn a_frame_cannot_ask_for_more_memory_than_the_window_of_http() {
    // A frame header that asks for a window of 2 GiB, then an empty last block.
    let greedy = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    assert_eq!(inflated(Encoding::Zstd, &greedy, 1 << 20).await, broken(Encoding::Zstd, Broken::Corrupt));
    let modest = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68, 0x01, 0x00, 0x00];
    assert_eq!(inflated(Encoding::Zstd, &modest, 1 << 20).await.unwrap(), b"");
}

proptest! {
    #[test]
    fn what_was_deflated_is_inflated_again(bytes in prop::collection::vec(any::<u8>(), 0..2_000), times in 1_usize..200) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = bytes.repeat(times);
        for encoding in ALL {
            let body = deflated(encoding, &bytes);
            let inflated = runtime.block_on(inflated(encoding, &body, bytes.len() as u64));
            prop_assert_eq!(inflated.as_deref(), Ok(&bytes[..]));
        }
        prop_assert_eq!(runtime.block_on(inflated(Encoding::Deflate, &raw_deflate(&bytes), bytes.len() as u64)), Ok(bytes));
    }

    #[test]
    fn any_bytes_are_inflated_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for encoding in ALL {
            let _ = runtime.block_on(inflated(encoding, &bytes, 1 << 20));
            let mut body = deflated(encoding, &bytes);
            let at = at.index(body.len());
            body[at] ^= flip;
            let _ = runtime.block_on(inflated(encoding, &body, 1 << 20));
        }
    }
}
