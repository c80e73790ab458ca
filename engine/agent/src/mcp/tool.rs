//! One tool of an MCP server, as any other tool. Its effect is the worst it can have, unless the operator trusts what
//! the server says of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rmcp::model::Tool as Listed;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::foreign;
use crate::tool::{Effect, HostError, Tool, ToolHost, ToolOutcome, ToolSpec};

/// A tool of a server.
#[derive(Debug)]
pub(super) struct Remote {
    connection: Arc<Connection>,
    /// As the server calls it.
    theirs: String,
    spec: ToolSpec,
}

impl Remote {
    /// The tool, or why it is refused. `None` if no glob lets it in.
    pub(super) fn new(
        connection: &Arc<Connection>,
        listed: &Listed,
        host: &dyn ToolHost,
    ) -> Option<Result<Self, String>> {
        let server = connection.server();
        let name = match foreign::name(&listed.name) {
            Ok(name) if server.tools.is_match(&name) => name,
            Ok(_) => return None,
            Err(why) => return Some(Err(why)),
        };
        let schema = match foreign::schema(&Value::Object((*listed.input_schema).clone())) {
            Ok(schema) => schema,
            Err(why) => return Some(Err(why)),
        };
        let plain = |text: &str| connection.redact(host, text) == text;
        if !plain(&listed.name) || !plain(&schema.to_string()) {
            return Some(Err("it repeats what nobody may see".to_owned()));
        }
        let description = foreign::description(listed.description.as_deref());
        let says_it_reads =
            listed.annotations.as_ref().is_some_and(|annotations| annotations.read_only_hint == Some(true));
        let effect = match (server.trust_annotations && says_it_reads, server.is_remote()) {
            (true, _) => Effect::Read,
            (false, true) => Effect::Network,
            (false, false) => Effect::Destructive,
        };
        let spec = ToolSpec {
            name: format!("mcp.{}.{name}", server.name),
            description: connection.redact(host, &description),
            schema,
            effect,
        };
        Some(Ok(Self { connection: Arc::clone(connection), theirs: listed.name.to_string(), spec }))
    }

    /// Whose it is.
    pub(super) fn server(&self) -> &str {
        &self.connection.server().name
    }
}

#[async_trait]
impl Tool for Remote {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn wall(&self, _arguments: &Value) -> Duration {
        // The call has a limit of its own, which ends it more gently.
        self.connection.longest_call()
    }

    async fn call(
        &self,
        host: &dyn ToolHost,
        arguments: Value,
        cancel: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        let Value::Object(arguments) = arguments else {
            return Ok(ToolOutcome::Failed("the arguments are no JSON object".to_owned()));
        };
        self.connection.call(host, &self.theirs, arguments, cancel).await
    }
}
