use super::{Misconfigured, hosts};
use crate::http::{Limits, is_origin, is_public};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Random letters and digits of this length are out of reach for whoever tries them all. Nothing else keeps a token from
/// being found: many wrong ones never keep the right one out.
const LEAST_TOKEN_BYTES: usize = 16;
/// What is said of a shorter one.
pub const SHORT_TOKEN: &str =
    "the query token is shorter than 16 characters and may be found by trying: take a long random text";

/// How the counts are served: `[query]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where to listen. Only this machine can reach the default.
    pub listen: SocketAddr,
    /// Lets anybody read who can reach the listener, where no token is set.
    pub open: bool,
    /// What readers send as `Authorization: Bearer …`. Asked for wherever it is set, on loopback too.
    pub token: Option<SecretString>,
    /// A file that holds the token, read at start; white space around it is left out.
    pub token_file: Option<PathBuf>,
    /// Connections at a time. A reader needs one or a few, so a small number does.
    pub max_connections: usize,
    /// Origins of other sites whose scripts may read, like `https://app.example.com`. They still need the token.
    pub allowed_origins: Vec<String>,
    /// Names that are answered besides localhost and addresses, where only the address keeps others out.
    pub allowed_hosts: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            open: false,
            token: None,
            token_file: None,
            max_connections: 1_000,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
        }
    }
}

impl Config {
    /// Checks that the counts are not public by accident. Reads no file.
    ///
    /// # Errors
    /// When others can reach the listener and neither a token nor `open` says that they may, a token is unusable, or an
    /// origin or a host is none.
    pub fn validate(&self) -> Result<(), Misconfigured> {
        if let Some(wrong) = self.allowed_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(Misconfigured::Origin(wrong.clone()));
        }
        if let Some(wrong) = self.allowed_hosts.iter().find(|host| !hosts::is_name(host)) {
            return Err(Misconfigured::HostName(wrong.clone()));
        }
        match (&self.token, &self.token_file) {
            (Some(_), Some(_)) => Err(Misconfigured::TwoTokens),
            (Some(token), None) => usable(token),
            (None, Some(_)) => Ok(()),
            (None, None) if self.open || !is_public(self.listen) => Ok(()),
            (None, None) => Err(Misconfigured::Public(self.listen)),
        }
    }

    /// What a client may take of the listener.
    pub fn limits(&self) -> Limits {
        Limits { max_connections: self.max_connections, ..Limits::default() }
    }

    /// Whether there is a token that may be found by trying, a file's too. It works, but protects little.
    ///
    /// # Errors
    /// When the token cannot be read or used.
    pub fn has_short_token(&self) -> Result<bool, Misconfigured> {
        Ok(self.read_token()?.as_ref().is_some_and(is_short))
    }

    /// The token, from wherever it is configured.
    pub(super) fn read_token(&self) -> Result<Option<SecretString>, Misconfigured> {
        let Some(path) = &self.token_file else { return Ok(self.token.clone()) };
        let text =
            std::fs::read_to_string(path).map_err(|error| Misconfigured::TokenFile { path: path.clone(), error })?;
        let token = SecretString::from(text.trim().to_owned());
        usable(&token)?;
        Ok(Some(token))
    }
}

/// Whether a token may be found by trying.
pub(super) fn is_short(token: &SecretString) -> bool {
    token.expose_secret().len() < LEAST_TOKEN_BYTES
}

/// A token that no header can carry would lock everybody out, and an empty one lets everybody in.
fn usable(token: &SecretString) -> Result<(), Misconfigured> {
    let token = token.expose_secret();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Misconfigured::Token);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn config(toml: &str) -> Config {
        toml::from_str(toml).unwrap()
    }

    fn refused(toml: &str) -> String {
        config(toml).validate().unwrap_err().to_string()
    }

    #[test]
    fn what_others_can_reach_needs_a_token_or_to_be_declared_open() {
        let message = refused(r#"listen = "0.0.0.0:8080""#);
        assert!(message.contains("0.0.0.0:8080") && message.contains("token") && message.contains("open = true"));
        for fine in [
            "",
            r#"listen = "[::1]:1""#,
            "listen = \"0.0.0.0:1\"\nopen = true",
            "listen = \"0.0.0.0:1\"\ntoken = \"t\"",
            "listen = \"0.0.0.0:1\"\ntoken_file = \"/run/secrets/token\"",
        ] {
            config(fine).validate().unwrap();
        }
    }

    #[test]
    fn a_token_that_locks_everybody_in_or_out_is_refused() {
        assert!(refused(r#"token = """#).contains("empty"));
        assert!(refused(r#"token = "two words""#).contains("without spaces"));
        assert!(refused("token = \"a\"\ntoken_file = \"b\"").contains("both"));
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        assert!(refused("allowed_origins = [\"app.example.com\"]").contains("is not an origin"));
        assert!(refused("allowed_hosts = [\"http://counts.example\"]").contains("is not the name of a host"));
    }

    #[test]
    fn a_short_token_works_and_is_known_to_be_short() {
        let is_short = |toml: &str| {
            config(toml).validate().unwrap();
            config(toml).has_short_token().unwrap()
        };
        assert!(is_short("token = \"123456789012345\""));
        assert!(!is_short("token = \"1234567890123456\"") && !is_short(""));
        assert!(SHORT_TOKEN.contains(&LEAST_TOKEN_BYTES.to_string()));
    }

    #[test]
    fn a_token_file_is_read_without_its_line_end_and_never_shown() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "hidden").unwrap();
        let config = Config { token_file: Some(file.path().into()), ..Config::default() };
        let token = config.read_token().unwrap().unwrap();
        assert_eq!(token.expose_secret(), "hidden");
        assert!(!format!("{:?}", Config { token: Some(token), ..Config::default() }).contains("hidden"));
        let missing = Config { token_file: Some("/nowhere/token".into()), ..Config::default() };
        assert!(missing.read_token().unwrap_err().to_string().contains("/nowhere/token"));
    }
}
