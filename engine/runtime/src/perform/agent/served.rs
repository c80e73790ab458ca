//! The servers of tools of one session: who looks whether they offer other tools than before, and who ends them. A change
//! of a list never widens what the node allows: the new tools go through the same scope.

use std::sync::Arc;

use async_trait::async_trait;
use blueprint_agent::mcp::Servers;
use blueprint_agent::session::Renewal;
use blueprint_agent::tool::{HostError, ToolHost as _, Toolbox};
use blueprint_core::graph::Action;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::super::Job;
use super::host::Handle;
use super::tools;
use crate::shared::Shared;

/// The servers while they run.
#[derive(Debug)]
pub(super) struct Served {
    shared: Arc<Shared>,
    job: Job,
    host: Handle,
    servers: Mutex<Option<Servers>>,
}

impl Served {
    pub(super) fn new(shared: &Arc<Shared>, job: &Job, host: Handle, servers: Servers) -> Self {
        Self { shared: Arc::clone(shared), job: job.clone(), host, servers: Mutex::new(Some(servers)) }
    }

    /// Ends them.
    pub(super) async fn stop(&self) {
        if let Some(servers) = self.servers.lock().await.take() {
            servers.stop().await;
        }
    }
}

#[async_trait]
impl Renewal for Served {
    async fn renew(&self, cancel: &CancellationToken) -> Result<Option<Arc<Toolbox>>, HostError> {
        let mut servers = self.servers.lock().await;
        let Some(servers) = servers.as_mut() else { return Ok(None) };
        let node = self.job.node(&self.shared);
        let Action::Agent(agent) = &node.action else { return Ok(None) };
        if !servers.refresh(&self.host, cancel).await? {
            return Ok(None);
        }
        for trouble in servers.troubles() {
            self.host.note(&format!("the server of tools `{}`: {}", trouble.server, trouble.why));
        }
        let toolbox = tools::toolbox(node, agent, self.shared.settings.limits.wall, servers.tools());
        toolbox.map(|toolbox| Some(Arc::new(toolbox))).map_err(|failure| HostError::Denied(failure.message))
    }
}
