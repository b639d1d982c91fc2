use hyper::Uri;

/// Whether a text is an origin as browsers send it: scheme, host and port, in small letters, and nothing behind them.
pub fn is_origin(text: &str) -> bool {
    let Some(host) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b);
    !host.is_empty() && host.bytes().all(plain) && text.parse::<Uri>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for origin in ["https://app.example.com", "http://localhost:3000", "http://[::1]:8080"] {
            assert!(is_origin(origin), "{origin}");
        }
        for wrong in
            ["", "*", "null", "app.example.com", "https://", "https://a/", "https://A.b", "https://a b", "ftp://a"]
        {
            assert!(!is_origin(wrong), "{wrong}");
        }
    }
}
