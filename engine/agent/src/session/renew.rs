//! Tools that come and go while a session runs: servers of tools may change their lists. Asked between two turns, never
//! in the middle of one.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::tool::{HostError, Toolbox};

/// Knows whether there are other tools than before.
#[async_trait]
pub trait Renewal: Send + Sync + Debug {
    /// The tools from this turn on, if they are others.
    async fn renew(&self, turn: u32, cancel: &CancellationToken) -> Result<Option<Arc<Toolbox>>, HostError>;
}
