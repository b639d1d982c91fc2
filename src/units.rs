//! Quantities as a user writes them: durations like "200ms", "10s", "1h" or "30d", sizes like "8MiB".

pub use bytesize::ByteSize;

/// A [`std::time::Duration`] as text, for `#[serde(with = "crate::units::duration")]`.
pub mod duration {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};
    use std::time::Duration;

    /// Writes the duration as text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    /// Reads a duration from text.
    ///
    /// # Errors
    /// When it is no text, or the text is no duration; the message shows how to write one.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        from.deserialize_str(Text)
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a duration with its unit, in quotes, like \"200ms\", \"10s\", \"1h\" or \"30d\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text).map_err(|_| {
                E::custom(format!("`{text}` is not a duration: write it like \"200ms\", \"10s\", \"1h\" or \"30d\""))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Wait {
        #[serde(with = "super::duration")]
        wait: Duration,
    }

    #[test]
    fn a_duration_reads_back_as_it_was_written() {
        for (text, millis) in [("200ms", 200), ("10s", 10_000), ("1h", 3_600_000), ("30days", 2_592_000_000)] {
            let wait: Wait = toml::from_str(&format!("wait = \"{text}\"")).unwrap();
            assert_eq!(wait.wait, Duration::from_millis(millis));
            let back: Wait = toml::from_str(&toml::to_string(&wait).unwrap()).unwrap();
            assert_eq!(back.wait, wait.wait);
        }
        assert_eq!(toml::from_str::<Wait>("wait = \"30d\"").unwrap().wait, Duration::from_secs(2_592_000));
    }

    #[test]
    fn what_is_no_duration_is_answered_with_an_example() {
        for wrong in ["\"soon\"", "\"10\"", "10", "1.5"] {
            let error = toml::from_str::<Wait>(&format!("wait = {wrong}")).unwrap_err().to_string();
            assert!(error.contains("200ms"), "{error}");
        }
    }
}
