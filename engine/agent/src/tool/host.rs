//! What tools may do to the world, as the runtime allows it: commands in the node's sandbox, a look at the history
//! of its workspace, requests through the rules for what may leave.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Effect;

/// Why the host could not do its part. The session ends with it.
#[derive(Debug, Error)]
pub enum HostError {
    /// The sandbox could not do its job.
    #[error("the sandbox of the agent could not do its job: {0}")]
    Sandbox(String),
    /// What was asked for is not allowed here.
    #[error("{0}")]
    Denied(String),
    /// Somebody outside did not answer.
    #[error("{0}")]
    Unanswered(String),
    /// Something around it failed.
    #[error("{0}")]
    Infra(String),
    /// Nobody waits for it any more.
    #[error("cancelled")]
    Cancelled,
}

/// A command for the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments. The text of a model is one argument, never part of a line of ours.
    pub argv: Vec<String>,
    /// Variables on top of those every command of the node has.
    pub env: BTreeMap<String, String>,
    /// The folder, relative to the workspace.
    pub cwd: String,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// When it is killed with everything it started.
    pub wall: Duration,
    /// How much of its output is kept, in bytes, from each end of each stream. The rest is dropped with a note.
    pub keep: usize,
    /// What it may do at worst. Commands that only read may run side by side and see the workspace read-only.
    pub effect: Effect,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RanEnd {
    /// It returned this code.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
    /// The program was not found or could not be started.
    NotStarted,
    /// Its time was up.
    TimedOut,
    /// It used more memory or wrote more output than it may.
    Limit,
}

/// What a command did. Output is redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub end: RanEnd,
    /// Standard output, as far as it was kept.
    pub stdout: Vec<u8>,
    /// Standard error, as far as it was kept.
    pub stderr: Vec<u8>,
    /// Bytes that were dropped.
    pub dropped: u64,
}

/// A question to the history of the workspace. Answered by the engine, never by running git on what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitQuery {
    /// What changed since the node began, as a unified diff, for these paths or all.
    Diff {
        /// Paths relative to the workspace.
        paths: Vec<String>,
    },
    /// The paths that changed since the node began.
    Status,
    /// The last commits before the node began.
    Log {
        /// How many.
        limit: u32,
        /// Those that touch this path.
        path: Option<String>,
    },
}

/// A request to somebody outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Where.
    pub url: String,
    /// How much of the answer is kept, in bytes.
    pub keep: usize,
    /// When it is given up.
    pub wall: Duration,
}

/// What somebody outside answered. Redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub content_type: Option<String>,
    /// Where it sends whoever asks instead. Nobody follows by itself.
    pub location: Option<String>,
    /// The body, as far as it was kept.
    pub body: Vec<u8>,
    /// Whether some of it was dropped.
    pub truncated: bool,
}

/// A process inside a sandbox that is spoken to: an MCP server, an external agent. Dropping it kills it with
/// everything it started.
pub struct Process {
    /// Its standard input.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// Its standard output.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Completes when it has ended.
    pub ended: tokio::sync::oneshot::Receiver<RanEnd>,
    /// Kills it.
    pub kill: CancellationToken,
}

impl Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Process")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

/// What the runtime does for tools.
#[async_trait]
pub trait ToolHost: Send + Sync + Debug {
    /// The absolute path of the workspace as commands see it.
    fn workspace(&self) -> &str;

    /// How to start our own file tools inside the sandbox: program and arguments. They read one request in JSON from
    /// standard input and answer with one in JSON ([`crate::tool`]).
    fn file_tools(&self) -> Vec<String>;

    /// Runs a command to its end in the node's sandbox.
    async fn run(&self, command: Command, cancel: &CancellationToken) -> Result<Ran, HostError>;

    /// Starts a process in a sandbox of its own over the same workspace.
    async fn open(
        &self,
        argv: Vec<String>,
        env: BTreeMap<String, String>,
        effect: Effect,
    ) -> Result<Process, HostError>;

    /// Answers a question to the history of the workspace.
    async fn git(&self, query: GitQuery) -> Result<String, HostError>;

    /// Makes a request outside, under the rules of the node. Denied unless these allow it.
    async fn fetch(&self, fetch: Fetch, cancel: &CancellationToken) -> Result<Fetched, HostError>;

    /// Keeps the workspace as it is now; the name of it lets a later session start from there. `None` if there is
    /// nothing new, or no workspace that is written.
    async fn snapshot(&self) -> Result<Option<String>, HostError>;

    /// Takes out of a text what must not be seen or kept.
    fn redact(&self, text: &str) -> String;

    /// Something for the log of the node, as it happens.
    fn note(&self, line: &str);

    /// A value of the host that tools may need: `run`, `node`, `attempt`.
    fn facts(&self) -> Value;
}
