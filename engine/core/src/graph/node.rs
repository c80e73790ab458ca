//! Nodes with everything resolved: durations are durations, expressions are compiled, files are texts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::image::Image;
use super::program::{GraphIx, NodeIx, RegionIx};
use crate::expr::{Expr, Text};
use crate::format::{
    AgentProtocol, Effect, Elicitation, Expect, HttpMethod, InsertPlace, Join, OnTimeout, OutputFrom,
    OutputType, Shell, Tier, Workspace,
};
use crate::run::FailureClass;
use crate::source::Span;

/// One step of a graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, unique in its graph.
    pub name: Arc<str>,
    /// What it does, in a few words.
    pub summary: Option<String>,
    /// Where it is written.
    pub span: Span,
    /// What it does.
    pub action: Action,
    /// The nodes it needs, in the order of the file.
    pub needs: Vec<NodeIx>,
    /// It is skipped when this is false.
    pub when: Option<Expr>,
    /// What it waits for.
    pub join: Join,
    /// More tries.
    pub retry: Retry,
    /// The region it closes.
    pub repair: Option<RegionIx>,
    /// Time limit of one attempt.
    pub timeout: Option<Duration>,
    /// The typed outputs.
    pub outputs: Vec<Output>,
    /// Where outputs of a command are read.
    pub output_from: OutputFrom,
    /// Globs of files to keep.
    pub artifacts: Vec<String>,
    /// What it may do with the workspace.
    pub workspace: Workspace,
    /// How much to trust what it runs: as declared, or less where something less trusted reaches it.
    pub tier: Tier,
    /// The tier it declares itself.
    pub declared: Option<Declared>,
    /// The tier of nodes of its file that declare none.
    pub default_tier: Tier,
    /// What of what it takes over a person has approved whenever it runs.
    pub approved: Approved,
    /// The image its commands find their programs in; that of the machine if left out.
    pub image: Option<Image>,
}

impl Node {
    /// True if something must be evaluated before it can start.
    pub fn needs_evaluation(&self) -> bool {
        self.when.is_some() || matches!(self.action, Action::Use(_))
    }

    /// True if it takes one of the places of nodes that run at the same time. Pauses, gates and sub-graphs do not.
    pub fn takes_a_place(&self) -> bool {
        !matches!(self.action, Action::Wait(_) | Action::Gate(_) | Action::Use(_))
    }
}

/// What a node does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Runs a program.
    Run(Box<Run>),
    /// Changes files.
    Edit(Vec<Edit>),
    /// Makes a request.
    Http(Box<Http>),
    /// Lets time pass.
    Wait(Duration),
    /// Asks for approval.
    Gate(Box<Gate>),
    /// Runs another graph, once or for each item of a list.
    Use(Box<Use>),
    /// A model in a loop with tools.
    Agent(Box<Agent>),
    /// Waits for CI.
    Ci,
    /// Acts on a forge.
    Forge(Box<Forge>),
}

impl Action {
    /// The key it is written with.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Edit(_) => "edit",
            Self::Http(_) => "http",
            Self::Wait(_) => "wait",
            Self::Gate(_) => "gate",
            Self::Use(_) => "use",
            Self::Agent(_) => "agent",
            Self::Ci => "ci",
            Self::Forge(_) => "forge",
        }
    }
}

/// A tier as a node declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The tier.
    pub value: Tier,
    /// Where it is written.
    pub span: Span,
}

/// What a person has approved whenever a node runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approved {
    /// Needs, whose trees were shown.
    pub needs: BTreeSet<NodeIx>,
    /// Nodes whose outputs were shown.
    pub outputs: BTreeSet<NodeIx>,
}

/// An effect on a forge.
#[derive(Debug, Clone)]
pub struct Forge {
    /// Which.
    pub effect: ForgeEffect,
    /// The texts it takes.
    pub texts: Vec<Text>,
}

/// What can be done on a forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeEffect {
    /// Opens a pull request, or updates the run's own.
    OpenPullRequest,
    /// Comments.
    Comment,
    /// Sets labels.
    Label,
    /// Sets a commit status.
    Status,
    /// Merges the run's pull request.
    Merge,
    /// Makes a release.
    Release,
}

