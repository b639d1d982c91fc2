use super::StoreError;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// `[store]`: where the counts are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which store.
    pub kind: Kind,
    /// Used when `kind` is "redis".
    pub redis: RedisConfig,
}

/// Which store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A Redis, or something that speaks its protocol and runs its scripts.
    #[default]
    Redis,
    /// The file of `[embedded]`.
    Embedded,
}

/// `[store.redis]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// Where it is: `redis://[user:password@]host[:port][/db]`; `rediss://` for TLS, `unix://` for a socket.
    pub url: RedisUrl,
    /// Begins all keys; two programs with different prefixes share a Redis without meeting.
    pub prefix: String,
    /// Over how many hash slots the counts of different partitions are spread. More than 1 only pays in a cluster.
    pub shards: u32,
}

impl Default for RedisConfig {
    fn default() -> RedisConfig {
        RedisConfig { url: RedisUrl::from("redis://localhost:6379".to_owned()), prefix: "sg".to_owned(), shards: 1 }
    }
}

impl Config {
    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn validate(&self) -> Result<(), StoreError> {
        match self.kind {
            Kind::Redis => self.redis.validate(),
            Kind::Embedded => Ok(()),
        }
    }
}

impl RedisConfig {
    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn validate(&self) -> Result<(), StoreError> {
        let wrong = |key, problem: String| Err(StoreError::Config { key, problem });
        let forbidden = |c: char| c == '{' || c == '}' || c.is_whitespace() || c.is_control();
        if self.prefix.is_empty() || self.prefix.len() > 64 || self.prefix.contains(forbidden) {
            let problem =
                format!("{:?} must be 1 to 64 bytes without braces and white space, like \"sg\"", self.prefix);
            return wrong("store.redis.prefix", problem);
        }
        if !(1..=1_024).contains(&self.shards) {
            return wrong("store.redis.shards", format!("{} must be from 1 to 1024", self.shards));
        }
        if ::redis::parse_redis_url(self.url.expose()).is_none() || self.url.client().is_err() {
            let problem = format!("`{}` is not a Redis address: write it like \"redis://host:6379\"", self.url);
            return wrong("store.redis.url", problem);
        }
        Ok(())
    }
}

/// An address that may hold a password. It is never printed with it.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct RedisUrl(SecretString);

impl RedisUrl {
    /// The address with its password, for the client alone.
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    pub(super) fn client(&self) -> ::redis::RedisResult<::redis::Client> {
        ::redis::Client::open(self.expose())
    }
}

impl From<String> for RedisUrl {
    fn from(url: String) -> RedisUrl {
        RedisUrl(SecretString::from(url))
    }
}

impl PartialEq for RedisUrl {
    fn eq(&self, other: &RedisUrl) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for RedisUrl {}

impl fmt::Display for RedisUrl {
    /// Without user, password and parameters: what is left says where it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.expose();
        let url = url.split(['?', '#']).next().unwrap_or_default();
        // A password with a slash in it is still before the last @.
        match (url.split_once("://"), url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, place))) => write!(f, "{scheme}://***@{place}"),
            (None, Some((_, place))) => write!(f, "***@{place}"),
            (_, None) => f.write_str(url),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> RedisUrl {
        RedisUrl::from(text.to_owned())
    }

    #[test]
    fn the_password_is_never_shown() {
        for (secret, shown) in [
            ("redis://:hunter2@h:1/0", "redis://***@h:1/0"),
            ("rediss://joe:hunter2@h:1", "rediss://***@h:1"),
            ("redis://:hunter2/@x@h:1", "redis://***@h:1"),
            ("unix:///run/redis.sock?pass=hunter2", "unix:///run/redis.sock"),
            ("joe:hunter2@h", "***@h"),
            ("redis://h:6379", "redis://h:6379"),
        ] {
            let config = RedisConfig { url: url(secret), ..RedisConfig::default() };
            assert_eq!(config.url.to_string(), shown);
            let told = format!("{config:?} {:?} {}", config.validate(), toml::to_string(&config).unwrap());
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let refused = |change: &dyn Fn(&mut RedisConfig)| {
            let mut config = Config::default();
            change(&mut config.redis);
            config.validate().unwrap_err().to_string()
        };
        Config::default().validate().unwrap();
        for prefix in ["", "a{b", "a}b", "a b", "a\nb"] {
            assert!(refused(&|c| c.prefix = prefix.into()).starts_with("store.redis.prefix"));
        }
        assert!(refused(&|c| c.shards = 0).contains("from 1 to 1024"));
        assert!(refused(&|c| c.shards = 1_025).contains("from 1 to 1024"));
        assert!(refused(&|c| c.url = url("http://h")).contains("not a Redis address"));
        assert!(refused(&|c| c.url = url("localhost")).contains("not a Redis address"));
        assert!(toml::from_str::<Config>("kind = \"mysql\"").is_err());
        assert!(toml::from_str::<Config>("[redis]\nshard = 1").is_err());
    }
}
