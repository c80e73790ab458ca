//! The servers of tools of one session: who starts them, looks whether they offer other tools than before, and ends them.
//! What a server outside the sandbox offers is on record, so that a replay needs no server. A change of a list never
//! widens what the node allows: the new tools go through the same scope.

use std::sync::Arc;

use async_trait::async_trait;
use blueprint_agent::mcp::Servers;
use blueprint_agent::session::{Recorder as _, Renewal, Step};
use blueprint_agent::tool::{Effect, HostError, Tool, ToolHost as _, ToolSpec, Toolbox};
use blueprint_core::graph::{Action, Agent, McpWay, Node};
use blueprint_core::run::{Failure, FailureClass};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::super::{Ending, Job};
use super::host::Handle;
use super::record::Journalled;
use super::{played, tools};
use crate::shared::Shared;

/// The servers while they run.
#[derive(Debug)]
pub(super) struct Served {
    shared: Arc<Shared>,
    job: Job,
    host: Handle,
    journal: Arc<Journalled>,
    /// Some of them are outside the sandbox.
    remote: bool,
    state: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    servers: Option<Servers>,
    /// What those outside offered last.
    offered: Option<Vec<ToolSpec>>,
}

impl Served {
    /// Starts them, with the tools they have in this turn.
    pub(super) async fn start(
        shared: &Arc<Shared>,
        job: &Job,
        agent: &Agent,
        host: &Handle,
        journal: &Arc<Journalled>,
        turn: u32,
        cancel: &CancellationToken,
    ) -> Result<(Self, Vec<Arc<dyn Tool>>), Ending> {
        let servers = tools::servers(shared, job, agent, host, cancel).await?;
        let remote = agent.mcp.iter().any(|server| matches!(server.way, McpWay::Url { .. }));
        let offered = journal.steps().iter().rev().find_map(|step| match step {
            Step::Offered { tools, .. } => Some(tools.clone()),
            _ => None,
        });
        let served = Self {
            shared: Arc::clone(shared),
            job: job.clone(),
            host: host.clone(),
            journal: Arc::clone(journal),
            remote,
            state: Mutex::new(Running { servers: Some(servers), offered }),
        };
        let tools = {
            let mut state = served.state.lock().await;
            served.tools(&mut state, turn).await
        };
        match tools {
            Ok(tools) => Ok((served, tools)),
            Err(why) => {
                served.stop().await;
                Err(Failure::new(FailureClass::Policy, why).into())
            }
        }
    }

    /// Ends them.
    pub(super) async fn stop(&self) {
        if let Some(servers) = self.state.lock().await.servers.take() {
            servers.stop().await;
        }
    }

    /// Their tools now. What those outside offer is on record before it is used.
    async fn tools(&self, state: &mut Running, turn: u32) -> Result<Vec<Arc<dyn Tool>>, String> {
        let started = state.servers.as_ref().map_or_else(Vec::new, |servers| servers.tools().to_vec());
        let mut tools = started;
        if self.remote {
            tools.extend(played::offered(&self.shared, &self.job, turn).map_err(|why| {
                format!("the tools of servers outside of the sandbox are not known: {why}")
            })?);
            let far = tools.iter().filter(|tool| tool.spec().effect == Effect::Network);
            let offered: Vec<ToolSpec> = far.map(|tool| tool.spec().clone()).collect();
            if state.offered.as_ref() != Some(&offered) {
                let step = Step::Offered { turn, tools: offered.clone() };
                self.journal.record(step).await.map_err(|error| error.to_string())?;
                state.offered = Some(offered);
            }
        }
        Ok(tools)
    }

    fn node(&self) -> &Node {
        self.job.node(&self.shared)
    }
}

#[async_trait]
impl Renewal for Served {
    async fn renew(&self, turn: u32, cancel: &CancellationToken) -> Result<Option<Arc<Toolbox>>, HostError> {
        let mut state = self.state.lock().await;
        let Action::Agent(agent) = &self.node().action else { return Ok(None) };
        let Some(servers) = state.servers.as_mut() else { return Ok(None) };
        let changed = servers.refresh(&self.host, cancel).await?;
        if changed {
            for trouble in servers.troubles() {
                self.host.note(&format!("the server of tools `{}`: {}", trouble.server, trouble.why));
            }
        }
        let stands_in = self.remote && self.shared.settings.outside.is_some();
        if !changed && !stands_in {
            return Ok(None);
        }
        let tools = self.tools(&mut state, turn).await.map_err(HostError::Denied)?;
        let toolbox = tools::toolbox(&self.shared, &self.job, self.node(), agent, &tools);
        toolbox.map(|toolbox| Some(Arc::new(toolbox))).map_err(|failure| HostError::Denied(failure.message))
    }
}
