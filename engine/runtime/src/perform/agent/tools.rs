//! What an agent may call: the tools its node names, no further than its workspace allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use blueprint_agent::mcp::{Access, NoAccess, Outside, Server, ServerConfig, Servers};
use blueprint_agent::model::Script;
use blueprint_agent::tool::builtin::{Finish, builtin};
use blueprint_agent::tool::{Effect, HostError, Tool, ToolHost, Toolbox};
use blueprint_core::format::{OutputType, Workspace};
use blueprint_core::graph::{Action, Agent, Mind, Node};
use blueprint_core::run::{Failure, FailureClass, LostBecause};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::super::Ending;

/// The tools of an agent that names none: it may look, and nothing else.
const LOOK: [&str; 5] = ["fs.list", "fs.map", "fs.read", "fs.search", "git.*"];

/// Puts the tools of a node together.
pub(super) fn toolbox(
    node: &Node,
    agent: &Agent,
    longest: Duration,
    more: &[Arc<dyn Tool>],
) -> Result<Toolbox, Failure> {
    let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
    let workspace = node.workspace != Workspace::None;
    tools.extend(builtin(longest).into_iter().filter(|tool| {
        let name = &tool.spec().name;
        workspace || !(name.starts_with("fs.") || name.starts_with("git."))
    }));
    let mut scope: Vec<String> = agent.tools.clone();
    if scope.is_empty() && workspace {
        scope.extend(LOOK.map(str::to_owned));
    }
    for tool in more {
        tools.push(Arc::clone(tool));
        scope.push(tool.spec().name.clone());
    }
    if !node.outputs.is_empty() {
        tools.push(Arc::new(Finish::new(schema(node))));
    }
    let mut ceiling = BTreeSet::from([Effect::Read, Effect::Network, Effect::Destructive]);
    if matches!(node.workspace, Workspace::Write | Workspace::Scratch) {
        ceiling.insert(Effect::Write);
    }
    let limited = Toolbox::new(tools, &scope, &ceiling).and_then(|toolbox| {
        agent.max_calls.iter().try_fold(toolbox, |toolbox, (glob, most)| toolbox.with_limit(glob, *most))
    });
    limited
        .map_err(|error| Failure::new(FailureClass::Policy, format!("the tools of `{}`: {error}", node.name)))
}

/// What of an agent cannot work, whatever happens before it: found before a run starts. Tools of servers are not known
/// before these run.
pub(crate) fn trouble(node: &Node) -> Option<String> {
    let Action::Agent(agent) = &node.action else { return None };
    if let Mind::Script { file, script, .. } = &agent.mind
        && let Err(error) = Script::parse(script)
    {
        return Some(format!("`{file}`: {error}"));
    }
    if matches!(agent.mind, Mind::Program { .. }) || !agent.mcp.is_empty() {
        return None;
    }
    toolbox(node, agent, Duration::from_mins(1), &[]).err().map(|failure| failure.message)
}

/// Starts the servers of a node. One that is missing fails it: the agent was promised its tools.
pub(super) async fn servers(
    agent: &Agent,
    access: Option<&Arc<dyn Access>>,
    host: &dyn ToolHost,
    cancel: &CancellationToken,
) -> Result<Servers, Ending> {
    let wrong = |error: &dyn std::error::Error| Failure::new(FailureClass::Policy, crate::chain(error));
    let mut known = Vec::new();
    for server in &agent.mcp {
        let config = ServerConfig {
            name: server.name.clone(),
            command: Some(server.command.clone()),
            env: BTreeSet::new(),
            url: None,
            headers: BTreeMap::new(),
            tools: server.tools.clone(),
            timeout_seconds: server.timeout.as_secs().max(1),
            trust_annotations: false,
            elicitation: None,
        };
        known.push(Server::try_from(config).map_err(|error| wrong(&error))?);
    }
    let outside = Outside {
        client: reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| wrong(&error))?,
        // Only servers inside the sandbox can be written, so nothing is ever asked for outside.
        allows: Arc::new(|_| Err("servers outside of the sandbox are not part of this release".to_owned())),
        value: Arc::new(|_| None),
        access: access.map_or_else(|| Arc::new(NoAccess) as _, Arc::clone),
    };
    let servers = Servers::start(known, &outside, host, cancel).await.map_err(|error| match error {
        HostError::Cancelled => Ending::Lost(LostBecause::Cancelled),
        other => Failure::new(FailureClass::Sandbox, other.to_string()).into(),
    })?;
    if let Some(trouble) = servers.troubles().first() {
        let what = trouble.tool.as_ref().map_or_else(String::new, |tool| format!(", tool `{tool}`"));
        let message = format!("the server of tools `{}`{what}: {}", trouble.server, trouble.why);
        servers.stop().await;
        return Err(Failure::new(FailureClass::Agent, message).into());
    }
    Ok(servers)
}

/// The typed outputs of a node as a JSON Schema.
fn schema(node: &Node) -> Value {
    let properties: Map<String, Value> = node
        .outputs
        .iter()
        .map(|output| {
            let ty = match output.ty {
                OutputType::String => "string",
                OutputType::Integer => "integer",
                OutputType::Number => "number",
                OutputType::Boolean => "boolean",
                OutputType::List => "array",
                OutputType::Object => "object",
            };
            (output.name.to_string(), json!({ "type": ty }))
        })
        .collect();
    let required: Vec<&str> = node.outputs.iter().map(|output| &*output.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}
