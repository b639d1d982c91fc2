//! Salts: what both kinds of stores promise, and what Redis is left with.

use super::Own;
use crate::clock::now_ms;
use crate::store::testing::salts_conform;
use crate::store::{Day, RedisConfig, RedisSalts, RedisUrl, Salt, SaltStore, StoreError};
use ::redis::cmd;

fn salts(own: &Own) -> RedisSalts {
    let config = RedisConfig { url: RedisUrl::from(own.server.url()), ..RedisConfig::default() };
    RedisSalts::new(&config).unwrap()
}

#[tokio::test]
async fn salts_in_redis_are_shared_and_expire() {
    let own = Own::new();
    salts_conform(&salts(&own), &salts(&own)).await;
    let today = Day::of(now_ms());
    let key = format!("sg:{{0}}:salt:{today}");
    let ends: i64 = own.does(cmd("EXPIRETIME").arg(&key)).await;
    assert_eq!(ends, today.begins_ms() / 1_000 + 48 * 3_600);
    let keys: Vec<String> = own.does(cmd("KEYS").arg("*")).await;
    assert_eq!(keys.len(), 2, "{keys:?}");
}

#[tokio::test]
async fn what_cannot_be_kept_or_is_none_is_said_without_showing_it() {
    let own = Own::new();
    let (salts, offered) = (salts(&own), Salt::of(&[77; 16]).unwrap());
    let long_ago = Day::of(0);
    let error = salts.agree(long_ago, &offered).await.unwrap_err().to_string();
    assert!(error.contains("1970-01-01") && error.contains("clock"), "{error}");
    let today = Day::of(now_ms());
    let _: () = own.does(cmd("HSET").arg(format!("sg:{{0}}:salt:{today}")).arg("salt").arg("hunter2")).await;
    let error = salts.agree(today, &offered).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }) && !error.to_string().contains("hunter2"), "{error}");
}
