//! Notices: what both kinds of them promise, and what Redis is left with.

use super::Own;
use crate::store::notices::KEPT;
use crate::store::{LocalNotices, Notices, RedisConfig, RedisNotices, RedisUrl};
use ::redis::cmd;

fn notices(own: &Own) -> RedisNotices {
    let config = RedisConfig { url: RedisUrl::from(own.server.url()), ..RedisConfig::default() };
    RedisNotices::new(&config).unwrap()
}

fn texts(of: std::ops::Range<usize>) -> Vec<String> {
    of.map(|n| format!("notice {n}")).collect()
}

/// `one` and `other` share a store.
async fn conform(one: &dyn Notices, other: &dyn Notices) {
    assert!(!one.call_again().await.unwrap(), "there is no call to repeat");
    assert_eq!(other.called().await.unwrap(), None);
    one.call("a").await.unwrap();
    assert!(other.call_again().await.unwrap());
    assert_eq!(other.called().await.unwrap().as_deref(), Some("a"));
    other.call("b").await.unwrap();
    assert_eq!(one.called().await.unwrap().as_deref(), Some("b"), "the latest call holds");

    let (mut early, mut late) = (None, None);
    assert!(one.read(&mut early).await.unwrap().is_empty());
    other.publish(&texts(0..3)).await.unwrap();
    assert_eq!(one.read(&mut early).await.unwrap(), texts(0..3));
    assert!(one.read(&mut early).await.unwrap().is_empty(), "what was read is behind");
    other.publish(&texts(3..4)).await.unwrap();
    assert_eq!(one.read(&mut early).await.unwrap(), texts(3..4));
    assert_eq!(other.read(&mut late).await.unwrap(), texts(0..4), "who comes late reads all that is kept");
    for n in 4..1_000 {
        other.publish(&texts(n..n + 1)).await.unwrap();
    }
    assert_eq!(one.read(&mut early).await.unwrap(), texts(1_000 - KEPT..1_000), "only the latest are kept");
    assert!(one.read(&mut early).await.unwrap().is_empty());
}

#[tokio::test]
async fn notices_within_a_process() {
    let notices = LocalNotices::default();
    conform(&notices, &notices).await;
}

#[tokio::test]
async fn notices_in_redis_are_few_and_expire() {
    let own = Own::new();
    conform(&notices(&own), &notices(&own)).await;
    let keys: Vec<String> = own.does(cmd("KEYS").arg("*")).await;
    assert_eq!(keys.len(), 2, "{keys:?}");
    for (key, most) in [("sg:{0}:tail", 60_000), ("sg:{0}:tail:call", 6_000)] {
        let lives: i64 = own.does(cmd("PTTL").arg(key)).await;
        assert!((1..=most).contains(&lives), "{key}: {lives}");
    }
}
