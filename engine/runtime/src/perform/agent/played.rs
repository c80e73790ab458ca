//! Tools that speak to the outside, while something stands in for it: they give what was recorded, and nobody is asked.

use std::sync::Arc;

use async_trait::async_trait;
use blueprint_agent::tool::{Effect, HostError, Tool, ToolHost, ToolOutcome, ToolSpec};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::Job;
use crate::outside::Outside;
use crate::shared::Shared;

/// A tool that is played.
#[derive(Debug)]
pub(super) struct Played {
    spec: ToolSpec,
    outside: Arc<dyn Outside>,
    shared: Arc<Shared>,
    job: Job,
}

/// The tools as they are to be used: those that reach out are played if something stands in for the outside.
pub(super) fn within(shared: &Arc<Shared>, job: &Job, tools: Vec<Arc<dyn Tool>>) -> Vec<Arc<dyn Tool>> {
    let Some(outside) = &shared.settings.outside else { return tools };
    let play = |tool: Arc<dyn Tool>| match tool.spec().effect {
        Effect::Network => played(shared, job, outside, tool.spec().clone()),
        Effect::Read | Effect::Write | Effect::Destructive => tool,
    };
    tools.into_iter().map(play).collect()
}

/// The tools of servers outside the sandbox that a turn had.
pub(super) fn offered(shared: &Arc<Shared>, job: &Job, turn: u32) -> Result<Vec<Arc<dyn Tool>>, String> {
    let Some(outside) = &shared.settings.outside else { return Ok(Vec::new()) };
    let specs = outside.offers(job.asker(shared), turn)?;
    Ok(specs.into_iter().map(|spec| played(shared, job, outside, spec)).collect())
}

fn played(shared: &Arc<Shared>, job: &Job, outside: &Arc<dyn Outside>, spec: ToolSpec) -> Arc<dyn Tool> {
    Arc::new(Played { spec, outside: Arc::clone(outside), shared: Arc::clone(shared), job: job.clone() })
}

#[async_trait]
impl Tool for Played {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn is_recorded(&self) -> bool {
        true
    }

    async fn call(
        &self,
        _: &dyn ToolHost,
        arguments: Value,
        _: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        let said = self.outside.tool(self.job.asker(&self.shared), &self.spec.name, &arguments);
        Ok(said.map_or_else(ToolOutcome::Failed, ToolOutcome::Done))
    }
}
