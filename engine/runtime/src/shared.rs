//! What every part of a driven run shares. Nothing here changes what the run does next.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use blueprint_agent::mcp::Access;
use blueprint_agent::model::Model;
use blueprint_agent::tool::ToolPaces;
use blueprint_core::graph::Program;
use blueprint_core::run::State;
use blueprint_sandbox::egress::Private;
use blueprint_sandbox::{Launcher, Limits, MachineSettings, Pool, PoolSettings, ReadOnlyMount};

use crate::clock::Clock;
use crate::hooks::RunHooks;
use crate::isolation::{Attested, Isolation};
use crate::journal::Entry;
use crate::logs::Line;
use crate::outside::Outside;
use crate::perform::Kept;
use crate::redact::Redactor;
use crate::start::StandIn;
use crate::store::Store;
use crate::trees::Trees;

/// How nodes are run on this machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How commands are isolated.
    pub isolation: Isolation,
    /// What makes sandboxes on this machine.
    pub launcher: Launcher,
    /// What virtual machines are made of, if the user has some.
    pub machine: Option<MachineSettings>,
    /// How many sandboxes may wait for nodes that have not begun.
    pub pool: PoolSettings,
    /// Limits of every command; a node's own time limit comes on top.
    pub limits: Limits,
    /// What of the host commands may see besides the base system.
    pub toolchains: Toolchains,
    /// Our own program, for the file tools of agents.
    pub program: Option<PathBuf>,
    /// Hosts of our own that requests may reach, as the user says.
    pub private: Arc<Private>,
    /// A file with certificates of more authorities that hosts with a credential may prove themselves by.
    pub authorities: Option<PathBuf>,
    /// Who answers agents.
    pub models: Option<Arc<dyn Minds>>,
    /// How fast agents may call tools.
    pub tool_paces: Option<Arc<ToolPaces>>,
    /// What the user has for servers of tools that ask who is there; nothing if left out.
    pub access: Option<Arc<dyn Access>>,
    /// Who may say no and change what goes by.
    pub hooks: Option<RunHooks>,
    /// What stands in for the outside world, if anything does.
    pub outside: Option<Arc<dyn Outside>>,
}

/// The models that are configured.
pub trait Minds: Send + Sync + std::fmt::Debug {
    /// The model behind an alias or a `provider/model`. `Err` says why there is none and what to do.
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, String>;
}

/// Tools of the host that sandboxes may use.
#[derive(Debug, Clone, Default)]
pub struct Toolchains {
    /// Read-only parts of the host.
    pub read_only: Vec<ReadOnlyMount>,
    /// Folders in front of `PATH`.
    pub path: Vec<PathBuf>,
    /// Variables the tools need.
    pub env: BTreeMap<String, String>,
    /// Variables they need besides where nothing is mounted, and so nothing of theirs lies below the home folder.
    pub bare_env: BTreeMap<String, String>,
}

/// Sees what happens. Called after the fact is durable, on the driving thread: must be quick.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// A fact was journalled.
    fn journalled(&self, entry: &Entry, state: &State);
    /// A node wrote a line.
    fn line(&self, node: &str, attempt: u32, line: &Line);
}

/// Sees nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn journalled(&self, _: &Entry, _: &State) {}
    fn line(&self, _: &str, _: u32, _: &Line) {}
}

/// What the parts of one driven run share.
#[derive(Debug)]
pub struct Shared {
    /// The run.
    pub run: String,
    /// Its graphs.
    pub program: Arc<Program>,
    /// The journal.
    pub store: Arc<Store>,
    /// The project folder.
    pub project: PathBuf,
    /// The state folder.
    pub state_dir: PathBuf,
    /// Time.
    pub clock: Arc<Clock>,
    /// How nodes are run.
    pub settings: Settings,
    /// Who answers in place of models, as whoever started the run said.
    pub stand_ins: BTreeMap<String, StandIn>,
    /// The secrets, by name.
    pub secrets: BTreeMap<String, String>,
    /// Keeps them out of everything that is written.
    pub redactor: Redactor,
    /// The trees, if the run has a workspace.
    pub trees: Option<Trees>,
    /// Sees what happens.
    pub observer: Arc<dyn Observer>,
    /// The attestations of the sandboxes, each kept once and named by the nodes it is about.
    pub attested: Attested,
    /// Containers that wait for another command.
    pub kept: Kept,
    /// Sandboxes that wait for their first one.
    pub pool: Pool,
    /// The HTTP client, once it is needed.
    pub http: OnceLock<reqwest::Client>,
}
