//! Any bytes as the body of `POST /events`: inflated, taken apart and accepted, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    streamgauge::ingest::any_body(bytes);
});
