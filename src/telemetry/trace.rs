use std::fmt;

/// Name of the HTTP header and of the record header.
pub const TRACEPARENT: &str = "traceparent";

const BYTES: usize = 55;

/// Where a request stands in a trace, as the header `traceparent` of W3C Trace Context says it: version, trace id,
/// parent id and flags in lower-case hexadecimal digits. It is held in place, so that to carry one costs no allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceParent([u8; BYTES]);

impl TraceParent {
    /// Reads the header's value; `None` when it is not valid, which is to be treated like an absent one.
    ///
    /// Of a later version the parts known today are kept, as version 00.
    pub fn parse(value: &[u8]) -> Option<TraceParent> {
        let (head, rest) = value.split_at_checked(BYTES)?;
        let mut kept: [u8; BYTES] = head.try_into().ok()?;
        let (version, trace, parent, flags) = (&kept[..2], &kept[3..35], &kept[36..52], &kept[53..]);
        let separated = [2, 35, 52].iter().all(|at| kept[*at] == b'-');
        let hexadecimal = [version, trace, parent, flags].into_iter().flatten().all(|b| is_hex(*b));
        let named = [trace, parent].iter().all(|id| id.iter().any(|b| *b != b'0'));
        let fits = match version {
            b"ff" => false,
            b"00" => rest.is_empty(),
            _ => rest.first().is_none_or(|b| *b == b'-'),
        };
        if !(separated && hexadecimal && named && fits) {
            return None;
        }
        kept[..2].copy_from_slice(b"00");
        Some(TraceParent(kept))
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        // Only digits and dashes pass `parse`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The trace id alone: what a log line is searched by.
    pub fn trace_id(&self) -> &str {
        self.as_str().get(3..35).unwrap_or_default()
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_hex(b: u8) -> bool {
    matches!(b, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(value: &str) -> Option<TraceParent> {
        TraceParent::parse(value.as_bytes())
    }

    #[test]
    fn a_valid_one_is_carried_as_it_is() {
        let trace = parse(VALID).unwrap();
        assert_eq!(trace.as_str(), VALID);
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn a_later_version_is_carried_as_far_as_it_is_known() {
        let later = VALID.replacen("00", "01", 1);
        assert_eq!(parse(&later).unwrap().as_str(), VALID);
        assert_eq!(parse(&format!("{later}-more")).unwrap().as_str(), VALID);
        assert_eq!(parse(&format!("{later}more")), None);
    }

    #[test]
    fn anything_else_is_none() {
        let invalid = [
            "",
            "00",
            &VALID.replacen("00", "ff", 1),
            &format!("{VALID}-more"),
            &VALID[..54],
            &VALID.to_uppercase(),
            &VALID.replace('-', "_"),
            &VALID.replace('4', "g"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902é-01",
        ];
        for value in invalid {
            assert_eq!(parse(value), None, "{value}");
        }
    }
}
