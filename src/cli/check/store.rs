use super::{Findings, within};
use crate::config::Config;
use crate::counter::Counters;
use crate::store::{self, About, CounterStore, EmbeddedStore, Layout, RedisConfig, RedisStore, StoreError};
use std::path::Path;
use std::sync::Arc;

pub(super) async fn check(config: &Config, findings: &mut Findings) {
    let layout = Layout {
        topic: config.log.kafka.topic.clone(),
        group: config.log.kafka.group.clone(),
        counters: config.counters.clone(),
    };
    match config.store.kind {
        store::Kind::Redis => redis(&config.store.redis, &layout, findings).await,
        store::Kind::Embedded => embedded(&config.embedded.path, &layout, findings).await,
    }
}

async fn redis(config: &RedisConfig, layout: &Layout, findings: &mut Findings) {
    let counters = match Counters::new(layout.counters.clone()) {
        Ok(counters) => Arc::new(counters),
        Err(error) => return findings.wrong(error),
    };
    let store = match RedisStore::new(config, counters) {
        Ok(store) => store,
        Err(error) => return findings.wrong(error),
    };
    let url = &config.url;
    match within(async { Ok(store.ready().await) }).await {
        Ok(Ok(())) => findings.right(format!("redis: {url} answers, and evicts nothing (maxmemory-policy noeviction)")),
        // It is there, so the rest can be looked at all the same.
        Ok(Err(error @ StoreError::Unfit { .. })) => findings.wrong(format!("redis: {error}")),
        Ok(Err(error)) => return findings.wrong(format!("redis: {error}")),
        Err(error) => return findings.wrong(format!("redis: {url}: {error:#}")),
    }
    about(&store, findings).await;
    fits(within(async { Ok(store.fits(layout).await?) }).await, findings);
}

async fn about(store: &RedisStore, findings: &mut Findings) {
    match within(async { Ok(store.about().await?) }).await {
        Ok(nodes) => nodes.iter().for_each(|about| node(about, findings)),
        Err(error) => findings.doubtful(format!("redis: INFO does not tell how it keeps its data: {error:#}")),
    }
}

fn node(about: &About, findings: &mut Findings) {
    let redis = about.node.as_ref().map_or_else(|| "redis".to_owned(), |node| format!("redis: {node}"));
    if let Some(version) = &about.version {
        findings.right(format!("{redis}: version {version}"));
    }
    if about.replica == Some(true) {
        findings.wrong(format!("{redis}: a replica, which takes no writes: set store.redis.url to its primary"));
    }
    match about.append_only {
        Some(true) => findings.right(format!("{redis}: writes an append-only file")),
        Some(false) => findings.doubtful(format!(
            "{redis}: appendonly is off, so a restart loses counts back to the last snapshot, and they are counted \
             again from the topic: set appendonly yes"
        )),
        None => findings.doubtful(format!("{redis}: does not tell whether it writes an append-only file")),
    }
}

async fn embedded(path: &Path, layout: &Layout, findings: &mut Findings) {
    if !path.exists() {
        return findings.right(format!("store: embedded; {} will be created", path.display()));
    }
    match EmbeddedStore::reading(path) {
        Ok(store) => {
            findings.right(format!("store: embedded, {} can be read", path.display()));
            fits(within(async { Ok(store.fits(layout).await?) }).await, findings);
        }
        Err(error) => findings.wrong(format!("store: {error}")),
    }
}

fn fits(answer: anyhow::Result<bool>, findings: &mut Findings) {
    match answer {
        Ok(true) => findings.right("store: its counts are of this topic, group and counters"),
        Ok(false) => findings.right("store: nothing is counted there yet"),
        Err(error) => findings.wrong(format!("store: {error:#}")),
    }
}
