//! What may stand in for the outside world: a recording of an earlier run, or a scenario of a test. Commands and files
//! of sandboxes are not the outside; they are always real, unless a scenario stubs a whole node. What is not stood in
//! for is refused, so that a replay never reaches out.

use std::fmt::Debug;
use std::sync::Arc;

use blueprint_agent::model::Model;
use blueprint_agent::tool::ToolSpec;
use blueprint_core::run::{Decision, Failure, Success};
use serde_json::Value;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Path of the node.
    pub node: &'a str,
    /// Its name in the blueprint.
    pub name: &'a str,
    /// The attempt.
    pub attempt: u32,
    /// The round of repair.
    pub round: u32,
}

/// The answer to a request of an `http` node.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: serde_json::Map<String, Value>,
    /// The body.
    pub body: Vec<u8>,
}

/// A decision at a gate: what, who and why.
pub type Decided = (Decision, String, Option<String>);

/// Stands in for the outside.
pub trait Outside: Send + Sync + Debug {
    /// As it is named in outputs: `scripted`, `recorded`.
    fn kind(&self) -> &'static str;

    /// The whole end of a node, instead of its work.
    fn stub(&self, who: Asker<'_>) -> Option<Result<Success, Failure>>;

    /// Files that a stubbed node writes into its workspace before it ends.
    fn writes(&self, _: Asker<'_>) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether the process of a tool that is about to start in the sandbox of an agent dies instead.
    fn breaks(&self, _: Asker<'_>) -> bool {
        false
    }

    /// The model of an agent that has asked `asked` times in earlier parts of its session.
    fn model(&self, who: Asker<'_>, name: &str, asked: usize) -> Result<Arc<dyn Model>, String>;

    /// The answer to a request: the method, the URL and the body as they would be sent.
    fn http(&self, who: Asker<'_>, method: &str, url: &str, body: &[u8]) -> Result<HttpAnswer, Failure>;

    /// What a tool of an agent got from outside the sandbox (`http.fetch`, remote MCP servers): the name of the tool and
    /// its arguments.
    fn tool(&self, who: Asker<'_>, tool: &str, arguments: &Value) -> Result<String, String>;

    /// The tools that servers outside the sandbox of an agent offer in this turn.
    fn offers(&self, who: Asker<'_>, turn: u32) -> Result<Vec<ToolSpec>, String>;

    /// The model that a hook asks, which has asked `asked` times in earlier parts of the session.
    fn hook(&self, who: Asker<'_>, hook: &str, asked: usize) -> Result<Arc<dyn Model>, String>;

    /// What is decided at a gate, by whom and why, in order. Nothing: nobody decides.
    fn gate(&self, who: Asker<'_>, subject: &str) -> Vec<Decided>;
}
