//! The file tools: what a model sees of them. The work is done inside the sandbox, by our own program
//! ([`crate::tool::file_tools_main`]); nothing here opens a file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::spec;
use crate::tool::arguments::shown;
use crate::tool::server::{FileAnswer, FileRequest};
use crate::tool::{Command, Effect, HostError, RanEnd, Tool, ToolHost, ToolOutcome, ToolSpec};

/// How long one request may take.
const WALL: Duration = Duration::from_mins(1);
/// How much of an answer is kept: more than it can have, however its text is written in JSON.
const KEEP: usize = 1024 * 1024;

/// A tool whose work the server of file tools does.
#[derive(Debug)]
struct FileTool(ToolSpec);

/// All of them.
pub(super) fn tools() -> Vec<Arc<dyn Tool>> {
    let specs = [list(), read(), search(), write(), edit(), patch(), delete()];
    #[cfg(feature = "map")]
    let specs = specs.into_iter().chain([map()]);
    specs.into_iter().map(|spec| Arc::new(FileTool(spec)) as Arc<dyn Tool>).collect()
}

fn path(what: &str) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 4096, "description": what})
}

fn folder() -> Value {
    json!({"type": "string", "maxLength": 4096, "description": "Folder or file below the workspace. Default: all of it."})
}

fn ignored() -> Value {
    json!({"type": "boolean", "description": "Also what .gitignore leaves out. Default: false."})
}

fn list() -> ToolSpec {
    spec(
        "fs.list",
        Effect::Read,
        "Lists files and folders of the workspace. Leaves out what .gitignore names.",
        &json!({
            "path": folder(),
            "depth": {"type": "integer", "minimum": 1, "maximum": 20, "description": "How deep. Default: 2."},
            "ignored": ignored(),
        }),
        &[],
    )
}

#[cfg(feature = "map")]
fn map() -> ToolSpec {
    spec(
        "fs.map",
        Effect::Read,
        "Shows the most important definitions of the workspace (Rust, Python, JavaScript, TypeScript, Go), by file with \
         their lines: those that the rest of it speaks of most. A good first look.",
        &json!({
            "path": folder(),
            "tokens": {"type": "integer", "minimum": 200, "maximum": 16000, "description": "How long. Default: 4000."},
        }),
        &[],
    )
}

fn read() -> ToolSpec {
    let line = |what: &str| json!({"type": "integer", "minimum": 1, "description": what});
    spec(
        "fs.read",
        Effect::Read,
        "Reads a text file. Each line comes with its number and a tab in front, which are not part of the file.",
        &json!({
            "path": path("File, relative to the workspace."),
            "start": line("First line, from 1. Default: 1."),
            "end": line("Last line. Default: as far as there is room."),
        }),
        &["path"],
    )
}

fn search() -> ToolSpec {
    spec(
        "fs.search",
        Effect::Read,
        "Finds lines that match a regular expression (Rust syntax, one line at a time). \
         Gives path:line:text for matches, path-line-text for context.",
        &json!({
            "pattern": {"type": "string", "minLength": 1, "maxLength": 4096},
            "path": folder(),
            "glob": {"type": "string", "minLength": 1, "maxLength": 1024,
                "description": "Only such files: `*.rs` by name, `src/**/*.rs` by path."},
            "context": {"type": "integer", "minimum": 0, "maximum": 20,
                "description": "Lines around each match. Default: 0."},
            "literal": {"type": "boolean", "description": "Take the pattern as plain text."},
            "ignore_case": {"type": "boolean"},
            "ignored": ignored(),
        }),
        &["pattern"],
    )
}

fn write() -> ToolSpec {
    spec(
        "fs.write",
        Effect::Write,
        "Creates a file, or replaces all of it. Makes the folders it needs.",
        &json!({"path": path("File, relative to the workspace."), "content": {"type": "string"}}),
        &["path", "content"],
    )
}

fn edit() -> ToolSpec {
    spec(
        "fs.edit",
        Effect::Write,
        "Replaces an exact text in a file. It must be there once, unless `all` or `count` says otherwise.",
        &json!({
            "path": path("File, relative to the workspace."),
            "old": {"type": "string", "minLength": 1, "description": "The text as it is in the file, without line numbers."},
            "new": {"type": "string", "description": "What comes in its place."},
            "count": {"type": "integer", "minimum": 1, "description": "How often it is there. All of them are replaced."},
            "all": {"type": "boolean", "description": "Replace it wherever it is."},
        }),
        &["path", "old", "new"],
    )
}

fn patch() -> ToolSpec {
    spec(
        "fs.patch",
        Effect::Write,
        "Applies a unified diff to one or more files, as a whole or not at all. Lines of context must be exact, \
         line numbers may be off. /dev/null creates and deletes files.",
        &json!({"patch": {"type": "string", "minLength": 1}}),
        &["patch"],
    )
}

fn delete() -> ToolSpec {
    spec(
        "fs.delete",
        Effect::Write,
        "Deletes one file.",
        &json!({"path": path("File, relative to the workspace.")}),
        &["path"],
    )
}

#[async_trait]
impl Tool for FileTool {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(
        &self,
        host: &dyn ToolHost,
        arguments: Value,
        cancel: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        let request = FileRequest { tool: self.0.name.clone(), args: arguments };
        let stdin = serde_json::to_vec(&request).map_err(|error| {
            HostError::Infra(format!("a request of a file tool cannot be written: {error}"))
        })?;
        let argv = host.file_tools();
        if argv.first().is_none_or(String::is_empty) {
            return Err(HostError::Sandbox("there is no program for the file tools".to_owned()));
        }
        let command = Command {
            argv,
            env: BTreeMap::new(),
            cwd: ".".to_owned(),
            stdin,
            wall: WALL,
            keep: KEEP,
            effect: self.0.effect,
        };
        let ran = host.run(command, cancel).await?;
        let failed = |reason: String| Ok(ToolOutcome::Failed(reason));
        match ran.end {
            RanEnd::NotStarted => {
                Err(HostError::Sandbox("the program of the file tools could not be started".to_owned()))
            }
            RanEnd::TimedOut => failed(format!("stopped after {} s", WALL.as_secs())),
            RanEnd::Limit => failed("stopped: it used more memory or room than it may".to_owned()),
            RanEnd::Signal(signal) => failed(format!("the file tool was ended by signal {signal}")),
            RanEnd::Exit(code) => match serde_json::from_slice(&ran.stdout) {
                Ok(FileAnswer::Ok(text)) if code == 0 => Ok(ToolOutcome::Done(text)),
                Ok(FileAnswer::Failed(text)) if code == 0 => failed(text),
                _ => {
                    let said = shown(&host.redact(&String::from_utf8_lossy(&ran.stderr)), 300);
                    host.note(&format!("{}: no readable answer, code {code}: {said}", self.0.name));
                    failed(format!("the file tool gave no readable answer (code {code})"))
                }
            },
        }
    }
}
