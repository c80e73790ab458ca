//! Every fact a run can learn, in the past tense. These are what the journal holds: a change here is a change
//! of the journal's format. Facts carry references to payloads, and small payloads only.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command::Command;
use super::session::SessionStep;

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// A fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody started the run.
    RunStarted(Box<RunStart>),
    /// A process began to drive the run; everything issued before without an outcome is reported lost next.
    DriverStarted {
        /// Which process, for people.
        driver: String,
        /// The version of the program.
        version: String,
        /// How nodes are isolated, as attested by a probe.
        isolation: Value,
        /// The images that were built for them. A process that drives the run later uses the same.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        images: Vec<BuiltImage>,
    },
    /// A command was decided; from here on it may have been done.
    Issued(Command),
    /// The condition, list and inputs of a node were evaluated.
    NodeEvaluated {
        /// Path of the node.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
        /// What came out.
        result: Evaluated,
    },
    /// A node did its work.
    NodeSucceeded {
        /// Path of the node.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
        /// What it made.
        #[serde(flatten)]
        success: Box<Success>,
    },
    /// A node did not do its work.
    NodeFailed {
        /// Path of the node.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
        /// Why.
        failure: Box<Failure>,
    },
    /// An agent took a step. What a step announces is done only after this.
    SessionAdvanced {
        /// Path of the node.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
        /// What it did.
        step: Box<SessionStep>,
    },
    /// An attempt ended without an outcome: its process died, or it was stopped so that the run can go on later.
    CommandLost {
        /// Path of the node.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
        /// Why.
        because: LostBecause,
    },
    /// A gate is open and says what an approval is bound to.
    GateOpened {
        /// Path of the gate.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
        /// Digest of the blueprint, the inputs and the tree that is to be approved.
        subject: String,
        /// The question.
        ask: Option<String>,
        /// The commit of the tree that is to be approved; a repair that follows a no builds on it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tree: Option<String>,
    },
    /// Somebody decided at a gate.
    GateDecided {
        /// Path of the gate.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
        /// What they decided.
        decision: Decision,
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
        /// What they saw. A decision about another subject counts for nothing.
        subject: String,
    },
    /// Time passed.
    TimerFired {
        /// Which timer.
        timer: Timer,
    },
    /// A record for a person was written.
    Escalated {
        /// Path of the node that gave up.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
        /// The record.
        record: Payload,
    },
    /// Somebody wants the run to end.
    CancelRequested {
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// Somebody wants a node that failed, was skipped or was cancelled to be tried again, with all behind it.
    /// Counts for nothing while a run is being stopped.
    RetryRequested {
        /// Path of a node of the blueprint itself.
        node: Arc<str>,
        /// Who.
        by: String,
    },
    /// The outcome of a node was taken over from the run this one was forked from.
    NodeAdopted {
        /// Path of the node.
        node: Arc<str>,
        /// What was taken over.
        adopted: Box<Adopted>,
    },
}

/// An image that was built for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltImage {
    /// What it was built of, for people.
    pub of: String,
    /// The key of its recipe in the blueprint.
    pub recipe: String,
    /// The digest of everything that went in: the recipe, the images it begins with and the files of its context.
    pub digest: String,
    /// The container engine's id of it.
    pub id: String,
}

/// How a run starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStart {
    /// The name of the blueprint.
    pub blueprint: String,
    /// The digest of its sources.
    pub digest: String,
    /// The sources themselves.
    pub sources: Payload,
    /// The inputs, without secrets.
    pub inputs: Value,
    /// Where the secrets come from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// The commit that nodes without needs start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Whether changes that were not committed are part of the base.
    #[serde(default)]
    pub dirty_included: bool,
    /// How many nodes run at the same time.
    pub jobs: u32,
    /// Who started it.
    pub by: String,
    /// The run this one was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<String>,
    /// What the driver needs to know again when it resumes.
    #[serde(default)]
    pub options: Value,
}

/// Where a secret is read each time a process drives the run. The secret itself is never journalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file.
    File(String),
}

/// A value, or where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Small enough to stand here.
    Inline(Value),
    /// The BLAKE3 digest of a file in the content store.
    Blob(String),
}

/// What evaluation gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evaluated {
    /// The condition is false.
    Skip,
    /// The node runs.
    Run,
    /// The node runs a sub-graph this many times.
    Expand {
        /// How many.
        count: u32,
        /// The inputs of each, as a list of `count` objects with `item`, `index` or `inputs`.
        scopes: Payload,
    },
}

/// What a node made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Success {
    /// The typed outputs, an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Payload>,
    /// The commit of the output tree, if it is not the input tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// What else is on record: log, exit code, artifacts, usage.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub record: Value,
}

/// The classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// A command, an edit or a request ended as it should not.
    Command,
    /// An agent gave up or gave nonsense.
    Agent,
    /// A model could not be reached or refused.
    Llm,
    /// A sandbox could not do its job.
    Sandbox,
    /// CI is red.
    Ci,
    /// A person or a check said no.
    Review,
    /// A time limit passed.
    Timeout,
    /// A budget is used up.
    Budget,
    /// Something is not allowed.
    Policy,
    /// Parallel changes do not merge.
    Conflict,
    /// The machine or the network failed, not the work.
    Infra,
    /// Somebody wanted it to end.
    Cancelled,
}

impl FailureClass {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Agent => "agent",
            Self::Llm => "llm",
            Self::Sandbox => "sandbox",
            Self::Ci => "ci",
            Self::Review => "review",
            Self::Timeout => "timeout",
            Self::Budget => "budget",
            Self::Policy => "policy",
            Self::Conflict => "conflict",
            Self::Infra => "infra",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a further round of repair can change it: the work failed, not its surroundings.
    pub fn repairable(self) -> bool {
        matches!(self, Self::Command | Self::Agent | Self::Ci | Self::Review | Self::Timeout | Self::Conflict)
    }
}

/// Why a node failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The class.
    pub class: FailureClass,
    /// What happened, for people, in a line or a few. Data, never markup.
    pub message: String,
    /// The failure without its accidents (times, numbers, addresses): equal means the same failure again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// What the node left behind, if it is of use to a repair: the commit of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// What else is on record: log, exit code, usage.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub record: Value,
}

impl Failure {
    /// A failure with nothing but a class and a message.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), fingerprint: None, tree: None, record: Value::Null }
    }
}

/// Why an attempt has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostBecause {
    /// The process that drove the run died.
    Crash,
    /// The run was stopped to go on later.
    Interrupted,
    /// The attempt was cancelled.
    Cancelled,
}

/// A decision at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes.
    Approved,
    /// No.
    Rejected,
}

/// A timer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timer {
    /// What for.
    pub purpose: TimerPurpose,
    /// The node it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Arc<str>>,
    /// The attempt it is about.
    #[serde(default)]
    pub attempt: u32,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerPurpose {
    /// The pause that a wait node is.
    Wait,
    /// The pause before another try.
    Backoff,
    /// The end of an open gate.
    GateExpiry,
    /// The end of the wall budget.
    Wall,
}

/// The outcome of a node in another run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adopted {
    /// It did its work.
    Succeeded(Success),
    /// It was skipped.
    Skipped,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every node succeeded or was skipped as its blueprint says.
    Succeeded,
    /// A node failed.
    Failed,
    /// Somebody said no.
    Rejected,
    /// It was handed to a person.
    Escalated,
    /// Somebody wanted it to end.
    Cancelled,
}

impl Outcome {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Escalated => "escalated",
            Self::Cancelled => "cancelled",
        }
    }
}
