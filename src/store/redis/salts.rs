//! Salts in Redis: a hash for each day, as all else that stays there is one. The first who sets it decides, and it expires by itself.

use super::link::Link;
use super::names::Names;
use crate::store::{Day, RedisConfig, Salt, SaltStore, StoreError};
use ::redis::pipe;
use async_trait::async_trait;

const FIELD: &str = "salt";

/// Salts in Redis, beside whatever else is in it.
pub struct RedisSalts {
    link: Link,
    names: Names,
}

impl RedisSalts {
    /// It connects when it is first used, and again whenever the connection fails.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: &RedisConfig) -> Result<RedisSalts, StoreError> {
        config.validate()?;
        Ok(RedisSalts { link: Link::new(config)?, names: Names::new(&config.prefix) })
    }
}

#[async_trait]
impl SaltStore for RedisSalts {
    async fn agree(&self, day: Day, offered: &Salt) -> Result<Salt, StoreError> {
        let name = self.names.salt(day);
        let mut agree = pipe();
        // With its end in the same step: a salt without one would stay for good.
        agree.atomic();
        agree.cmd("HSETNX").arg(&name).arg(FIELD).arg(&offered.expose()[..]).ignore();
        agree.cmd("EXPIREAT").arg(&name).arg(day.forgotten_s()).ignore();
        agree.cmd("HGET").arg(&name).arg(FIELD);
        let (kept,): (Option<Vec<u8>>,) = self.link.pipeline(&agree).await?;
        let place = || self.link.place().to_owned();
        let Some(kept) = kept else {
            let problem = format!("it kept no salt for {day}: its clock is another than the one of this machine");
            return Err(StoreError::Unavailable { place: place(), problem });
        };
        let problem = || format!("{name} is no salt");
        Salt::of(&kept).ok_or_else(|| StoreError::Corrupt { place: place(), problem: problem() })
    }

    async fn forget(&self, _now_ms: i64) -> Result<(), StoreError> {
        Ok(())
    }
}
