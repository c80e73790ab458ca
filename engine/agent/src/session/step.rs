//! What a session does, step by step. The runtime makes each durable before the session goes on.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::model::{Answer, Message, ModelFault};
use crate::tool::{Effect, ToolOutcome, ToolSpec};

/// What is spent, or may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    /// Money in millionths of a US dollar; `None` if a price is not known.
    pub cost_micros: Option<u64>,
    /// Tokens, in and out.
    pub tokens: u64,
}

/// What a model can take and give: what a session does may depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Tokens that fit into one call, input and output together.
    pub window: u64,
    /// The most tokens of one answer.
    pub longest: u64,
}

/// A step of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A model is about to be called.
    ModelCalled {
        /// The turn, from 1.
        turn: u32,
        /// Which model.
        model: String,
        /// The most it can cost. Spent, unless the next step says otherwise.
        reserve: Spend,
        /// The BLAKE3 digest of what it is asked, without accidents. Empty in steps of older releases.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        request: String,
        /// What the model can take and give.
        #[serde(default)]
        extent: Extent,
    },
    /// It answered.
    ModelAnswered {
        /// The turn.
        turn: u32,
        /// What.
        answer: Box<Answer>,
    },
    /// It did not.
    ModelFailed {
        /// The turn.
        turn: u32,
        /// Which model.
        model: String,
        /// What may have been spent all the same.
        spent: Spend,
        /// Why.
        message: String,
        /// The class of the failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<ModelFault>,
    },
    /// A model is about to be asked on behalf of a hook.
    HookAsked {
        /// The turn.
        turn: u32,
        /// The name of the hook.
        hook: String,
        /// Which model.
        model: String,
        /// The most it can cost. Spent, unless the next step says otherwise.
        reserve: Spend,
        /// What the model can take and give.
        extent: Extent,
    },
    /// It answered.
    HookAnswered {
        /// The turn.
        turn: u32,
        /// The name of the hook.
        hook: String,
        /// What.
        answer: Box<Answer>,
    },
    /// It did not.
    HookFailed {
        /// The turn.
        turn: u32,
        /// The name of the hook.
        hook: String,
        /// Which model.
        model: String,
        /// What may have been spent all the same.
        spent: Spend,
        /// Why.
        message: String,
        /// The class of the failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<ModelFault>,
    },
    /// These are the tools that servers outside the sandbox offer from this turn on.
    Offered {
        /// The turn.
        turn: u32,
        /// All of them.
        tools: Vec<ToolSpec>,
    },
    /// A tool is about to be called: the record of it comes before the act.
    ToolCalled {
        /// The turn.
        turn: u32,
        /// The number of the call in the answer, from 0.
        call: u32,
        /// The tool.
        tool: String,
        /// What it may do at worst.
        effect: Effect,
        /// Its arguments.
        arguments: Value,
    },
    /// It returned.
    ToolReturned {
        /// The turn.
        turn: u32,
        /// The number of the call.
        call: u32,
        /// The tool.
        tool: String,
        /// What came out, as the model sees it.
        outcome: ToolOutcome,
        /// The workspace after it, if it changed: see [`crate::tool::ToolHost::snapshot`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tree: Option<String>,
    },
    /// The session told the model something by itself: a correction, a summary, a warning.
    Told {
        /// The turn before which.
        turn: u32,
        /// The text.
        text: String,
    },
    /// The conversation was shortened to fit.
    Compacted {
        /// The turn before which.
        turn: u32,
        /// What was done, for people.
        note: String,
        /// The conversation as it goes on.
        messages: Vec<Message>,
    },
}

impl Step {
    /// The turn it belongs to.
    pub fn turn(&self) -> u32 {
        match self {
            Self::ModelCalled { turn, .. }
            | Self::ModelAnswered { turn, .. }
            | Self::ModelFailed { turn, .. }
            | Self::HookAsked { turn, .. }
            | Self::HookAnswered { turn, .. }
            | Self::HookFailed { turn, .. }
            | Self::Offered { turn, .. }
            | Self::ToolCalled { turn, .. }
            | Self::ToolReturned { turn, .. }
            | Self::Told { turn, .. }
            | Self::Compacted { turn, .. } => *turn,
        }
    }
}

/// Why a step could not be recorded. The act it announces must not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The budget of the run does not allow it.
    #[error("{0}")]
    Budget(String),
    /// The run is stopping, or the journal could not be written.
    #[error("the step could not be recorded: {0}")]
    Lost(String),
}

/// Makes steps durable.
#[async_trait]
pub trait Recorder: Send + Sync + Debug {
    /// Returns once the step is on disk. A step that announces something is refused if the budget does not allow it.
    async fn record(&self, step: Step) -> Result<(), RecordError>;
}
