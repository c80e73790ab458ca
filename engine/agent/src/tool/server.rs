//! The file tools as they run inside a sandbox: one request on standard input, one answer on standard output, and
//! files below one folder in between. Never follows a symbolic link, never touches `.git`, never waits for anything
//! but the disk.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

mod edit;
mod list;
#[cfg(feature = "map")]
mod map;
mod patch;
mod read;
mod search;
mod tree;
mod walk;

use tree::Tree;

/// The largest request, in bytes.
const LARGEST_REQUEST: u64 = 16 * 1024 * 1024;

/// How long a text in an answer may be, in bytes: less than what a model sees of a result, so that a tool can say
/// itself where to go on.
pub(super) const LONGEST_TEXT: usize = 48 * 1024;

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRequest {
    /// The name of the tool.
    pub(super) tool: String,
    /// Its arguments.
    pub(super) args: Value,
}

/// What came of it. Both are for the model.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FileAnswer {
    /// It was done.
    Ok(String),
    /// It was not, and nothing was changed.
    Failed(String),
}

/// Why a file tool did not do its work; for the model.
#[derive(Debug, Error)]
enum Fault {
    /// In the words of the tool.
    #[error("{0}")]
    Told(String),
    /// A file that is in the way.
    #[error("`{path}`: {reason}")]
    At {
        /// Its path, fit to be shown.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Fault {
    fn at(path: &str, reason: impl Into<String>) -> Self {
        Self::At { path: super::arguments::shown(path, 200), reason: reason.into() }
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Told(text)
    }
}

/// Reads one request from standard input, does it below `root`, and writes the answer to standard output. The code is
/// 0 whenever there is an answer.
pub fn file_tools_main(root: &Path) -> ExitCode {
    let mut request = Vec::new();
    let read = std::io::stdin().lock().take(LARGEST_REQUEST + 1).read_to_end(&mut request);
    let answer = match read {
        Ok(size) if size as u64 > LARGEST_REQUEST => {
            FileAnswer::Failed(format!("the request is larger than {LARGEST_REQUEST} bytes"))
        }
        Ok(_) => answer(root, &request),
        Err(error) => FileAnswer::Failed(format!("the request could not be read: {error}")),
    };
    let Ok(answer) = serde_json::to_vec(&answer) else { return ExitCode::FAILURE };
    let mut out = std::io::stdout().lock();
    match out.write_all(&answer).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer(root: &Path, request: &[u8]) -> FileAnswer {
    let done = match serde_json::from_slice::<FileRequest>(request) {
        Ok(request) => perform(root, request),
        Err(error) => Err(Fault::Told(format!("the request cannot be read: {error}"))),
    };
    match done {
        Ok(text) => FileAnswer::Ok(text),
        Err(fault) => FileAnswer::Failed(fault.to_string()),
    }
}

fn perform(root: &Path, request: FileRequest) -> Result<String, Fault> {
    let tree = Tree::open(root)?;
    let args = request.args;
    match request.tool.as_str() {
        #[cfg(feature = "map")]
        "fs.map" => map::map(&tree, &arguments(args)?),
        "fs.list" => list::list(&tree, &arguments(args)?),
        "fs.read" => read::read(&tree, arguments(args)?),
        "fs.search" => search::search(&tree, &arguments(args)?),
        "fs.write" => edit::write(&tree, arguments(args)?),
        "fs.edit" => edit::edit(&tree, arguments(args)?),
        "fs.patch" => patch::patch(&tree, arguments(args)?),
        "fs.delete" => edit::delete(&tree, &arguments(args)?),
        other => Err(Fault::at(other, "there is no such file tool")),
    }
}

fn arguments<T: for<'de> Deserialize<'de>>(args: Value) -> Result<T, Fault> {
    serde_json::from_value(args).map_err(|error| Fault::Told(format!("the arguments do not fit: {error}")))
}
