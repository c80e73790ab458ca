//! Everything a run can ask the world to do. Imperative; performed only after it was journalled.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Outcome, Timer};
use crate::format::Tier;

/// A wish of the state machine. `(run, node, attempt)` makes doing one twice harmless.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Evaluate the condition, the list and the inputs of a node.
    Evaluate {
        /// Path of the node.
        node: Arc<str>,
        /// The attempt it opens.
        attempt: u32,
    },
    /// Do the work of a node.
    StartNode {
        /// Path of the node.
        node: Arc<str>,
        /// Fences answers of older attempts.
        attempt: u32,
        /// The round of the innermost repair region.
        round: u32,
        /// The least trusted tier among what it runs and all that reaches it. Journals of before it was worked out have
        /// none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        taint: Option<Tier>,
    },
    /// Ask for approval.
    OpenGate {
        /// Path of the gate.
        node: Arc<str>,
        /// Fences answers to older openings.
        attempt: u32,
        /// The round of the innermost repair region.
        round: u32,
    },
    /// Report when some time has passed.
    StartTimer {
        /// Which.
        timer: Timer,
        /// How long, in milliseconds from the moment this command was issued.
        after_ms: u64,
    },
    /// Stop the work of a node; its end must still be reported.
    CancelNode {
        /// Path of the node.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
    },
    /// Put together the outputs and trees of a sub-graph whose nodes all came to an end.
    Collect {
        /// Path of the node that holds the sub-graph.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
    },
    /// Send a repair region round again. Takes effect by being issued.
    StartRound {
        /// Path of the node that closes the region.
        node: Arc<str>,
        /// The round that starts, from 2.
        round: u32,
    },
    /// Write down everything a person needs to take over.
    Escalate {
        /// Path of the node that gave up.
        node: Arc<str>,
        /// Which attempt.
        attempt: u32,
    },
    /// End the run. Takes effect by being issued.
    Finish {
        /// How it ended.
        outcome: Outcome,
    },
}

impl Command {
    /// The node it is about, if it is about one.
    pub fn node(&self) -> Option<&Arc<str>> {
        match self {
            Self::Evaluate { node, .. }
            | Self::StartNode { node, .. }
            | Self::OpenGate { node, .. }
            | Self::CancelNode { node, .. }
            | Self::Collect { node, .. }
            | Self::StartRound { node, .. }
            | Self::Escalate { node, .. } => Some(node),
            Self::StartTimer { timer, .. } => timer.node.as_ref(),
            Self::Finish { .. } => None,
        }
    }
}
