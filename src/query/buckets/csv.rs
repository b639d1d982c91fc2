//! The answer as a table: RFC 4180, a header line first.

use super::{Answer, Whole};
use std::fmt::Write;

/// The columns, in their order.
const HEADER: &str = "window,start,end,final,partial,total,other,key,count";
/// Two more where counters tell more than how many.
const VALUES: &str = ",value,key_value";
/// About what a line takes.
const LINE_BYTES: usize = 80;

/// A line for each key of each bucket; a bucket without keys has one line, `key` and `count` empty.
pub(super) fn csv(answer: &Answer<'_>) -> String {
    let lines: usize = answer.buckets.iter().map(|bucket| bucket.keys.len().max(1)).sum();
    let mut csv = String::with_capacity(HEADER.len() + lines * LINE_BYTES);
    csv.push_str(HEADER);
    if answer.value.is_some() {
        csv.push_str(VALUES);
    }
    csv.push_str("\r\n");
    for bucket in &answer.buckets {
        let (start, end, is_final, partial) = (bucket.start, bucket.end, bucket.is_final, bucket.partial);
        let (total, other) = (bucket.total, bucket.other);
        let begin = format!("{},{start},{end},{is_final},{partial},{total},{other},", answer.window);
        let value = bucket.value.map(|Whole(value)| format!(",{}", value.text())).unwrap_or_default();
        if bucket.keys.is_empty() {
            let no_key = if bucket.value.is_some() { "," } else { "" };
            // Writing to a text cannot fail.
            let _ = write!(csv, "{begin},{value}{no_key}\r\n");
        }
        for key in &bucket.keys {
            csv.push_str(&begin);
            quote(&mut csv, &key.key);
            let of_key = key.value.map(|value| format!(",{}", value.text())).unwrap_or_default();
            let _ = write!(csv, ",{}{value}{of_key}\r\n", key.count);
        }
    }
    csv
}

/// A key may hold anything, so it is always in quotes: what it holds can neither end the field nor the line.
fn quote(csv: &mut String, key: &str) {
    csv.push('"');
    csv.push_str(&key.replace('"', "\"\""));
    csv.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::{Bucket, Key, Value};
    use super::*;
    use crate::counter::Amounts;

    fn bucket(value: Option<Whole>) -> Bucket {
        let (is_final, partial, total, other, keys) = (true, false, 9, 1, vec![]);
        Bucket { start: 10, end: 20, is_final, partial, total, other, value, keys }
    }

    fn answer(value: Option<Whole>, buckets: Vec<Bucket>) -> Answer<'static> {
        let (data_as_of, complete_until, settled) = (None, None, true);
        Answer { counter: "c", window: "10s", data_as_of, complete_until, value, buckets, settled }
    }

    #[test]
    fn a_value_has_a_column_of_its_own() {
        let value = |sum| {
            let amounts = Some(Amounts { sum, ..Amounts::of(0) });
            Some(Value::Sum { amounts, events: 9, places: 2 })
        };
        let keyed = Bucket {
            keys: vec![Key { key: "a".into(), count: 2, value: value(-5) }],
            ..bucket(value(1_999).map(Whole))
        };
        let lines = csv(&answer(value(0).map(Whole), vec![keyed, bucket(value(100).map(Whole))]));
        let begin = "10s,10,20,true,false,9,1,";
        assert_eq!(lines, format!("{HEADER}{VALUES}\r\n{begin}\"a\",2,19.99,-0.05\r\n{begin},,1,\r\n"));
    }

    #[test]
    fn whatever_a_key_holds_it_stays_in_its_field() {
        let key = |key: &str, count| Key { key: key.into(), count, value: None };
        let bucket = |keys| Bucket { keys, ..bucket(None) };
        let keys = vec![key("/a", 3), key("a,\"b\"\r\n=1+1", 2), key("", 1)];
        let buckets = vec![bucket(keys), bucket(vec![])];
        let answer = answer(None, buckets);
        let begin = "10s,10,20,true,false,9,1,";
        assert_eq!(
            csv(&answer),
            format!("{HEADER}\r\n{begin}\"/a\",3\r\n{begin}\"a,\"\"b\"\"\r\n=1+1\",2\r\n{begin}\"\",1\r\n{begin},\r\n")
        );
    }
}
