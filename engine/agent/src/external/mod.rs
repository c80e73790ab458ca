//! Agents of other people: a command inside the node's sandbox that does the whole work, or one that speaks the agent
//! client protocol. What it says of itself is written down and believed in nothing: the sandbox is what holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::tool::{Effect, HostError, ToolHost};

mod acp;
mod answer;
mod lines;
mod plain;
mod transcript;

pub use transcript::Heard;

/// How an agent is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// It reads the prompt from its standard input to the end, and what it writes is its answer.
    #[default]
    Plain,
    /// It speaks the agent client protocol, version 1, over its standard input and output.
    Acp,
}

/// What an agent is to do, and within which bounds.
#[derive(Debug, Clone)]
pub struct Work {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Variables on top of those every command of the node has.
    pub env: BTreeMap<String, String>,
    /// What it is asked to do.
    pub prompt: String,
    /// When it is ended.
    pub wall: Duration,
    /// How much of what it says is kept, in bytes.
    pub keep: usize,
    /// What it may do when it asks first. It is not known what it does without asking.
    pub ceiling: BTreeSet<Effect>,
}

/// How an agent came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It says that it has done its work.
    Finished,
    /// It gave up, in its own words.
    GaveUp(String),
    /// Its time was up.
    TimedOut,
    /// It broke off, or what it said made no sense.
    Broken(String),
}

/// What an agent left behind, besides the workspace. All texts are redacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The JSON object it answered with; `None` if there is none.
    pub outputs: Option<Value>,
    /// What it said, in its order.
    pub transcript: Vec<Heard>,
    /// Whether some of what it said was dropped.
    pub truncated: bool,
    /// What it claims to have cost, in millionths of a US dollar. A claim: never a reason to spend more.
    pub claimed_micros: Option<u64>,
}

/// Lets an agent work. An error is one of the host, or a cancellation; whatever the agent does wrong is an [`End`].
pub async fn run(work: &Work, host: &dyn ToolHost, cancel: &CancellationToken) -> Result<Outcome, HostError> {
    match work.protocol {
        Protocol::Plain => plain::run(work, host, cancel).await,
        Protocol::Acp => acp::run(work, host, cancel).await,
    }
}
