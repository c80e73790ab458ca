//! Where hooks can be mounted. A closed list: a name that is not here is an error when the configuration is read.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A boundary of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run is about to start.
    BeforeRun,
    /// A run came to its end.
    AfterRun,
    /// An attempt of a node is about to start.
    BeforeNode,
    /// An attempt of a node came to its end.
    AfterNode,
    /// A gate waits for people.
    GateOpened,
    /// A gate was decided.
    GateDecided,
    /// A model is about to be asked.
    BeforeModel,
    /// A model answered.
    AfterModel,
    /// A tool is about to be called. The call was admitted; what a hook makes of it is checked again.
    BeforeTool,
    /// A tool returned, and its model has not seen it yet.
    AfterTool,
    /// A conversation was shortened.
    AfterCompaction,
    /// The session of an agent came to its end.
    AfterSession,
    /// A run was handed to a person.
    Escalated,
}

/// What hooks of an event may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Say no.
    Gate,
    /// Say no, or change what is listed.
    Mutator,
    /// Look.
    Observer,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::BeforeRun,
        Self::AfterRun,
        Self::BeforeNode,
        Self::AfterNode,
        Self::GateOpened,
        Self::GateDecided,
        Self::BeforeModel,
        Self::AfterModel,
        Self::BeforeTool,
        Self::AfterTool,
        Self::AfterCompaction,
        Self::AfterSession,
        Self::Escalated,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeRun => "before_run",
            Self::AfterRun => "after_run",
            Self::BeforeNode => "before_node",
            Self::AfterNode => "after_node",
            Self::GateOpened => "gate_opened",
            Self::GateDecided => "gate_decided",
            Self::BeforeModel => "before_model",
            Self::AfterModel => "after_model",
            Self::BeforeTool => "before_tool",
            Self::AfterTool => "after_tool",
            Self::AfterCompaction => "after_compaction",
            Self::AfterSession => "after_session",
            Self::Escalated => "escalated",
        }
    }

    /// What its hooks may do.
    pub fn kind(self) -> EventKind {
        match self {
            Self::BeforeRun | Self::BeforeNode => EventKind::Gate,
            Self::BeforeModel | Self::BeforeTool | Self::AfterTool => EventKind::Mutator,
            Self::AfterRun
            | Self::AfterNode
            | Self::GateOpened
            | Self::GateDecided
            | Self::AfterModel
            | Self::AfterCompaction
            | Self::AfterSession
            | Self::Escalated => EventKind::Observer,
        }
    }

    /// The fields of its data that a hook may replace. Limits, budgets, names and tools are in none of them.
    pub fn patchable(self) -> &'static [&'static str] {
        match self {
            Self::BeforeModel => &["system", "messages"],
            Self::BeforeTool => &["arguments"],
            Self::AfterTool => &["content"],
            _ => &[],
        }
    }

    /// Whether it belongs to a node.
    pub fn has_node(self) -> bool {
        !matches!(self, Self::BeforeRun | Self::AfterRun)
    }

    /// Whether it lies within the session of an agent, whose budget pays for what is asked there.
    pub fn is_of_session(self) -> bool {
        matches!(
            self,
            Self::BeforeModel
                | Self::AfterModel
                | Self::BeforeTool
                | Self::AfterTool
                | Self::AfterCompaction
                | Self::AfterSession
        )
    }

    /// Whether it belongs to a tool.
    pub fn has_tool(self) -> bool {
        matches!(self, Self::BeforeTool | Self::AfterTool)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
