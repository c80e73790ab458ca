//! What an agent may call: the tools its node names, no further than its workspace allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use blueprint_agent::mcp::{
    Access, Elicitation, NoAccess, Outside, Server, ServerConfig, ServerUrl, Servers,
};
use blueprint_agent::model::Script;
use blueprint_agent::tool::builtin::{Finish, builtin};
use blueprint_agent::tool::{Effect, HostError, Tool, ToolHost, Toolbox};
use blueprint_core::format::{Elicitation as Answered, OutputType, Workspace};
use blueprint_core::graph::{Action, Agent, McpServer, McpWay, Mind, Node};
use blueprint_core::run::{Failure, FailureClass, LostBecause};
use blueprint_sandbox::egress::{Endpoint, Rules};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::super::{Ending, Job};
use super::played;
use crate::egress;
use crate::scope::{as_text, value_of};
use crate::shared::Shared;

/// The tools of an agent that names none: it may look, and nothing else.
const LOOK: [&str; 5] = ["fs.list", "fs.map", "fs.read", "fs.search", "git.*"];

/// Puts the tools of a node together.
pub(super) fn toolbox(
    shared: &Arc<Shared>,
    job: &Job,
    node: &Node,
    agent: &Agent,
    more: &[Arc<dyn Tool>],
) -> Result<Toolbox, Failure> {
    let longest = shared.settings.limits.wall;
    assemble(node, agent, longest, more, |tools| played::within(shared, job, tools))
}

fn assemble(
    node: &Node,
    agent: &Agent,
    longest: Duration,
    more: &[Arc<dyn Tool>],
    within: impl FnOnce(Vec<Arc<dyn Tool>>) -> Vec<Arc<dyn Tool>>,
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
    let limited = Toolbox::new(within(tools), &scope, &ceiling).and_then(|toolbox| {
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
    if let Some(host) =
        agent.network.iter().find_map(|host| host.parse::<Endpoint>().err().map(|why| (host, why)))
    {
        return Some(format!("`{}`, `network`, `{}`: {}", node.name, host.0, host.1));
    }
    for server in &agent.mcp {
        if let Err(error) = Server::try_from(config(server)) {
            return Some(error.to_string());
        }
    }
    if matches!(agent.mind, Mind::Program { .. }) || !agent.mcp.is_empty() {
        return None;
    }
    assemble(node, agent, Duration::from_mins(1), &[], |tools| tools).err().map(|failure| failure.message)
}

/// A server as the client takes it. Values of headers have the names of their headers, behind that of the server.
fn config(server: &McpServer) -> ServerConfig {
    let (command, url, headers) = match &server.way {
        McpWay::Command(argv) => (Some(argv.clone()), None, BTreeMap::new()),
        McpWay::Url { url, headers } => {
            let names = headers.iter().map(|(name, _)| (name.clone(), format!("{}/{name}", server.name)));
            (None, Some(url.clone()), names.collect())
        }
    };
    ServerConfig {
        name: server.name.clone(),
        command,
        env: BTreeSet::new(),
        url,
        headers,
        tools: server.tools.clone(),
        timeout_seconds: server.timeout.as_secs().max(1),
        trust_annotations: false,
        elicitation: server.elicitation.map(|answer| match answer {
            Answered::Defaults => Elicitation::Defaults,
        }),
    }
}

/// The values of the headers of servers, by the names that [`config`] gives them.
fn values(job: &Job, agent: &Agent) -> Result<BTreeMap<String, String>, Failure> {
    let mut values = BTreeMap::new();
    for server in &agent.mcp {
        let McpWay::Url { headers, .. } = &server.way else { continue };
        for (name, value) in headers {
            let value = value_of(value, &job.scope).map_err(|error| {
                let message = format!("the header `{name}` of `{}` has no value: {error}", server.name);
                Failure::new(FailureClass::Command, message)
            })?;
            values.insert(format!("{}/{name}", server.name), as_text(&value));
        }
    }
    Ok(values)
}

/// Where a server outside the sandbox leads: its own host, and those who grant access to it, as far as the user has
/// keys that are shown to them.
async fn places(
    shared: &Shared,
    access: &dyn Access,
    server: &str,
    url: &str,
) -> Result<Vec<Endpoint>, Failure> {
    let decide = |url: &str| egress::decide_own(shared, url).map_err(|refusal| egress::refused(&refusal));
    let mut places = vec![decide(url)?];
    // An address that is not safe for keys has none.
    if let Ok(known) = ServerUrl::parse(url) {
        let keys = access.credentials(&known).await.map_err(|error| {
            Failure::new(FailureClass::Policy, format!("the server of tools `{server}`: {error}"))
        })?;
        for other in keys.shown_to() {
            places.push(decide(other)?);
        }
    }
    Ok(places)
}

/// Starts the servers of a node. One that is missing fails it: the agent was promised its tools. Servers outside the
/// sandbox are reached at the host of their URL, and what they name at the hosts of the node.
pub(super) async fn servers(
    shared: &Arc<Shared>,
    job: &Job,
    agent: &Agent,
    host: &dyn ToolHost,
    cancel: &CancellationToken,
) -> Result<Servers, Ending> {
    let wrong = |error: &dyn std::error::Error| Failure::new(FailureClass::Policy, crate::chain(error));
    let mut known = Vec::new();
    let access: Arc<dyn Access> =
        shared.settings.access.as_ref().map_or_else(|| Arc::new(NoAccess) as _, Arc::clone);
    let mut far = Vec::new();
    for server in &agent.mcp {
        if let McpWay::Url { url, .. } = &server.way {
            if shared.settings.outside.is_some() {
                continue;
            }
            far.extend(places(shared, &*access, &server.name, url).await?);
        }
        known.push(Server::try_from(config(server)).map_err(|error| wrong(&error))?);
    }
    if !far.is_empty() {
        far.extend(egress::rules(shared, &agent.network)?.hosts().cloned());
    }
    let rules = Rules::new(far, Arc::clone(&shared.settings.private));
    let values = values(job, agent)?;
    let outside = Outside {
        client: egress::client(shared)?,
        allows: Arc::new(move |url| {
            egress::decide(&rules, url).map(drop).map_err(|refusal| refusal.to_string())
        }),
        value: Arc::new(move |name| values.get(name).cloned()),
        access,
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
