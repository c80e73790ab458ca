//! What must hold on every path, resolved: an invariant of a `[[prove]]` with its names looked up.

use std::sync::Arc;

use super::program::NodeIx;
use crate::format::{Approval, Effect, Tier};
use crate::source::Span;

/// The kinds of nodes, as they are written.
pub const KINDS: [&str; 9] = ["run", "edit", "http", "agent", "gate", "ci", "forge", "wait", "use"];

/// An invariant.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Where it is written.
    pub span: Span,
    /// What it claims.
    pub what: What,
    /// It is about changes to these paths only.
    pub touches: Option<Arc<str>>,
}

/// What an invariant claims.
#[derive(Debug, Clone)]
pub enum What {
    /// Whenever one of these starts, something has come to pass.
    Before(Vec<Target>, Vec<Passed>),
    /// Whenever one of these succeeds in a run that succeeds, something has come to pass in that run.
    After(Vec<Target>, Vec<Passed>),
    /// Nothing of a tier reaches something.
    Never(Vec<(Kept, Tier)>),
}

/// A node, or all nodes of a sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One.
    Node(NodeIx),
    /// All of a kind, such as `agent`.
    Kind(&'static str),
    /// All that do something to the world.
    Effect(Effect),
}

/// What has come to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// A node succeeded.
    Node(NodeIx),
    /// A node of a kind succeeded.
    Kind(&'static str),
    /// Somebody approved.
    Approval(Approval),
}

/// What is kept from what is less trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nodes whose commands or tools can use a secret.
    Secrets,
    /// Nodes whose commands or tools may reach hosts.
    Network,
    /// Nodes that change something elsewhere.
    Effects,
}
