use super::StoreError;
use ::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult};
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
    /// Further nodes, "host:port", of the cluster that `url` names a node of. Not empty = it is a Redis Cluster. User,
    /// password and TLS are those of `url`.
    pub cluster_nodes: Vec<String>,
    /// Begins all keys; two programs with different prefixes share a Redis without meeting.
    pub prefix: String,
    /// Over how many hash slots the counts of different partitions are spread. More than 1 only pays in a cluster.
    pub shards: u32,
}

impl Default for RedisConfig {
    fn default() -> RedisConfig {
        RedisConfig {
            url: RedisUrl::from("redis://localhost:6379".to_owned()),
            cluster_nodes: Vec::new(),
            prefix: "sg".to_owned(),
            shards: 1,
        }
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
        self.validate_cluster()
    }

    fn validate_cluster(&self) -> Result<(), StoreError> {
        let wrong = |key, problem: String| Err(StoreError::Config { key, problem });
        if let Some(node) = self.cluster_nodes.iter().find(|node| host_and_port(node).is_none()) {
            return wrong("store.redis.cluster_nodes", format!("{node:?} must be like \"host:6379\""));
        }
        let Some(info) = self.is_cluster().then(|| self.url.info().ok()).flatten() else { return Ok(()) };
        if matches!(info.addr(), ConnectionAddr::Unix(_)) {
            let problem = format!("`{}` is a socket, and the nodes of a cluster only speak TCP", self.url);
            return wrong("store.redis.url", problem);
        }
        if info.redis_settings().db() != 0 {
            return wrong("store.redis.url", format!("`{}` names a database, and a cluster has only 0", self.url));
        }
        Ok(())
    }

    /// Whether it is a Redis Cluster.
    pub(super) fn is_cluster(&self) -> bool {
        !self.cluster_nodes.is_empty()
    }

    /// The nodes to begin with; the cluster names all others.
    pub(super) fn nodes(&self) -> RedisResult<Vec<ConnectionInfo>> {
        let first = self.url.info()?;
        let mut nodes = vec![first.clone()];
        for (host, port) in self.cluster_nodes.iter().filter_map(|node| host_and_port(node)) {
            nodes.push(first.clone().set_addr(at(first.addr(), host, port)));
        }
        Ok(nodes)
    }
}

fn host_and_port(node: &str) -> Option<(&str, u16)> {
    let (host, port) = node.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    let forbidden = |c: char| c.is_whitespace() || ['/', '@', '[', ']'].contains(&c);
    let good = !host.is_empty() && !host.contains(forbidden) && (bare.is_some() || !host.contains(':'));
    Some((host, port.parse().ok().filter(|port| *port > 0 && good)?))
}

/// Another node, reached in the same way.
fn at(address: &ConnectionAddr, host: &str, port: u16) -> ConnectionAddr {
    match address {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
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

    pub(super) fn client(&self) -> RedisResult<::redis::Client> {
        ::redis::Client::open(self.expose())
    }

    fn info(&self) -> RedisResult<ConnectionInfo> {
        self.expose().into_connection_info()
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
        for node in ["h", "h:", ":1", "h:0", "h:70000", "redis://h:1", "a b:1", "::1:1", "[::1:1"] {
            assert!(refused(&|c| c.cluster_nodes = vec!["h:1".into(), node.into()]).contains("host:6379"), "{node}");
        }
        let cluster = |at: &str| {
            let at = url(at);
            refused(&|c| (c.url, c.cluster_nodes) = (at.clone(), vec!["h:1".into()]))
        };
        assert!(cluster("unix:///run/redis.sock").contains("is a socket"));
        assert!(cluster("redis://h:1/2").contains("has only 0"));
        assert!(toml::from_str::<Config>("kind = \"mysql\"").is_err());
        assert!(toml::from_str::<Config>("[redis]\nshard = 1").is_err());
    }

    #[test]
    fn the_nodes_of_a_cluster_are_reached_as_the_url_says() {
        let config = RedisConfig {
            url: url("rediss://joe:hunter2@a:1"),
            cluster_nodes: vec!["b:2".into(), "[::1]:3".into()],
            ..RedisConfig::default()
        };
        config.validate().unwrap();
        let nodes = config.nodes().unwrap();
        assert_eq!(nodes.iter().map(|node| node.addr().to_string()).collect::<Vec<_>>(), ["a:1", "b:2", "::1:3"]);
        for node in nodes {
            assert!(matches!(node.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
            assert_eq!(node.redis_settings().username(), Some("joe"));
            assert_eq!(node.redis_settings().password(), Some("hunter2"));
        }
    }
}
