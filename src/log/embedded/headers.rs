//! The headers of a record in one column: for each of them the length of its name, the name, the length of its value plus
//! one (0: it has none), the value. Lengths are numbers of seven bits a byte, the lowest first, as protobuf has them.

use crate::log::{Header, Headers};

/// The column's value; `None` for a record without headers.
pub(super) fn encode(headers: &[Header]) -> Option<Vec<u8>> {
    if headers.is_empty() {
        return None;
    }
    let mut to = Vec::with_capacity(headers.iter().map(|header| header.bytes() + 4).sum());
    for header in headers {
        length(&mut to, header.name.len());
        to.extend(header.name.as_bytes());
        length(&mut to, header.value.as_ref().map_or(0, |value| value.len() + 1));
        to.extend(header.value.as_deref().unwrap_or_default());
    }
    Some(to)
}

fn length(to: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        to.push(length as u8 | 0x80);
        length >>= 7;
    }
    to.push(length as u8);
}

/// Headers as the column has them. What somebody wrote into it that is none ends them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoded<'a>(pub(super) &'a [u8]);

impl Encoded<'_> {
    pub(super) fn copied(self) -> Vec<Header> {
        let mut headers = Vec::new();
        self.each(&mut |name, value| headers.push(Header::copied(name, value)));
        headers
    }
}

impl Headers for Encoded<'_> {
    fn each(&self, with: &mut dyn FnMut(&str, Option<&[u8]>)) {
        let mut rest = self.0;
        while let Some((name, value, behind)) = first(rest) {
            rest = behind;
            if let Ok(name) = std::str::from_utf8(name) {
                with(name, value);
            }
        }
    }
}

/// Name, value, and what is behind them.
type First<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

fn first(from: &[u8]) -> Option<First<'_>> {
    let (name_bytes, from) = read_length(from)?;
    let (name, from) = from.split_at_checked(name_bytes)?;
    let (value_bytes, from) = read_length(from)?;
    let Some(value_bytes) = value_bytes.checked_sub(1) else { return Some((name, None, from)) };
    let (value, from) = from.split_at_checked(value_bytes)?;
    Some((name, Some(value), from))
}

fn read_length(from: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0;
    // Four bytes are 256 MiB: more than any record has.
    for (at, byte) in from.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((length, &from[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers() -> impl Strategy<Value = Vec<Header>> {
        let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
        let header = (".{0,200}", value).prop_map(|(name, value)| Header::copied(&name, value.as_deref()));
        prop::collection::vec(header, 0..8)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(headers in headers()) {
            let encoded = encode(&headers);
            prop_assert_eq!(encoded.is_none(), headers.is_empty());
            prop_assert_eq!(Encoded(&encoded.unwrap_or_default()).copied(), headers);
        }

        #[test]
        fn anything_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            Encoded(&bytes).copied();
        }
    }
}
