//! What a node brings in by itself, what it holds, and what it does to the world. One node at a time.

use serde::Serialize;

use crate::format::{Effect, HttpMethod, InputType, Tier, Workspace};
use crate::graph::{Action, Agent, ForgeEffect, Graph, McpWay, Mind, Node, Read};

/// Why something is of the tier it is, where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The file declares the tier of the node.
    Declared,
    /// The defaults of the file do.
    Default,
    /// A model chooses what the node does.
    Model,
    /// A program in its own loop chooses what the node does.
    Program,
    /// The agent reads what others wrote, on hosts it may reach.
    Hosts,
    /// A server answers what it likes.
    Response,
    /// The input is declared to be of that tier, or what starts the run gives it that.
    Input,
    /// The run starts from a tree that others wrote.
    Base,
}

impl Node {
    /// What it does to the world, as far as the file says it. What a command does with a host it may reach is not known.
    pub fn effect(&self) -> Option<Effect> {
        match &self.action {
            Action::Forge(forge) => Some(match forge.effect {
                ForgeEffect::Merge | ForgeEffect::Release => Effect::Commit,
                ForgeEffect::OpenPullRequest
                | ForgeEffect::Comment
                | ForgeEffect::Label
                | ForgeEffect::Status => Effect::Propose,
            }),
            Action::Http(http) => match (http.effect, http.method) {
                (Some(effect), _) => Some(effect),
                (None, HttpMethod::Get | HttpMethod::Head) => None,
                (None, HttpMethod::Post | HttpMethod::Put | HttpMethod::Patch | HttpMethod::Delete) => {
                    Some(Effect::Commit)
                }
            },
            _ => None,
        }
    }

    /// Whether commands or tools of the node can use a secret. The headers of an http node go to the host that is written
    /// there and nowhere else.
    pub fn holds_secrets(&self, graph: &Graph) -> bool {
        let credentials = match &self.action {
            Action::Run(run) => &run.credentials,
            Action::Agent(agent) => &agent.credentials,
            _ => return false,
        };
        let is_secret = |name: &str| {
            graph.inputs.iter().any(|input| &*input.name == name && input.ty == InputType::Secret)
        };
        !credentials.is_empty()
            || self.reads().iter().any(|(read, reference)| {
                matches!(read, Read::Data | Read::Header)
                    && matches!(reference.path.as_slice(), [first, name, ..] if first == "inputs" && is_secret(name))
            })
    }

    /// The hosts that commands or tools of the node may reach.
    pub fn hosts(&self) -> &[String] {
        match &self.action {
            Action::Run(run) => &run.network,
            Action::Agent(agent) => &agent.network,
            _ => &[],
        }
    }

    /// Whether what it does to the workspace is kept.
    pub fn writes_workspace(&self) -> bool {
        self.workspace == Workspace::Write
            && matches!(self.action, Action::Run(_) | Action::Edit(_) | Action::Agent(_))
    }

    /// Whether it is a point where a person must approve.
    pub fn is_human_gate(&self) -> bool {
        matches!(self.action, Action::Gate(_))
    }
}

/// What the work of a node is by itself, whatever reaches it.
pub(crate) fn of_work(node: &Node) -> (Tier, Source) {
    let declared = node.declared.as_ref().map(|declared| declared.value);
    let own = match declared {
        Some(tier) => (tier, Source::Declared),
        None => (node.default_tier, Source::Default),
    };
    match &node.action {
        Action::Run(_) => own,
        Action::Agent(agent) => [own, of_agent(agent, declared.is_some())]
            .into_iter()
            .rev()
            .max_by_key(|(tier, _)| *tier)
            .unwrap_or(own),
        _ => (Tier::Trusted, Source::Default),
    }
}

/// What the answers that a node gets from elsewhere are, if it gets any.
pub(crate) fn of_response(node: &Node) -> Option<(Tier, Source)> {
    match (&node.action, &node.declared) {
        (Action::Http(_), Some(declared)) => Some((declared.value, Source::Declared)),
        (Action::Http(_), None) => Some((Tier::Untrusted, Source::Response)),
        _ => None,
    }
}

/// What an agent is by itself. Who writes a tier there vouches for the hosts, and never for the model.
fn of_agent(agent: &Agent, vouched: bool) -> (Tier, Source) {
    let remote =
        !agent.network.is_empty() || agent.mcp.iter().any(|server| matches!(server.way, McpWay::Url { .. }));
    match &agent.mind {
        _ if remote && !vouched => (Tier::Untrusted, Source::Hosts),
        Mind::Model { .. } => (Tier::Generated, Source::Model),
        Mind::Program { .. } => (Tier::Generated, Source::Program),
        // What a script says stands beside the blueprint.
        Mind::Script { .. } => (Tier::Trusted, Source::Default),
    }
}
