//! Notices that a journal has changed, whether by this store or by another process.
//! It must never spin, and never miss a change that happened between two waits.

use std::time::Duration;

use tokio::sync::watch;

use super::fault::Fault;
use super::open::Store;

/// How often the journal is asked for commits of other processes. One question reads a few bytes of shared memory.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(50);

/// A follower's place in the stream of changes to a journal.
#[derive(Debug)]
pub struct Changes<'a> {
    store: &'a Store,
    own: watch::Receiver<u64>,
    others: i64,
    interval: Duration,
}

impl Store {
    /// Starts to follow changes. Read the journal after this call, not before, then wait, then read again.
    pub async fn changes(&self) -> Result<Changes<'_>, Fault> {
        let mut own = self.commits.subscribe();
        own.mark_unchanged();
        Ok(Changes { store: self, own, others: self.data_version().await?, interval: DEFAULT_INTERVAL })
    }

    /// SQLite's counter of commits by other connections.
    async fn data_version(&self) -> Result<i64, Fault> {
        let mut link = self.link.lock().await;
        sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut link.sql).await.map_err(|e| self.fault(e))
    }
}

impl Changes<'_> {
    /// Asks for other processes' commits every `interval` instead of every 50 ms.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Returns once the journal has changed since the last wait, or since `changes` was called: at once for this
    /// store's own commits, within the interval for those of others. May be dropped at any time.
    pub async fn wait(&mut self) -> Result<(), Fault> {
        loop {
            let others = self.store.data_version().await?;
            if others != self.others {
                self.others = others;
                return Ok(());
            }
            match tokio::time::timeout(self.interval, self.own.changed()).await {
                // The sender lives in the store we borrow, so only a change ends this.
                Ok(_) => return Ok(()),
                Err(_elapsed) => {}
            }
        }
    }
}
