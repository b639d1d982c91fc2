//! One signal that every part of the program can wait for.
//!
//! The order of the drain itself is the order of the lines in [`crate::app`].

use tokio::sync::watch;

/// Tells many tasks and threads to stop. Clones share one state.
#[derive(Debug, Clone)]
pub struct Shutdown {
    sender: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown::new()
    }
}

impl Shutdown {
    /// Not begun.
    pub fn new() -> Shutdown {
        Shutdown { sender: watch::Sender::new(false) }
    }

    /// Begins it. Beginning twice is as beginning once.
    pub fn begin(&self) {
        self.sender.send_replace(true);
    }

    /// Whether it has begun; for threads that poll.
    pub fn has_begun(&self) -> bool {
        *self.sender.borrow()
    }

    /// Returns once it has begun; for tasks.
    pub async fn begun(&self) {
        // The sender lives in `self`, so the wait cannot fail before the value is true.
        let _ = self.sender.subscribe().wait_for(|begun| *begun).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_woken_before_and_after() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.has_begun());
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.begun().await }
        });
        shutdown.begin();
        waiting.await.unwrap();
        shutdown.begun().await;
        assert!(shutdown.has_begun());
    }
}
