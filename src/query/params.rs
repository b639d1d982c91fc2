use super::QueryError;
use percent_encoding::percent_decode_str;

/// The parameters of a question: every one known, none given twice, all decoded.
#[derive(Debug)]
pub(super) struct Params(Vec<(&'static str, String)>);

impl Params {
    /// Reads a query string in which only the `known` parameters may stand.
    pub(super) fn parse(query: Option<&str>, known: &'static [&'static str]) -> Result<Params, QueryError> {
        let mut params: Vec<(&'static str, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            let name = known.iter().copied().find(|k| *k == name).ok_or_else(|| unknown(name, known))?;
            if params.iter().any(|(seen, _)| *seen == name) {
                return Err(QueryError::Twice(name));
            }
            params.push((name, decode(value)?));
        }
        Ok(Params(params))
    }

    /// The value of a parameter, if it was given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }
}

/// Decodes a name or a value of a query string.
pub(super) fn decode(text: &str) -> Result<String, QueryError> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().map(Into::into).map_err(|_| QueryError::NotUtf8(text.clone()))
}

fn unknown(name: String, known: &[&str]) -> QueryError {
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(&name, k), k)).min();
    let hint = match near {
        None => "this takes none".to_owned(),
        Some((distance, nearest)) if distance <= 2 => format!("did you mean `{nearest}`?"),
        Some(_) => format!("it takes {}", known.join(", ")),
    };
    QueryError::UnknownParameter { name, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["window", "key", "top"];

    fn refused(query: &str) -> String {
        Params::parse(Some(query), KNOWN).unwrap_err().to_string()
    }

    #[test]
    fn escapes_and_plus_signs_are_decoded() {
        let params = Params::parse(Some("window=10s&key=a%2Bb+c%C3%A4%26%3d&&top"), KNOWN).unwrap();
        assert_eq!(params.get("window"), Some("10s"));
        assert_eq!(params.get("key"), Some("a+b cä&="));
        assert_eq!(params.get("top"), Some(""));
        assert_eq!(Params::parse(Some("key=/a=b"), KNOWN).unwrap().get("key"), Some("/a=b"));
        assert_eq!(Params::parse(None, KNOWN).unwrap().get("key"), None);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        assert_eq!(refused("windows=10s"), "unknown parameter `windows`: did you mean `window`?");
        assert_eq!(refused("limit=10"), "unknown parameter `limit`: it takes window, key, top");
        assert_eq!(refused("top=1&top=1"), "parameter `top` is given twice");
        assert_eq!(refused("key=%ff"), "`%ff` is not UTF-8 once its % escapes are decoded");
        assert_eq!(Params::parse(Some("a=1"), &[]).unwrap_err().to_string(), "unknown parameter `a`: this takes none");
    }
}
