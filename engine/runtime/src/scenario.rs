//! Scenarios: tests of a blueprint that are written beside it. Reads them, stands in for the outside world while one is
//! run, and says afterwards what came out otherwise than expected. Never runs anything itself: a scenario is driven like
//! every other run, and what it does not stand in for is refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blueprint_agent::model::Script;
use blueprint_core::run::{Decision, Failure, FailureClass, Phase};
use serde_json::{Map, Value};

use crate::cassette::Cassette;

mod fault;
mod file;
mod judge;
mod place;
mod read;
mod route;
mod stand;
mod wrong;

pub use fault::{Fault, FaultKind};
pub use judge::{Judged, Problem, judge};
pub use place::{Place, PlaceError};
pub use read::read;
pub use route::{Ended, Route, route};
pub use stand::Stand;
pub use wrong::Wrong;

/// How many nodes of a scenario run at the same time if it does not say.
pub const JOBS: u32 = 4;
/// How long a scenario may take if it does not say.
pub const TIMEOUT: Duration = Duration::from_mins(1);

/// A scenario that fits its blueprint.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The name of its file without the ending.
    pub name: String,
    /// Its file, relative to the project.
    pub file: String,
    /// What it shows.
    pub summary: Option<String>,
    /// The inputs of the run with their defaults, without secrets.
    pub inputs: Map<String, Value>,
    /// The secrets of the run.
    pub secrets: BTreeMap<String, String>,
    /// What the run starts from.
    pub start: Start,
    /// How many nodes run at the same time. With one, a need that is missing may not show in the route.
    pub jobs: u32,
    /// How long the run may take.
    pub timeout: Duration,
    /// What nodes do instead of their work.
    pub stubs: Vec<(String, Several<Stub>)>,
    /// Who answers agents, by node or by the name of the model.
    pub models: Vec<(String, Says)>,
    /// What requests are answered with.
    pub http: Vec<(String, Several<Answer>)>,
    /// What is decided at gates.
    pub gates: Vec<(String, Several<Verdict>)>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What is to come out.
    pub expect: Expect,
}

impl Scenario {
    /// Whether a stub may stand in for the node of this name.
    pub fn stubs(&self, name: &str) -> bool {
        self.stubs.iter().any(|(key, _)| stand::fits(key, name))
    }
}

/// What the run of a scenario starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// These files.
    Files(BTreeMap<String, String>),
    /// The files below this folder.
    Folder(PathBuf),
}

/// One for all attempts, or one for each.
#[derive(Debug, Clone, PartialEq)]
pub enum Several<T> {
    /// The same each time.
    Always(T),
    /// One for each attempt, from the first on. Attempts are counted over all rounds.
    Each(Vec<T>),
}

impl<T> Several<T> {
    /// The one for an attempt, from 1.
    pub fn of(&self, attempt: u32) -> Option<&T> {
        match self {
            Self::Always(one) => Some(one),
            Self::Each(all) => all.get(attempt.saturating_sub(1) as usize),
        }
    }

    fn map<U>(self, mut map: impl FnMut(T) -> U) -> Several<U> {
        match self {
            Self::Always(one) => Several::Always(map(one)),
            Self::Each(all) => Several::Each(all.into_iter().map(map).collect()),
        }
    }
}

/// What stands in for a model.
#[derive(Debug, Clone)]
pub enum Says {
    /// A script.
    Script(Script),
    /// What a model said in an earlier run, to the same node.
    Cassette(Arc<Cassette>),
}

/// What a node does instead of its work.
#[derive(Debug, Clone, PartialEq)]
pub struct Stub {
    /// How it ends: with these outputs, or with a failure.
    pub end: Result<Option<Value>, Failure>,
    /// Files it writes before.
    pub writes: Vec<(String, String)>,
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Map<String, Value>,
    /// The body.
    pub body: Vec<u8>,
}

/// What is decided at a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What.
    pub decision: Decision,
    /// By whom, one after the other.
    pub by: Vec<String>,
    /// Why.
    pub reason: Option<String>,
}

/// What is to come out of a scenario.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expect {
    /// How the run ends: an outcome, or `waiting`.
    pub outcome: String,
    /// The nodes in the order in which they come to an end; those that stand together in any order.
    pub route: Option<Vec<Vec<String>>>,
    /// Some of them, in this order.
    pub route_contains: Option<Vec<String>>,
    /// Nodes, by path.
    pub nodes: Vec<(String, ExpectNode)>,
    /// What agents may spend.
    pub spent: ExpectSpent,
    /// Lines of the patch.
    pub diff: Vec<String>,
    /// Files of the result.
    pub files: Vec<(String, String)>,
}

/// What is to be known of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExpectNode {
    /// Where it stands at the end.
    pub phase: Option<Phase>,
    /// The round it stands in.
    pub rounds: Option<u32>,
    /// How often it was tried, over all rounds.
    pub attempts: Option<u32>,
    /// Some of its outputs.
    pub outputs: Map<String, Value>,
    /// The class of its last failure.
    pub failure: Option<FailureClass>,
    /// A part of the message of its last failure.
    pub message: Option<String>,
}

/// What agents may spend.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ExpectSpent {
    /// Answers of models, exactly.
    pub model_calls: Option<u64>,
    /// Calls of tools, exactly.
    pub tool_calls: Option<u64>,
    /// US dollars at most.
    pub max_cost_usd: Option<f64>,
    /// Tokens at most.
    pub max_tokens: Option<u64>,
}
