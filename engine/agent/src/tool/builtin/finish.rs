//! `finish`: how a model hands over what the node declares as its outputs. Does nothing in the world.

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::tool::{Effect, FINISH, HostError, Tool, ToolHost, ToolOutcome, ToolSpec};

/// The tool.
#[derive(Debug)]
pub struct Finish(ToolSpec);

impl Finish {
    /// With the JSON Schema of the outputs, an object. The dispatcher has checked them against it before they are
    /// handed over.
    pub fn new(outputs: Value) -> Self {
        Self(ToolSpec {
            name: FINISH.to_owned(),
            description:
                "Ends your work and hands over its results. Call it once, alone, when everything is done."
                    .to_owned(),
            schema: outputs,
            effect: Effect::Read,
        })
    }
}

#[async_trait]
impl Tool for Finish {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(
        &self,
        _host: &dyn ToolHost,
        arguments: Value,
        _cancel: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        Ok(ToolOutcome::Finish(arguments))
    }
}
