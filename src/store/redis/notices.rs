//! Notices in Redis: a stream that is short and expires, and a key that says that somebody listens.

use super::link::Link;
use super::names::Names;
use crate::store::notices::{CALL, KEPT, Notices};
use crate::store::{RedisConfig, StoreError};
use ::redis::{cmd, pipe};
use async_trait::async_trait;
use std::time::Duration;

/// How long the stream stays after the last notice.
const STAYS: Duration = Duration::from_secs(60);

/// Notices in Redis, beside whatever else is in it.
pub struct RedisNotices {
    link: Link,
    names: Names,
}

impl RedisNotices {
    /// It connects when it is first used, and again whenever the connection fails.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: &RedisConfig) -> Result<RedisNotices, StoreError> {
        config.validate()?;
        Ok(RedisNotices { link: Link::new(config)?, names: Names::new(&config.prefix) })
    }
}

#[async_trait]
impl Notices for RedisNotices {
    async fn call(&self, call: &str) -> Result<(), StoreError> {
        let mut set = cmd("SET");
        set.arg(self.names.tail_call()).arg(call).arg("PX").arg(CALL.as_millis().to_string());
        self.link.command(&set).await
    }

    async fn call_again(&self) -> Result<bool, StoreError> {
        self.link.command(cmd("PEXPIRE").arg(self.names.tail_call()).arg(CALL.as_millis().to_string())).await
    }

    async fn called(&self) -> Result<Option<String>, StoreError> {
        self.link.command(cmd("GET").arg(self.names.tail_call())).await
    }

    async fn publish(&self, notices: &[String]) -> Result<(), StoreError> {
        let mut publish = pipe();
        for notice in notices {
            let add = publish.cmd("XADD").arg(self.names.tail()).arg("MAXLEN").arg(KEPT);
            add.arg("*").arg("notice").arg(notice).ignore();
        }
        publish.cmd("PEXPIRE").arg(self.names.tail()).arg(STAYS.as_millis().to_string()).ignore();
        self.link.pipeline(&publish).await
    }

    async fn read(&self, position: &mut Option<String>) -> Result<Vec<String>, StoreError> {
        let from = position.as_deref().map_or_else(|| "-".to_owned(), behind);
        let mut range = cmd("XRANGE");
        range.arg(self.names.tail()).arg(from).arg("+").arg("COUNT").arg(KEPT);
        let kept: Vec<(String, Vec<(String, String)>)> = self.link.command(&range).await?;
        if let Some((last, _)) = kept.last() {
            *position = Some(last.clone());
        }
        Ok(kept.into_iter().flat_map(|(_, fields)| fields).map(|(_, notice)| notice).collect())
    }
}

/// The id that comes next after this one.
fn behind(id: &str) -> String {
    match id.split_once('-').map(|(ms, n)| (ms, n.parse::<u64>())) {
        Some((ms, Ok(n))) => format!("{ms}-{}", n.saturating_add(1)),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_id_is_the_one_behind() {
        assert_eq!([behind("1760000000000-0"), behind("5-9"), behind("x")], ["1760000000000-1", "5-10", "-"]);
    }
}