/// A value: a literal, or an expression.
#[derive(Debug, Clone)]
pub enum Value {
    /// Known.
    Literal(serde_json::Value),
    /// Evaluated when the node starts.
    Expr(Expr),
}

/// A program to run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The words of the command, or the line for the shell.
    pub argv: Vec<String>,
    /// The shell that reads the line, if any; the line is then the only word of `argv`.
    pub shell: Option<Shell>,
    /// Arguments behind the words.
    pub args: Vec<Value>,
    /// Environment variables.
    pub env: Vec<(String, Value)>,
    /// The text for standard input.
    pub stdin: Option<Text>,
    /// The folder, relative to the workspace.
    pub cwd: String,
    /// The hosts it may reach, as `host:port`.
    pub network: Vec<String>,
    /// Secrets for some of them.
    pub credentials: Vec<Credential>,
    /// Which end is a success.
    pub expect: Expect,
}

/// A secret that requests to one host carry, and that commands never have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The host, as `host:port`.
    pub host: String,
    /// The name of the input that is the secret.
    pub secret: String,
    /// The header in which it goes to the host.
    pub header: String,
    /// What stands in front of it there.
    pub prefix: String,
    /// The variable in which commands find the placeholder.
    pub env: String,
}

/// One change to the workspace.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The file, relative to the workspace. A patch names its files itself.
    pub file: String,
    /// What to change.
    pub kind: EditKind,
}

/// What to change in a file.
#[derive(Debug, Clone)]
pub enum EditKind {
    /// Replaces a text that must be there `count` times (0: at least once).
    Replace {
        /// The text to find.
        find: String,
        /// What to put there.
        with: Text,
        /// How often it must be there.
        count: u32,
    },
    /// Replaces what a regular expression matches, which must be `count` times (0: at least once).
    Regex {
        /// What to find.
        find: regex::Regex,
        /// What to put there; `$1` is a group.
        with: Text,
        /// How often it must match.
        count: u32,
    },
    /// Inserts behind or before the only line that holds a text.
    InsertAtLine {
        /// What to insert.
        text: Text,
        /// What the line holds.
        anchor: String,
        /// On which side.
        side: Side,
    },
    /// Inserts at an end of the file.
    InsertAtEnd {
        /// What to insert.
        text: Text,
        /// At which end.
        place: InsertPlace,
    },
    /// Makes the file from a template.
    Template(Text),
    /// Applies a patch.
    Patch(String),
    /// Sets a key in a TOML, JSON or YAML file.
    Set {
        /// The parts of the key.
        key: Vec<String>,
        /// The value.
        value: Value,
    },
}

/// A side of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Above it.
    Before,
    /// Below it.
    After,
}

/// An HTTP request.
#[derive(Debug, Clone)]
pub struct Http {
    /// The method.
    pub method: HttpMethod,
    /// The URL.
    pub url: Text,
    /// Headers.
    pub headers: Vec<(String, Value)>,
    /// The body.
    pub body: HttpBody,
    /// The status codes that are a success; 200 to 299 if empty.
    pub expect: Vec<u16>,
    /// Whether to send a key that stays the same over attempts.
    pub idempotency_key: bool,
    /// What it does to the world, if the file says so.
    pub effect: Option<Effect>,
}

/// The body of a request.
#[derive(Debug, Clone)]
pub enum HttpBody {
    /// None.
    Empty,
    /// A text.
    Text(Text),
    /// A JSON object.
    Json(Vec<(String, Value)>),
}

/// An agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Who thinks.
    pub mind: Mind,
    /// What it is to do.
    pub prompt: Option<Text>,
    /// The tools it may use, as globs over names such as `fs.read`.
    pub tools: Vec<String>,
    /// Servers of further tools.
    pub mcp: Vec<McpServer>,
    /// The hosts it may reach, as `host:port`.
    pub network: Vec<String>,
    /// Secrets for some of them.
    pub credentials: Vec<Credential>,
    /// Environment variables of its commands.
    pub env: Vec<(String, Value)>,
    /// The most calls of each tool that a glob names.
    pub max_calls: Vec<(String, u32)>,
    /// The most turns.
    pub max_turns: u32,
    /// The most tokens, in and out.
    pub max_tokens: Option<u64>,
    /// The most money, in millionths of a US dollar.
    pub max_cost_micros: Option<u64>,
}

