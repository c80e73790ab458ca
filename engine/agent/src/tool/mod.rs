//! Tools: what a model may ask for. A tool acts on the world through [`ToolHost`] and in no other way.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

mod arguments;
pub mod builtin;
mod dispatch;
mod host;
mod paces;
mod result;
mod server;

pub use arguments::{Fit, SchemaError};
pub use dispatch::{Admission, Admitted, Calls, FINISH, Notes, Toolbox, ToolboxError};
pub use host::{Command, Fetch, Fetched, GitQuery, HostError, Process, Ran, RanEnd, ToolHost};
pub use paces::{ToolPaces, ToolRate, ToolsConfig, ToolsConfigError};
pub use server::file_tools_main;

/// The argument that makes our program serve one request to the file tools, below the folder it is started in.
pub const FILE_TOOLS: &str = "__file-tools";

/// What a tool may do at worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Looks.
    Read,
    /// Changes the workspace.
    Write,
    /// Speaks to somebody outside.
    Network,
    /// May do anything a sandbox lets it.
    Destructive,
}

impl Effect {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Network => "network",
            Self::Destructive => "destructive",
        }
    }
}

/// What a tool is, for people, for models and for rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name in blueprints, rules and logs: `fs.read`, `shell`, `mcp.git.log`.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// A JSON Schema of its arguments, an object.
    pub schema: Value,
    /// What it may do at worst.
    pub effect: Effect,
}

impl ToolSpec {
    /// The name that models see: providers take letters, digits, `_` and `-` only, 64 of them.
    pub fn wire_name(&self) -> String {
        self.name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
            .take(64)
            .collect()
    }
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolOutcome {
    /// It did its work; this is for the model.
    Done(String),
    /// It did not; this is for the model as well, so that it can do something else.
    Failed(String),
    /// The session is to end with this value.
    Finish(Value),
}

/// Something a model may call.
#[async_trait]
pub trait Tool: Send + Sync + Debug {
    /// What it is.
    fn spec(&self) -> &ToolSpec;

    /// How long it may take with these arguments. It is stopped then.
    fn wall(&self, _arguments: &Value) -> Duration {
        Duration::from_mins(2)
    }

    /// Whether what it gives was seen before and is given again as it was: nothing more is done to it.
    fn is_recorded(&self) -> bool {
        false
    }

    /// Does it. The arguments fit the schema. Ends soon after `cancel`. An error of the host ends the session; what
    /// the model can do something about is a [`ToolOutcome::Failed`].
    async fn call(
        &self,
        host: &dyn ToolHost,
        arguments: Value,
        cancel: &CancellationToken,
    ) -> Result<ToolOutcome, HostError>;
}
