use super::super::enrich::EnrichmentOverride;
use super::origin::Origins;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::collections::HashSet;
use std::path::PathBuf;

/// A site that may write: one `[[sites]]` of the configuration.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Config {
    /// Names the site in `context.site` of its events: 1–64 of letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// What its clients send. Any of them will do, so that one can be replaced without a pause.
    #[serde(default)]
    pub write_keys: Vec<SecretString>,
    /// A file of more keys, one on each line, read at start.
    #[serde(default)]
    pub write_keys_file: Option<PathBuf>,
    /// Origins whose pages may send: `https://shop.example.com`, `https://*.example.com`, or `*` for any. Without one
    /// the keys are for services, which have no origin.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Requests per second that each of the keys may make; 0 for any number.
    #[serde(default)]
    pub rate_limit: u32,
    /// What is added to its events, where it is something else than `[ingest.enrich]` says.
    #[serde(default)]
    pub enrich: EnrichmentOverride,
}

/// Why a site cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The name could not stand everywhere that it has to.
    #[error("site `{0}`: a name has 1-64 letters, digits, dots, _ or -")]
    Name(String),
    /// Two sites share a name.
    #[error("site `{0}` is defined twice: give one of them another name")]
    NameTwice(String),
    /// Nobody could write.
    #[error("site `{0}` has neither write_keys nor a write_keys_file")]
    NoKeys(String),
    /// A key that no client can send.
    #[error("site `{0}`: a write key has 1-256 printable ASCII characters and no spaces")]
    Key(String),
    /// It would be unclear whose event it is.
    #[error("site `{1}` has a write key in common with `{0}`: each belongs to one site, once")]
    KeyTwice(String, String),
    /// An origin that no browser sends.
    #[error(
        "site `{0}`: `{1}` in allowed_origins is no origin: write it like \"https://shop.example.com\", \
         \"https://*.example.com\" or \"*\", without a path"
    )]
    Origin(String, String),
    /// The keys cannot be read.
    #[error("site `{site}`: write_keys_file `{}` cannot be read: {error}", .path.display())]
    Unreadable {
        /// The site's name.
        site: String,
        /// The configured path.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

impl Config {
    /// Its keys, from wherever they are configured.
    ///
    /// # Errors
    /// When the file cannot be read, or a key not be used.
    pub(super) fn read_keys(&self) -> Result<Vec<SecretString>, SiteError> {
        let mut keys = self.write_keys.clone();
        if let Some(path) = &self.write_keys_file {
            let text = std::fs::read_to_string(path).map_err(|error| SiteError::Unreadable {
                site: self.name.clone(),
                path: path.clone(),
                error,
            })?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            keys.extend(lines.map(SecretString::from));
        }
        if keys.is_empty() {
            return Err(SiteError::NoKeys(self.name.clone()));
        }
        if keys.iter().all(is_usable) { Ok(keys) } else { Err(SiteError::Key(self.name.clone())) }
    }

    pub(super) fn origins(&self) -> Result<Origins, SiteError> {
        Origins::parse(&self.allowed_origins).map_err(|wrong| SiteError::Origin(self.name.clone(), wrong))
    }

    fn has_name(&self) -> bool {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        (1..=64).contains(&self.name.len()) && self.name.bytes().all(plain)
    }
}

fn is_usable(key: &SecretString) -> bool {
    let key = key.expose_secret();
    (1..=256).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
}

/// Checks sites, one by one and together. Reads no file, so keys in files are looked at when they are opened.
///
/// # Errors
/// The first thing that is wrong with any of them.
pub(in crate::ingest) fn validate(sites: &[Config]) -> Result<(), SiteError> {
    let mut names = HashSet::new();
    for site in sites {
        let name = || site.name.clone();
        if !site.has_name() {
            return Err(SiteError::Name(name()));
        }
        if !names.insert(&site.name) {
            return Err(SiteError::NameTwice(name()));
        }
        if site.write_keys.is_empty() && site.write_keys_file.is_none() {
            return Err(SiteError::NoKeys(name()));
        }
        if !site.write_keys.iter().all(is_usable) {
            return Err(SiteError::Key(name()));
        }
        site.origins()?;
    }
    let keys = sites.iter().flat_map(|site| site.write_keys.iter().map(|key| (site.name.as_str(), key)));
    each_once(keys)
}

/// Reads the keys of all sites, and checks them as they will be used.
///
/// # Errors
/// The first thing that is wrong with any of them.
pub fn check_keys(sites: &[Config]) -> Result<(), SiteError> {
    let mut all = Vec::new();
    for site in sites {
        all.extend(site.read_keys()?.into_iter().map(|key| (site.name.as_str(), key)));
    }
    each_once(all.iter().map(|(site, key)| (*site, key)))
}

/// Each key belongs to one site, once.
pub(super) fn each_once<'a>(keys: impl Iterator<Item = (&'a str, &'a SecretString)>) -> Result<(), SiteError> {
    let mut seen: Vec<(&str, &SecretString)> = Vec::new();
    for (site, key) in keys {
        if let Some((other, _)) = seen.iter().find(|(_, other)| other.expose_secret() == key.expose_secret()) {
            return Err(SiteError::KeyTwice((*other).to_owned(), site.to_owned()));
        }
        seen.push((site, key));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        sites: Vec<Config>,
    }

    fn refused(toml: &str) -> String {
        validate(&toml::from_str::<File>(toml).unwrap().sites).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_site_is_named_but_no_key_is() {
        let one = "[[sites]]\nname = \"a\"\nwrite_keys = [\"hunter2\"]\n";
        validate(&toml::from_str::<File>(one).unwrap().sites).unwrap();
        for (toml, message) in [
            ("[[sites]]\nname = \"\"\nwrite_keys = [\"hunter2\"]".to_owned(), "1-64 letters"),
            ("[[sites]]\nname = \"a b\"\nwrite_keys = [\"hunter2\"]".to_owned(), "`a b`"),
            (format!("[[sites]]\nname = \"{}\"\nwrite_keys = [\"k\"]", "x".repeat(65)), "1-64"),
            ("[[sites]]\nname = \"a\"".to_owned(), "`a` has neither write_keys"),
            ("[[sites]]\nname = \"a\"\nwrite_keys = [\"hunter2 x\"]".to_owned(), "printable ASCII"),
            ("[[sites]]\nname = \"a\"\nwrite_keys = [\"\"]".to_owned(), "printable ASCII"),
            (format!("{one}[[sites]]\nname = \"a\"\nwrite_keys = [\"k\"]"), "`a` is defined twice"),
            (
                format!("{one}[[sites]]\nname = \"b\"\nwrite_keys = [\"k\", \"hunter2\"]"),
                "`b` has a write key in common with `a`",
            ),
            (
                "[[sites]]\nname = \"a\"\nwrite_keys = [\"k\", \"k\"]".to_owned(),
                "`a` has a write key in common with `a`",
            ),
            (format!("{one}allowed_origins = [\"shop.example\"]"), "`shop.example`"),
        ] {
            let error = refused(&toml);
            assert!(error.contains(message) && !error.contains("hunter2"), "{toml}: {error}");
        }
    }

    #[test]
    fn keys_come_from_a_file_too() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n\n  two\t\n").unwrap();
        let keys = |config: &Config| {
            let keys = config.read_keys()?;
            Ok::<_, SiteError>(keys.iter().map(|key| key.expose_secret().to_owned()).collect::<Vec<_>>())
        };
        let mut site = Config {
            name: "a".into(),
            write_keys: vec!["zero".into()],
            write_keys_file: Some(file.path().into()),
            ..Config::default()
        };
        assert_eq!(keys(&site).unwrap(), ["zero", "one", "two"]);
        assert!(!format!("{site:?}").contains("zero"));
        std::fs::write(file.path(), "one two\n").unwrap();
        assert!(keys(&site).unwrap_err().to_string().contains("printable ASCII"));
        site.write_keys.clear();
        std::fs::write(file.path(), " \n").unwrap();
        assert!(keys(&site).unwrap_err().to_string().contains("neither"));
        site.write_keys_file = Some("no/such/file".into());
        assert!(keys(&site).unwrap_err().to_string().contains("no/such/file"));
    }
}
