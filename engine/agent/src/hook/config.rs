//! Hooks as they are written: `[[hooks]]` of a configuration. Only a shape; what of it makes sense is found by
//! [`super::HookTable::compile`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

/// A hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookConfig {
    /// Its name, for people, logs and the record of what it did: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// When: [`super::Event`].
    pub event: String,
    /// For what; everything if left out.
    #[serde(default, rename = "match")]
    pub matches: MatchConfig,
    /// What is done.
    pub handler: HandlerConfig,
    /// How long it may take, in seconds; 5 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// It only looks: what it says is not heard, and its failure stops nothing.
    #[serde(default)]
    pub observe: bool,
}

/// What a hook is for. All of what is written has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchConfig {
    /// The path of the node, as a glob in which `*` stays within a part: `release/*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The name of the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The name of the tool, as a glob: `mcp.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_glob: Option<String>,
    /// What the tool may do at worst: one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effect: Vec<String>,
}

/// What a hook does: one of a command, a builtin and a prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandlerConfig {
    /// A program and its arguments, run on the host without a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The variables of the host that the program sees besides `PATH`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub env: BTreeSet<String>,
    /// Something that is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<String>,
    /// What the builtin is to know.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub with: Map<String, Value>,
    /// What a model is asked. What the hook is about is untrusted and may try to talk the model round: not to be
    /// relied on alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The alias of that model, or `provider/model`; `default` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Why a hook makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the hook `{hook}`: {why}")]
pub struct HookConfigError {
    /// Which.
    pub hook: String,
    /// What is wrong.
    pub why: String,
}
