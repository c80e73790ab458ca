//! The tools that every node can be given. None of them acts by itself: each asks [`super::ToolHost`].

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Effect, Tool, ToolSpec};

mod files;
mod finish;
mod git;
mod http;
mod shell;

pub use finish::Finish;

/// Every tool but [`Finish`], whose schema is of the node. `longest` bounds one command of the shell.
pub fn builtin(longest: Duration) -> Vec<Arc<dyn Tool>> {
    let mut tools = files::tools();
    tools.push(Arc::new(shell::Shell::new(longest)));
    tools.extend(git::tools());
    tools.push(Arc::new(http::HttpFetch::new()));
    tools
}

fn spec(name: &str, effect: Effect, description: &str, properties: &Value, required: &[&str]) -> ToolSpec {
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    ToolSpec { name: name.to_owned(), description: description.to_owned(), schema, effect }
}

/// An argument that is a text; the schema has made sure that it is one if it is there.
fn text<'a>(arguments: &'a Value, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str)
}

/// Why a path may not be one of the workspace. Whether it leads out over a link is for the sandbox to see.
fn outside(path: &str) -> Option<&'static str> {
    if path.contains('\0') {
        Some("holds a NUL")
    } else if path.starts_with('/') {
        Some("is absolute; paths are relative to the workspace")
    } else if path.split('/').any(|part| part == "..") {
        Some("goes up with `..`")
    } else {
        None
    }
}
