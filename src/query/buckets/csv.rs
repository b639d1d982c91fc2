//! The answer as a table: RFC 4180, a header line first.

use super::Answer;
use std::fmt::Write;

/// The columns, in their order.
const HEADER: &str = "window,start,end,final,partial,total,other,key,count\r\n";
/// About what a line takes.
const LINE_BYTES: usize = 80;

/// A line for each key of each bucket; a bucket without keys has one line, `key` and `count` empty.
pub(super) fn csv(answer: &Answer<'_>) -> String {
    let lines: usize = answer.buckets.iter().map(|bucket| bucket.keys.len().max(1)).sum();
    let mut csv = String::with_capacity(HEADER.len() + lines * LINE_BYTES);
    csv.push_str(HEADER);
    for bucket in &answer.buckets {
        let (start, end, is_final, partial) = (bucket.start, bucket.end, bucket.is_final, bucket.partial);
        let (total, other) = (bucket.total, bucket.other);
        let begin = format!("{},{start},{end},{is_final},{partial},{total},{other},", answer.window);
        if bucket.keys.is_empty() {
            csv.push_str(&begin);
            csv.push_str(",\r\n");
        }
        for key in &bucket.keys {
            csv.push_str(&begin);
            quote(&mut csv, &key.key);
            // Writing to a text cannot fail.
            let _ = write!(csv, ",{}\r\n", key.count);
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
    use super::super::{Bucket, Key};
    use super::*;

    #[test]
    fn whatever_a_key_holds_it_stays_in_its_field() {
        let key = |key: &str, count| Key { key: key.into(), count };
        let bucket = |keys| Bucket { start: 10, end: 20, is_final: true, partial: false, total: 9, other: 1, keys };
        let keys = vec![key("/a", 3), key("a,\"b\"\r\n=1+1", 2), key("", 1)];
        let (counter, window) = ("c", "10s");
        let buckets = vec![bucket(keys), bucket(vec![])];
        let answer = Answer { counter, window, data_as_of: None, complete_until: None, buckets, settled: true };
        let begin = "10s,10,20,true,false,9,1,";
        assert_eq!(
            csv(&answer),
            format!("{HEADER}{begin}\"/a\",3\r\n{begin}\"a,\"\"b\"\"\r\n=1+1\",2\r\n{begin}\"\",1\r\n{begin},\r\n")
        );
    }
}
