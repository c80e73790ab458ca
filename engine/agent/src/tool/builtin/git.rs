//! `git.diff`, `git.status`, `git.log`: the history of the workspace as the engine knows it. Git itself is never run
//! on what a model wrote.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{outside, spec, text};
use crate::tool::arguments::shown;
use crate::tool::{Effect, GitQuery, HostError, Tool, ToolHost, ToolOutcome, ToolSpec};

/// How many commits are told if the model does not say.
const USUAL_LOG: u64 = 20;

#[derive(Debug, Clone, Copy)]
enum What {
    Diff,
    Status,
    Log,
}

/// A tool that asks one question.
#[derive(Debug)]
struct GitTool {
    spec: ToolSpec,
    what: What,
}

/// All of them.
pub(super) fn tools() -> Vec<Arc<dyn Tool>> {
    let path = json!({"type": "string", "minLength": 1, "maxLength": 4096});
    let diff = spec(
        "git.diff",
        Effect::Read,
        "Shows what changed since the node began, as a unified diff.",
        &json!({"paths": {"type": "array", "items": path, "maxItems": 100,
            "description": "Only these, relative to the workspace. Default: all."}}),
        &[],
    );
    let status = spec(
        "git.status",
        Effect::Read,
        "Lists the files that changed since the node began.",
        &json!({}),
        &[],
    );
    let log = spec(
        "git.log",
        Effect::Read,
        "Shows the last commits before the node began.",
        &json!({
            "limit": {"type": "integer", "minimum": 1, "maximum": 200, "description": "How many. Default: 20."},
            "path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "Only those that touch it."},
        }),
        &[],
    );
    let specs = [(diff, What::Diff), (status, What::Status), (log, What::Log)];
    specs.into_iter().map(|(spec, what)| Arc::new(GitTool { spec, what }) as Arc<dyn Tool>).collect()
}

impl GitTool {
    fn query(&self, arguments: &Value) -> Result<GitQuery, String> {
        let checked = |path: &str| match outside(path) {
            Some(reason) => Err(format!("`{}` {reason}", shown(path, 200))),
            None => Ok(path.to_owned()),
        };
        Ok(match self.what {
            What::Diff => {
                let paths = arguments.get("paths").and_then(Value::as_array).into_iter().flatten();
                let paths = paths.filter_map(Value::as_str).map(checked).collect::<Result<_, _>>()?;
                GitQuery::Diff { paths }
            }
            What::Status => GitQuery::Status,
            What::Log => {
                let limit = arguments.get("limit").and_then(Value::as_u64).unwrap_or(USUAL_LOG);
                GitQuery::Log {
                    limit: u32::try_from(limit).unwrap_or(u32::MAX),
                    path: text(arguments, "path").map(checked).transpose()?,
                }
            }
        })
    }
}

#[async_trait]
impl Tool for GitTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(
        &self,
        host: &dyn ToolHost,
        arguments: Value,
        cancel: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        let query = match self.query(&arguments) {
            Ok(query) => query,
            Err(reason) => return Ok(ToolOutcome::Failed(reason)),
        };
        let answer = tokio::select! {
            answer = host.git(query) => answer?,
            () = cancel.cancelled() => return Err(HostError::Cancelled),
        };
        let nothing = match self.what {
            What::Log => "no commits",
            What::Diff | What::Status => "no changes",
        };
        Ok(ToolOutcome::Done(if answer.trim().is_empty() { nothing.to_owned() } else { answer }))
    }
}
