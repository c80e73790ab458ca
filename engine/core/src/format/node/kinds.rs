//! The tables behind the kind keys of a node. Fields only; no meaning.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::document::Cost;
use super::super::value::{Entries, HumanDuration, Scalar, Sp};
use super::{AgentProtocol, Effect, Elicitation, HttpMethod, InsertPlace, OnTimeout};

/// One change to a file of the workspace. Exactly one of replace, regex, insert, template, patch and set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditOp {
    /// The file to change, in the workspace.
    #[serde(default)]
    pub file: Option<Sp<String>>,
    /// A text to replace. It must be there.
    #[serde(default)]
    pub replace: Option<Sp<String>>,
    /// A regular expression to replace. It must match.
    #[serde(default)]
    pub regex: Option<Sp<String>>,
    /// What to put in its place; may hold `{{ }}`. With `regex`, `$1` or `${name}` is a group.
    #[serde(default)]
    pub with: Option<Sp<String>>,
    /// How often `replace` or `regex` must match, all of which are replaced; 1 if left out, 0 for any number but none.
    #[serde(default)]
    pub count: Option<Sp<u32>>,
    /// A text to insert; may hold `{{ }}`.
    #[serde(default)]
    pub insert: Option<Sp<String>>,
    /// Insert behind the only line that holds this text.
    #[serde(default)]
    pub after: Option<Sp<String>>,
    /// Insert before the only line that holds this text.
    #[serde(default)]
    pub before: Option<Sp<String>>,
    /// Insert at the start or the end of the file, which is created if it is missing.
    #[serde(default)]
    pub at: Option<Sp<InsertPlace>>,
    /// A file beside the blueprint whose text, a template, becomes the file.
    #[serde(default)]
    pub template: Option<Sp<String>>,
    /// A patch file beside the blueprint to apply to the workspace.
    #[serde(default)]
    pub patch: Option<Sp<String>>,
    /// A dotted key to set in a TOML, JSON or YAML file.
    #[serde(default)]
    pub set: Option<Sp<String>>,
    /// The value for `set`.
    #[serde(default)]
    pub value: Option<Sp<Scalar>>,
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTable {
    /// The method; GET if left out.
    #[serde(default)]
    pub method: Option<Sp<HttpMethod>>,
    /// The URL; `{{ }}` may stand behind the host.
    pub url: Sp<String>,
    /// Headers, as expressions.
    #[serde(default)]
    pub headers: Entries<Sp<Scalar>>,
    /// A body; may hold `{{ }}`.
    #[serde(default)]
    pub body: Option<Sp<String>>,
    /// A JSON body: names and expressions.
    #[serde(default)]
    pub json: Option<Sp<Entries<Sp<Scalar>>>>,
    /// The status codes that are a success; 200 to 299 if left out.
    #[serde(default)]
    pub expect: Option<Sp<Vec<Sp<u16>>>>,
    /// Whether to send an `Idempotency-Key` that stays the same over retries; true for POST and PATCH if left out.
    #[serde(default)]
    pub idempotency_key: Option<Sp<bool>>,
    /// What the request does to the world. If left out, GET and HEAD only read, and all others count as `"commit"`.
    #[serde(default)]
    pub effect: Option<Sp<Effect>>,
}

/// Who may approve at a gate.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approvers {
    /// Names of users.
    #[serde(default)]
    pub users: Vec<Sp<String>>,
    /// Names of teams.
    #[serde(default)]
    pub teams: Vec<Sp<String>>,
    /// A permission on the repository, such as `write`.
    #[serde(default)]
    pub permission: Option<Sp<String>>,
}

/// A point where somebody must approve.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateTable {
    /// Who may approve; whoever runs the command line if left out.
    #[serde(default)]
    pub approvers: Option<Sp<Approvers>>,
    /// How many different people must approve, 1 to 20; 1 if left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 20))]
    pub min: Option<Sp<u32>>,
    /// How long the gate stays open; for ever if left out.
    #[serde(default)]
    pub expires: Option<Sp<HumanDuration>>,
    /// What happens when it is not answered in time; `"reject"` if left out.
    #[serde(default)]
    pub on_timeout: Option<Sp<OnTimeout>>,
    /// What the approver is asked; may hold `{{ }}`.
    #[serde(default)]
    pub ask: Option<Sp<String>>,
}

