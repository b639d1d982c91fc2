use crate::shutdown::Shutdown;
use crate::store::CounterStore;
use crate::telemetry::{Readiness, Role};
use std::time::Duration;

/// Between two looks at a store that answered, and at one that did not.
const WHILE_READY: Duration = Duration::from_secs(5);
const WHILE_NOT: Duration = Duration::from_secs(1);

/// Keeps the readiness of the query role true, until the shutdown.
pub(super) async fn watch(store: &dyn CounterStore, readiness: &Readiness, shutdown: &Shutdown) {
    let look_again_and_again = async {
        loop {
            let pause = match store.ready().await {
                Ok(()) => {
                    readiness.ready(Role::Query);
                    WHILE_READY
                }
                Err(e) => {
                    readiness.not_ready(Role::Query, format!("the store cannot be read: {e}"));
                    WHILE_NOT
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = shutdown.begun() => {}
        () = look_again_and_again => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fake::Fake;
    use std::sync::atomic::Ordering;

    /// The real pauses are part of what is tested, so this takes a few seconds.
    #[tokio::test]
    async fn readiness_follows_the_store() {
        let (store, readiness, shutdown) = (Fake::default(), Readiness::new(&[Role::Query]), Shutdown::new());
        store.away.store(true, Ordering::Relaxed);
        let story = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(readiness.reason(Role::Query).unwrap(), "the store cannot be read: it is away");
            store.away.store(false, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            assert_eq!(readiness.reason(Role::Query), None);
            shutdown.begin();
        };
        tokio::join!(watch(&store, &readiness, &shutdown), story);
    }
}