/// A server of tools of an agent.
#[derive(Debug, Clone)]
pub struct McpServer {
    /// Its name, the second part of the names of its tools.
    pub name: String,
    /// How it is reached.
    pub way: McpWay,
    /// Which of its tools exist, as globs over their names.
    pub tools: Vec<String>,
    /// What is answered to its questions; no if left out.
    pub elicitation: Option<Elicitation>,
    /// How long one call may take.
    pub timeout: Duration,
}

/// How a server of tools is reached.
#[derive(Debug, Clone)]
pub enum McpWay {
    /// It is started inside the sandbox of the agent: the program and its arguments.
    Command(Vec<String>),
    /// Over streamable HTTP.
    Url {
        /// Where.
        url: String,
        /// Headers of every request.
        headers: Vec<(String, Value)>,
    },
}

impl Agent {
    /// Turns of an agent that does not say how many it may take.
    pub const TURNS: u32 = 50;
    /// The most turns an agent can ask for.
    pub const MOST_TURNS: u32 = 10_000;
}

/// Who thinks.
#[derive(Debug, Clone)]
pub enum Mind {
    /// A model, in our loop.
    Model {
        /// Its alias, or `provider/model`.
        model: String,
        /// Who it is to be.
        system: Option<Text>,
    },
    /// A model that answers from a script beside the blueprint.
    Script {
        /// The file.
        file: String,
        /// The script.
        script: String,
        /// Who it is to be.
        system: Option<Text>,
    },
    /// A program inside the sandbox, in its own loop.
    Program {
        /// The program and its arguments.
        argv: Vec<String>,
        /// How it is spoken to.
        protocol: AgentProtocol,
    },
}

/// A point where somebody must approve.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Who may.
    pub approvers: Approvers,
    /// How many different people must.
    pub min: u32,
    /// How long it stays open.
    pub expires: Option<Duration>,
    /// What happens when it is not answered in time. Never an approval.
    pub on_timeout: OnTimeout,
    /// What the approver is asked.
    pub ask: Option<Text>,
}

/// Who may approve.
#[derive(Debug, Clone, Default)]
pub struct Approvers {
    /// Names of users; anybody at the command line if empty and nothing else is given.
    pub users: Vec<String>,
    /// Names of teams.
    pub teams: Vec<String>,
    /// A permission on the repository.
    pub permission: Option<String>,
}

/// Another graph, once or for each item.
#[derive(Debug, Clone)]
pub struct Use {
    /// Which.
    pub graph: GraphIx,
    /// Its inputs.
    pub with: Vec<(Arc<str>, Value)>,
    /// For each item of a list.
    pub each: Option<Each>,
}

/// Runs a graph for each item of a list.
#[derive(Debug, Clone)]
pub struct Each {
    /// Gives the list.
    pub list: Expr,
    /// How many items at the same time.
    pub max_parallel: u32,
}

/// More tries of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// All tries in one round together; 1 is no retry.
    pub attempts: u32,
    /// The pause before the second try; doubles with each.
    pub backoff: Duration,
    /// The classes worth another try.
    pub on: BTreeSet<FailureClass>,
}

impl Retry {
    /// The longest pause between two tries.
    pub const LONGEST: Duration = Duration::from_mins(5);

    /// No second try.
    pub fn never() -> Self {
        Self { attempts: 1, backoff: Duration::ZERO, on: BTreeSet::new() }
    }

    /// The pause after try number `tries` (from 1).
    pub fn pause(&self, tries: u32) -> Duration {
        let doubled =
            self.backoff.checked_mul(1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.unwrap_or(Self::LONGEST).min(Self::LONGEST)
    }
}

/// A typed output.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: OutputType,
    /// For http nodes: how to get it out of the answer.
    pub from: Option<Expr>,
}