/// A model in a loop with tools.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentTable {
    /// A file beside the blueprint with the prompt, or the prompt; a template.
    #[serde(default)]
    pub prompt: Option<Sp<String>>,
    /// A file beside the blueprint with the system text, or the text; a template.
    #[serde(default)]
    pub system: Option<Sp<String>>,
    /// The alias of a model, or `provider/model`; `"default"` if left out. `"scripted/FILE"` answers from a script
    /// beside the blueprint.
    #[serde(default)]
    pub model: Option<Sp<String>>,
    /// The most calls of tools in one session, by globs over their names.
    #[serde(default)]
    pub max_calls: Entries<Sp<u32>>,
    /// Servers of tools, by name; their tools are called `mcp.NAME.TOOL`.
    #[serde(default)]
    pub mcp: Entries<Sp<McpTable>>,
    /// An external agent to start inside the sandbox.
    #[serde(default)]
    pub command: Option<Sp<Vec<Sp<String>>>>,
    /// How the external agent is spoken to; `"plain"` if left out.
    #[serde(default)]
    pub protocol: Option<Sp<AgentProtocol>>,
    /// The most turns, 1 to 10000; 50 if left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_turns: Option<Sp<u32>>,
    /// The most tokens.
    #[serde(default)]
    pub max_tokens: Option<Sp<u64>>,
    /// The most money, in US dollars.
    #[serde(default)]
    pub max_cost_usd: Option<Sp<Cost>>,
}

/// A server of tools that speaks the Model Context Protocol: started inside the sandbox of the node (`command`), or
/// reached over HTTP (`url`).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct McpTable {
    /// The program and its arguments; it speaks over standard input and output.
    #[serde(default)]
    pub command: Option<Sp<Vec<Sp<String>>>>,
    /// Where it is reached over streamable HTTP. Its host need not stand in `network`.
    #[serde(default)]
    pub url: Option<Sp<String>>,
    /// Headers of every request to the `url`, as expressions.
    #[serde(default)]
    pub headers: Entries<Sp<Scalar>>,
    /// Which of its tools the agent may use, as globs over their names.
    pub tools: Vec<Sp<String>>,
    /// What is answered to its questions; no if left out.
    #[serde(default)]
    pub elicitation: Option<Sp<Elicitation>>,
    /// How long one call may take; a minute if left out.
    #[serde(default)]
    pub timeout: Option<Sp<HumanDuration>>,
}

/// Waiting for CI.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CiTable {
    /// Which checks: `"required"`, or names.
    #[serde(default)]
    pub checks: Option<Sp<super::OneOrNames>>,
    /// How long to wait for all of them.
    #[serde(default)]
    pub wait: Option<Sp<HumanDuration>>,
}

/// An effect on a forge. Exactly one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgeTable {
    /// Opens a pull request, or updates the run's own.
    #[serde(default)]
    pub open_pull_request: Option<Sp<Entries<Sp<Scalar>>>>,
    /// Comments.
    #[serde(default)]
    pub comment: Option<Sp<Entries<Sp<Scalar>>>>,
    /// Sets labels.
    #[serde(default)]
    pub label: Option<Sp<Entries<Sp<Scalar>>>>,
    /// Sets a commit status.
    #[serde(default)]
    pub status: Option<Sp<Entries<Sp<Scalar>>>>,
    /// Merges the run's pull request.
    #[serde(default)]
    pub merge: Option<Sp<Entries<Sp<Scalar>>>>,
    /// Makes a release.
    #[serde(default)]
    pub release: Option<Sp<Entries<Sp<Scalar>>>>,
}

impl ForgeTable {
    /// The effects that are given, each with its key.
    pub fn effects(&self) -> impl Iterator<Item = (&'static str, &Sp<Entries<Sp<Scalar>>>)> {
        let all = [
            ("open_pull_request", &self.open_pull_request),
            ("comment", &self.comment),
            ("label", &self.label),
            ("status", &self.status),
            ("merge", &self.merge),
            ("release", &self.release),
        ];
        all.into_iter().filter_map(|(key, effect)| effect.as_ref().map(|effect| (key, effect)))
    }
}
