//! A produce request byte by byte: for records that no client library writes, and anybody can.

use std::io::{Read, Write};
use std::net::TcpStream;

/// A record with one header, whose name need not be text.
pub(crate) struct Odd<'a> {
    pub(crate) value: &'a [u8],
    pub(crate) header: (&'a [u8], &'a [u8]),
}

/// Produces it; an error is Kafka's code, or that of the connection.
pub(crate) fn produce(broker: &str, topic: &str, partition: i32, odd: &Odd<'_>) -> Result<(), String> {
    let batch = batch(odd);
    let mut request = Vec::new();
    // Produce, version 3; correlation id; client; no transaction; all replicas; 10 s.
    request.extend([0_i16, 3].iter().flat_map(|n| n.to_be_bytes()));
    request.extend(7_i32.to_be_bytes());
    request.extend(short_text("wire"));
    request.extend([-1_i16, -1].iter().flat_map(|n| n.to_be_bytes()));
    request.extend([10_000_i32, 1].iter().flat_map(|n| n.to_be_bytes()));
    request.extend(short_text(topic));
    request.extend([1, partition, batch.len() as i32].iter().flat_map(|n| n.to_be_bytes()));
    request.extend(batch);
    let answer = ask(broker, &request).map_err(|e| e.to_string())?;
    // Correlation id, one topic, its name, one partition, its number.
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    match answer.get(at..at + 2) {
        Some([0, 0]) => Ok(()),
        code => Err(format!("Kafka's code is {code:?}")),
    }
}

fn ask(broker: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(broker)?;
    stream.write_all(&(request.len() as i32).to_be_bytes())?;
    stream.write_all(request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn short_text(text: &str) -> Vec<u8> {
    [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn batch(odd: &Odd<'_>) -> Vec<u8> {
    let now = super::now_ms();
    let mut body = Vec::new();
    // Attributes, last delta, first and last time, no producer, one record.
    body.extend(0_i16.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend([now, now, -1].iter().flat_map(|n| n.to_be_bytes()));
    body.extend((-1_i16).to_be_bytes());
    body.extend([-1_i32, 1].iter().flat_map(|n| n.to_be_bytes()));
    // Attributes, time and offset deltas, no key.
    let mut record = vec![0];
    record.extend([varint(0), varint(0), varint(-1), bytes(odd.value), varint(1)].concat());
    record.extend([bytes(odd.header.0), bytes(odd.header.1)].concat());
    body.extend(bytes(&record));
    let mut batch = 0_i64.to_be_bytes().to_vec();
    batch.extend((body.len() as i32 + 9).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&body).to_be_bytes());
    batch.extend(body);
    batch
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as i64), bytes.to_vec()].concat()
}

/// Zigzag, seven bits at a time.
fn varint(n: i64) -> Vec<u8> {
    let mut rest = ((n << 1) ^ (n >> 63)) as u64;
    let mut out = Vec::new();
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

/// CRC-32C (Castagnoli), a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    !bytes.iter().fold(!0_u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
