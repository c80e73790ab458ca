//! Everything the outside world said in a run, as one portable file: what models answered, what servers answered, what
//! people decided, beside what came of it. A run is replayed from it, offline. Holds no secret of the run, and nothing
//! here ever asks the outside world.

use std::collections::BTreeMap;
use std::sync::Arc;

use blueprint_agent::session::Step;
use blueprint_core::check::compile;
use blueprint_core::graph::Program;
use blueprint_core::run::{Decision, FailureClass, Outcome};
use blueprint_core::source::SourceSet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::payload::PayloadError;
use crate::workspace::{GitError, RepositoryError};

mod compare;
mod export;
mod file;
mod player;
mod replay;
#[cfg(test)]
mod tests;

pub use compare::{Comparison, Difference, compare};
pub use replay::Replay;

pub(crate) use player::{Listening, Player};

/// The version of the format that this release reads and writes.
pub const VERSION: u32 = 1;

/// Why a cassette cannot be made, read or written.
#[derive(Debug, Error)]
pub enum CassetteError {
    /// The run took over outcomes of another one, which are not its own to tell.
    #[error("run `{run}` is a fork of `{parent}`: what it took over was said in that run")]
    Fork {
        /// The run.
        run: String,
        /// The run it was forked from.
        parent: String,
    },
    /// A value of the run cannot be read.
    #[error("a value of the run could not be read")]
    Payload(#[from] PayloadError),
    /// A step of an agent is not one this release knows.
    #[error("a step of an agent could not be read")]
    Step(#[source] serde_json::Error),
    /// The repository cannot be used.
    #[error("the repository of the project cannot be used")]
    Repository(#[from] RepositoryError),
    /// A commit of the run cannot be read.
    #[error("a commit of the run could not be read")]
    Git(#[from] GitError),
    /// The file cannot be read or written.
    #[error("the cassette could not be read or written")]
    File(#[from] std::io::Error),
    /// A line of the file means nothing.
    #[error("line {line} of the cassette means nothing to this release")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It is of another version.
    #[error("the cassette is of version {0}, and this release reads version {VERSION}")]
    Version(u32),
    /// What it holds of the blueprint is not what it says it is.
    #[error(
        "the blueprint in the cassette does not compile to what was run: it was altered, or another release recorded it"
    )]
    Blueprint,
}

/// What the outside world said in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Cassette {
    /// The run as a whole.
    pub head: Head,
    /// What was said and what came of it, in the order of the journal.
    pub entries: Vec<Entry>,
}

/// The run as a whole: the first line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the format.
    pub cassette: u32,
    /// The version of the program that recorded it.
    pub made_with: String,
    /// The run.
    pub run: String,
    /// The name of its blueprint.
    pub blueprint: String,
    /// The digest of the blueprint.
    pub digest: String,
    /// The texts of the blueprint.
    pub sources: SourceSet,
    /// The inputs, without secrets.
    pub inputs: Value,
    /// The names of its secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// What it started from, if it had a workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// How many nodes ran at the same time.
    pub jobs: u32,
    /// How it ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Where each node stood at the end.
    pub nodes: BTreeMap<String, String>,
    /// The tree it left, if its ends merge into one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
}

/// What a run started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The commit.
    pub commit: String,
    /// Its tree.
    pub tree: String,
}

/// One thing that was said or came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Path of the node.
    pub node: String,
    /// The round of repair.
    pub round: u32,
    /// The try of the node, from 1. What a dead process began and another one went on with is one try.
    pub attempt: u32,
    /// What.
    #[serde(flatten)]
    pub said: Said,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// A step of an agent. Trees stand in place of commits.
    Step(Step),
    /// The answer of a server.
    Http {
        /// The digest of the request.
        #[serde(default)]
        request: String,
        /// The status.
        status: u16,
        /// The headers that outputs read.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        headers: Map<String, Value>,
        /// The body.
        body: Body,
    },
    /// What somebody decided at a gate.
    Gate {
        /// What.
        decision: Decision,
        /// Who.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The try came to its end.
    End(End),
}

/// Bytes, as a text where they are one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// UTF-8.
    Text(String),
    /// Anything else, in base 64.
    Base64(String),
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It did its work.
    Succeeded {
        /// The typed outputs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outputs: Option<Value>,
        /// The tree it left, if that is not the one it started from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tree: Option<String>,
    },
    /// It did not.
    Failed {
        /// The class.
        class: FailureClass,
        /// What happened.
        message: String,
        /// The failure without its accidents.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<String>,
        /// The tree it left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tree: Option<String>,
    },
}

impl Cassette {
    /// The blueprint, compiled again.
    pub fn program(&self) -> Result<Arc<Program>, CassetteError> {
        let program = compile(&self.head.sources).program;
        program.filter(|program| program.digest == self.head.digest).ok_or(CassetteError::Blueprint)
    }
}
