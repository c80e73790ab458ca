//! What nodes may do and what they did: tools, hosts and secrets that a blueprint grants, against those that its runs used.
//! Proposes; never changes a file.

use std::collections::{BTreeMap, BTreeSet};

use blueprint_core::graph::{Action, Credential, Node, Program};
use blueprint_core::run::{Event, RunStatus};
use blueprint_runtime::start::OpenedRun;
use serde_json::{Value, json};

use super::check;
use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::terminal;

/// The most runs that are looked at, the newest first.
const NEWEST: usize = 200;
/// Every agent has it, whatever it is granted.
const FINISH: &str = "finish";

/// What a node is granted, or used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Grants {
    tools: BTreeSet<String>,
    hosts: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

/// What a node was seen to use.
#[derive(Debug, Default)]
struct Seen {
    /// Runs in which it worked with the grants it has now.
    runs: usize,
    used: Grants,
}

pub(crate) async fn grants(context: &Context, name: &str, least: usize) -> Result<Exit, CliError> {
    let (_, program) = check::sound(context, name)?;
    let granted = granted(&program);
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    if context.state_dir().join(blueprint_runtime::store::JOURNAL_FILE).exists() {
        let engine = context.reader().await?;
        let runs = engine.store.runs().await.map_err(|error| from_error(Exit::Environment, &error))?;
        for run in runs.iter().filter(|run| run.blueprint == program.name).take(NEWEST) {
            // What cannot be read is no evidence; `audit` says what is wrong with it.
            if let Ok(opened) = engine.open_with_entries(&run.id).await
                && matches!(opened.state.status(), RunStatus::Finished(_))
            {
                look(&opened, &granted, &mut seen);
            }
        }
    }
    let nodes: Vec<_> = granted.iter().map(|(node, grants)| (node, grants, seen.get(node))).collect();
    if context.format == Format::Json {
        let nodes: Vec<Value> = nodes
            .iter()
            .map(|(node, granted, seen)| {
                json!({ "node": node, "runs": seen.map_or(0, |seen| seen.runs), "granted": told(granted),
                    "used": seen.map(|seen| told(&seen.used)) })
            })
            .collect();
        terminal::line(&json!({ "blueprint": program.name, "nodes": nodes }).to_string());
        return Ok(Exit::Succeeded);
    }
    if nodes.is_empty() {
        terminal::line(&format!("no node of {} is granted a tool, a host or a secret", program.name));
    }
    for (node, granted, seen) in nodes {
        let runs = seen.map_or(0, |seen| seen.runs);
        if runs < least {
            terminal::line(&format!(
                "# {node}: {runs} runs with these grants are too few to say anything; {least} would do"
            ));
            continue;
        }
        let Some(seen) = seen else { continue };
        let lines = proposal(granted, &seen.used);
        if lines.is_empty() {
            terminal::line(&format!("# {node}: used all it is granted, in {runs} runs"));
            continue;
        }
        terminal::line(&format!("# {node}: of {runs} runs"));
        terminal::line(&format!("  [nodes.{node}]"));
        for line in lines {
            terminal::line(&terminal::clean(&line));
        }
    }
    Ok(Exit::Succeeded)
}

/// What each node is granted, by its name, if it is granted anything.
fn granted(program: &Program) -> BTreeMap<String, Grants> {
    let mut all = BTreeMap::new();
    for graph in &program.graphs {
        for node in &graph.nodes {
            if let Some(grants) = of_node(node).filter(|grants| *grants != Grants::default()) {
                all.insert(node.name.to_string(), grants);
            }
        }
    }
    all
}

fn of_node(node: &Node) -> Option<Grants> {
    let secrets = |all: &[Credential]| all.iter().map(|credential| credential.secret.clone()).collect();
    match &node.action {
        Action::Run(run) => Some(Grants {
            tools: BTreeSet::new(),
            hosts: run.network.iter().cloned().collect(),
            secrets: secrets(&run.credentials),
        }),
        Action::Agent(agent) => Some(Grants {
            tools: agent.tools.iter().cloned().collect(),
            hosts: agent.network.iter().cloned().collect(),
            secrets: secrets(&agent.credentials),
        }),
        _ => None,
    }
}

/// Adds what a run used, for nodes that were granted the same there.
fn look(opened: &OpenedRun, granted: &BTreeMap<String, Grants>, seen: &mut BTreeMap<String, Seen>) {
    let then = self::granted(opened.state.program());
    let mut worked = BTreeSet::new();
    for entry in &opened.entries {
        let (path, record, tool) = match &entry.event {
            Event::NodeSucceeded { node, success, .. } => (node, Some(&success.record), None),
            Event::NodeFailed { node, failure, .. } => (node, Some(&failure.record), None),
            Event::SessionAdvanced { node, step, .. } => (node, None, tool(&step.did)),
            _ => continue,
        };
        let name = name(path);
        if then.get(name) != granted.get(name) || !granted.contains_key(name) {
            continue;
        }
        let used = &mut seen.entry(name.to_owned()).or_default().used;
        worked.insert(name.to_owned());
        used.tools.extend(tool.filter(|tool| tool != FINISH));
        for request in record.and_then(|record| record["egress"]["requests"].as_array()).into_iter().flatten()
        {
            if request["refused"].is_null() {
                used.hosts.extend(request["host"].as_str().map(str::to_owned));
                used.secrets.extend(request["credential"].as_str().map(str::to_owned));
            }
        }
    }
    for name in worked {
        seen.entry(name).or_default().runs += 1;
    }
}

fn tool(did: &blueprint_core::run::Did) -> Option<String> {
    match did {
        blueprint_core::run::Did::CallTool { tool, .. } => Some(tool.clone()),
        _ => None,
    }
}

/// The name of the node that a path ends in, without the number of its item.
fn name(path: &str) -> &str {
    let last = path.rsplit('/').next().unwrap_or(path);
    last.split('[').next().unwrap_or(last)
}

/// The lines of a difference that would grant what was used and no more.
fn proposal(granted: &Grants, used: &Grants) -> Vec<String> {
    let mut lines = Vec::new();
    let list = |names: &BTreeSet<String>| {
        let names: Vec<String> = names.iter().map(|name| Value::from(name.as_str()).to_string()).collect();
        format!("[{}]", names.join(", "))
    };
    if used.tools != granted.tools && !granted.tools.is_empty() {
        lines.push(format!("- tools = {}", list(&granted.tools)));
        lines.push(format!("+ tools = {}", list(&used.tools)));
    }
    let hosts: BTreeSet<String> =
        granted.hosts.iter().filter(|host| used.hosts.contains(*host)).cloned().collect();
    if hosts != granted.hosts {
        lines.push(format!("- network = {}", list(&granted.hosts)));
        if !hosts.is_empty() {
            lines.push(format!("+ network = {}", list(&hosts)));
        }
    }
    for secret in granted.secrets.difference(&used.secrets) {
        lines.push(format!("- the credential of `inputs.{secret}`, which no request used"));
    }
    lines
}

fn told(grants: &Grants) -> Value {
    json!({ "tools": grants.tools, "hosts": grants.hosts, "secrets": grants.secrets })
}
