//! A blueprint file as its author wrote it: every section but the nodes. Knows what may be written, not what
//! it means.

use schemars::JsonSchema;
use serde::Deserialize;

use super::node::{NodeTable, OneOrNames, Tier, Workspace};
use super::value::{Entries, HumanDuration, Scalar, Sp};

/// The version of the format this release reads.
pub const SCHEMA_VERSION: i64 = 1;

/// A blueprint: a piece of engineering work as a graph of nodes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "blueprint")]
pub struct Document {
    /// The version of the format: 1.
    #[serde(default)]
    #[schemars(with = "i64", required, extend("const" = 1))]
    pub schema: Option<Sp<i64>>,
    /// The name of the blueprint: lower-case letters, digits, `-` and `_`.
    #[serde(default)]
    #[schemars(with = "String", required)]
    pub name: Option<Sp<String>>,
    /// What it does, in a sentence.
    #[serde(default)]
    pub summary: Option<Sp<String>>,
    /// Files whose nodes and inputs become part of this blueprint.
    #[serde(default)]
    pub include: Vec<Sp<String>>,
    /// What must be given to start it.
    #[serde(default)]
    pub inputs: Entries<Sp<Input>>,
    /// What starts it, besides a person.
    #[serde(default)]
    pub on: Vec<Sp<Trigger>>,
    /// What a run may spend at most.
    #[serde(default)]
    pub budget: Budget,
    /// Values for all nodes that do not say otherwise.
    #[serde(default)]
    pub defaults: Defaults,
    /// The nodes, by name.
    #[serde(default)]
    pub nodes: Entries<Box<Sp<NodeTable>>>,
    /// What it gives back when another blueprint uses it: names and expressions.
    #[serde(default)]
    pub returns: Entries<Sp<Scalar>>,
    /// What must hold on every path.
    #[serde(default)]
    pub prove: Vec<Sp<Prove>>,
}

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// A text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of `values`.
    Enum,
    /// A list of texts.
    List,
    /// A path inside the project.
    Path,
    /// A text that is never written anywhere: given by environment variable or file.
    Secret,
}

/// Something that must be given to start a run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Sp<InputType>,
    /// What it is for.
    #[serde(default)]
    pub help: Option<Sp<String>>,
    /// The value if none is given. Without it the input is required.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub default: Option<Sp<toml::Value>>,
    /// The least number, or the least length of a text or list.
    #[serde(default)]
    pub min: Option<Sp<f64>>,
    /// The greatest number, or the greatest length of a text or list.
    #[serde(default)]
    pub max: Option<Sp<f64>>,
    /// The values of an enum.
    #[serde(default)]
    pub values: Option<Sp<Vec<Sp<String>>>>,
    /// A regular expression that a text must match as a whole.
    #[serde(default)]
    pub pattern: Option<Sp<String>>,
    /// How much to trust what is given, whoever gives it; `"trusted"` if left out. What a trigger takes from an event that
    /// anybody can cause is untrusted whatever stands here.
    #[serde(default)]
    pub tier: Option<Sp<Tier>>,
}

/// What to do with a slot of a schedule when the run before is still going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Leave the slot out.
    Skip,
    /// Run it afterwards.
    Queue,
    /// Cancel the run before.
    Cancel,
}

/// What starts a run besides a person: an event of a forge, or a schedule.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// An event of a forge, such as `issues.labeled`.
    #[serde(default)]
    pub event: Option<Sp<String>>,
    /// A condition over `event`.
    #[serde(default)]
    pub when: Option<Sp<String>>,
    /// A cron expression of five fields.
    #[serde(default)]
    pub schedule: Option<Sp<String>>,
    /// The IANA time zone of the schedule.
    #[serde(default)]
    pub timezone: Option<Sp<String>>,
    /// What to do when the run before is still going.
    #[serde(default)]
    pub overlap: Option<Sp<Overlap>>,
    /// The inputs, as expressions.
    #[serde(default)]
    pub with: Entries<Sp<Scalar>>,
}

/// An amount of money in US dollars.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cost(pub f64);

/// What a run may spend at most. `0` means nothing may be spent; what is left out is not limited.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// CI rounds for one head of a pull request.
    #[serde(default)]
    pub ci_rounds: Option<Sp<u32>>,
    /// Money in US dollars.
    #[serde(default)]
    pub cost_usd: Option<Sp<Cost>>,
    /// Tokens of models, in and out.
    #[serde(default)]
    pub tokens: Option<Sp<u64>>,
    /// Time from start to end, without the time spent waiting for people.
    #[serde(default)]
    pub wall: Option<Sp<HumanDuration>>,
    /// Calls of tools by agents.
    #[serde(default)]
    pub tool_calls: Option<Sp<u64>>,
}

/// Values for all nodes that do not say otherwise.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Time limit of one attempt.
    #[serde(default)]
    pub timeout: Option<Sp<HumanDuration>>,
    /// What a node may do with the workspace.
    #[serde(default)]
    pub workspace: Option<Sp<Workspace>>,
    /// How much to trust what the nodes run.
    #[serde(default)]
    pub tier: Option<Sp<Tier>>,
    /// The image of all nodes that run commands.
    #[serde(default)]
    pub image: Option<Box<Sp<super::image::ImageValue>>>,
    /// The shell that reads `run` lines.
    #[serde(default)]
    pub shell: Option<Sp<super::node::Shell>>,
    /// Environment variables of all run nodes.
    #[serde(default)]
    pub env: Entries<Sp<Scalar>>,
}

/// Something that must hold on every path through the graph.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prove {
    /// The nodes before which it must hold, by name, or as `kind:…` or `effect:…` all of a sort.
    #[serde(default)]
    pub before: Option<OneOrNames>,
    /// The nodes after which it must hold, in the same words.
    #[serde(default)]
    pub after: Option<OneOrNames>,
    /// Nodes that must have passed, each of them.
    #[serde(default)]
    pub passed: Option<OneOrNames>,
    /// Who must have approved.
    #[serde(default)]
    pub gated_by: Option<Sp<Approval>>,
    /// Only changes to paths that match this glob are meant: with `before`.
    #[serde(default)]
    pub touches: Option<Sp<String>>,
    /// What must never reach something, instead of all others.
    #[serde(default)]
    pub never: Option<Sp<Never>>,
}

/// From which tier on nothing may reach something, unless a person has approved it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Never {
    /// Nodes whose commands or tools can use a secret.
    #[serde(default)]
    pub secrets: Option<Sp<Tier>>,
    /// Nodes whose commands or tools may reach hosts.
    #[serde(default)]
    pub network: Option<Sp<Tier>>,
    /// Nodes that change something elsewhere: merges, releases, requests that write.
    #[serde(default)]
    pub effects: Option<Sp<Tier>>,
}

/// Who approves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// A person.
    Human,
    /// Automated checks.
    Checks,
}
