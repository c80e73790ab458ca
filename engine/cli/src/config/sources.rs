//! What was given: the texts and words the settings are made of, each layer by itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use blueprint_agent::hook::HookConfig;
use blueprint_agent::mcp::McpConfig;
use blueprint_agent::model::ModelsConfig;
use blueprint_agent::tool::ToolsConfig;
use blueprint_core::proof::Policy;
use blueprint_sandbox::egress::Private;

use super::origin::Origin;
use super::quantity::{Bytes, Cpus, Jobs, Pids, Wall};
use super::tiers::{Docker, Microvm, Pool, Tiers};
use super::value::{Color, Durability, Sandbox};

/// Everything settings can come from, already read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// The options of this call.
    pub(crate) flags: Flags,
    /// The project folder.
    pub(crate) folder: PathBuf,
    /// The environment of the process.
    pub(crate) env: BTreeMap<String, String>,
    /// Path and text of the project's `blueprint.toml`.
    pub(crate) project: Option<(PathBuf, String)>,
    /// Path and text of the user's settings file.
    pub(crate) user: Option<(PathBuf, String)>,
}

/// Options of the command line that are settings. The command line has checked their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    pub(crate) jobs: Option<Jobs>,
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) sync: Option<Durability>,
    pub(crate) color: Option<Color>,
    pub(crate) memory: Option<Bytes>,
    pub(crate) pids: Option<Pids>,
    pub(crate) cpus: Option<Cpus>,
    pub(crate) output: Option<Bytes>,
    pub(crate) wall: Option<Wall>,
}

/// A value and who set it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// The settings one layer makes.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) jobs: Option<Placed<Jobs>>,
    pub(super) sandbox: Option<Placed<Sandbox>>,
    pub(super) state: Option<Placed<PathBuf>>,
    pub(super) sync: Option<Placed<Durability>>,
    pub(super) color: Option<Placed<Color>>,
    pub(super) memory: Option<Placed<Bytes>>,
    pub(super) pids: Option<Placed<Pids>>,
    pub(super) cpus: Option<Placed<Cpus>>,
    pub(super) output: Option<Placed<Bytes>>,
    pub(super) wall: Option<Placed<Wall>>,
    pub(super) read_only: Option<Placed<Vec<PathBuf>>>,
    pub(super) models: Option<ModelsConfig>,
    pub(super) hooks: Option<Vec<HookConfig>>,
    pub(super) tools: Option<ToolsConfig>,
    pub(super) private: Option<Private>,
    pub(super) authorities: Option<PathBuf>,
    pub(super) mcp: Option<McpConfig>,
    pub(super) tiers: Option<Tiers>,
    pub(super) docker: Option<Docker>,
    pub(super) microvm: Option<Microvm>,
    pub(super) policies: Option<Vec<Policy>>,
    pub(super) pool: Option<Pool>,
    /// Where the keys of the tables about sandboxes stand, by `table.key`.
    pub(super) stand: BTreeMap<String, Origin>,
}
