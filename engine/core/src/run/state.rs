//! What the facts add up to. Changed by `fold` alone; everything else only looks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::command::Command;
use super::event::{BuiltImage, Failure, Millis, Outcome, Payload, RunStart, Timer};
use super::session::{Session, Spend, Spent};
use super::taint::Flowed;
use crate::format::Tier;
use crate::graph::{Graph, GraphIx, Node, NodeIx, Program, RegionIx};

/// A node of one scope: the number of an [`Instance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inst(pub u32);

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for its needs.
    Pending,
    /// Its condition, list or inputs are being evaluated.
    Evaluating,
    /// Waits for a place.
    Ready,
    /// Works.
    Running,
    /// A gate waits for a decision, or a pause for its end.
    Waiting,
    /// Waits before another try.
    Backoff,
    /// Its sub-graph runs.
    Expanded,
    /// The results of its sub-graph are being put together.
    Collecting,
    /// Failed; a further round is about to start.
    Repairing,
    /// Failed for good; a record for a person is being written.
    Escalating,
    /// Did its work.
    Succeeded,
    /// Did not do its work.
    Failed,
    /// Its condition is false, or a need did not succeed.
    Skipped,
    /// Ended because somebody wanted the run to end, or a budget was used up.
    Cancelled,
}

impl Phase {
    /// True if nothing more will happen to the node in this round.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped | Self::Cancelled)
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Evaluating => "evaluating",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Backoff => "backoff",
            Self::Expanded => "expanded",
            Self::Collecting => "collecting",
            Self::Repairing => "repairing",
            Self::Escalating => "escalating",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One node in one scope.
#[derive(Debug, Clone)]
pub struct Instance {
    /// The scope it is in.
    pub scope: u32,
    /// Which node of the scope's graph.
    pub node: NodeIx,
    /// Its path: `verify`, `build[2]`, `deploy/canary`.
    pub path: Arc<str>,
    /// Where it stands.
    pub phase: Phase,
    /// Tries since the run began; the fence against late answers.
    pub attempt: u32,
    /// Tries in this round.
    pub tries: u32,
    /// The round of the innermost repair region around it, or 1.
    pub round: u32,
    /// Needs that are not settled.
    pub(super) needs_left: u32,
    /// Regions that must close before it may look inside.
    pub(super) order_left: u32,
    /// Needs that succeeded.
    pub(super) succeeded_needs: u32,
    /// How many tries of this round failed in the same way, up to the last.
    pub(super) same_tries: u32,
    /// How many rounds ended in the same failure, up to the last.
    pub same_failure: u32,
    /// The failure that the last round ended in.
    pub(super) round_failure: Option<Arc<Failure>>,
    /// The sub-graph it is part of was given up.
    pub(super) retired: bool,
    /// When the current or last attempt was issued.
    pub started_at: Option<Millis>,
    /// When it was settled.
    pub ended_at: Option<Millis>,
    /// Why it was skipped, if a need is the reason.
    pub skipped_for: Option<NodeIx>,
    /// Typed outputs.
    pub outputs: Option<Payload>,
    /// The commit of its output tree; its input tree if there is none.
    pub tree: Option<Arc<str>>,
    /// For the first node of a repair region from the second round on: the commit it starts from in place of
    /// what its needs made, so that a round builds on the one before.
    pub carried: Option<Arc<str>>,
    /// For nodes that join with "any": the needs that had come to an end when it started. What others leave later is not
    /// part of what it starts from, and so not of what it passes on.
    pub(super) seen: Option<Arc<[NodeIx]>>,
    /// How much what it carries can be trusted.
    pub(super) carried_taint: Tier,
    /// What flowed through it in its last attempt.
    pub flowed: Flowed,
    /// The last failure; kept when a later round succeeds.
    pub failure: Option<Arc<Failure>>,
    /// What else is on record of the last attempt.
    pub record: serde_json::Value,
    /// For gates: what an approval is bound to, and who approved.
    pub gate: Option<Box<OpenGate>>,
    /// For sub-graphs.
    pub children: Option<Box<Children>>,
    /// The escalation record.
    pub escalation: Option<Payload>,
    /// For agents: what was done so far in this try.
    pub session: Option<Box<Session>>,
}

/// An open gate.
#[derive(Debug, Clone, Default)]
pub struct OpenGate {
    /// What an approval is bound to.
    pub subject: String,
    /// The question.
    pub ask: Option<String>,
    /// The commit of the tree that is to be approved.
    pub tree: Option<String>,
    /// Who approved so far.
    pub approvals: BTreeSet<String>,
}

/// The scopes of a node that runs a sub-graph.
#[derive(Debug, Clone)]
pub struct Children {
    /// The inputs of each.
    pub scopes_data: Payload,
    /// How many there are in all.
    pub count: u32,
    /// The scopes that were opened.
    pub scopes: Vec<u32>,
    /// How many are not done.
    pub(super) left: u32,
}

/// A graph in the course of a run.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Which graph.
    pub graph: GraphIx,
    /// The node that runs it.
    pub parent: Option<Inst>,
    /// Which item of the parent.
    pub index: u32,
    /// The instance of its first node; the others follow.
    pub base: u32,
    /// Nodes that are not settled.
    pub(super) unsettled: u32,
    /// The round of each repair region, from 1.
    pub(super) rounds: Vec<u32>,
}

/// A repair region as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The round that is going on, from 1.
    pub round: u32,
    /// All rounds together.
    pub rounds: u32,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// Nothing was started.
    NotStarted,
    /// It goes on.
    Running,
    /// It came to an end.
    Finished(Outcome),
}

/// What kind of work is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Place,
    NoPlace,
}

/// An attempt that was issued and has no outcome.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) inst: Inst,
    /// The phase it was issued for. One attempt is evaluated, worked on and collected under one number.
    pub(super) phase: Phase,
    pub(super) work: Work,
    /// That it must stop was decided already.
    pub(super) told_to_stop: bool,
}

/// The kinds of commands that are due whatever the number of places, in the order they are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Evaluate,
    OpenGate,
    StartTimer,
    CancelNode,
    Collect,
    StartRound,
    Escalate,
}

/// A run.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) program: Arc<Program>,
    pub(super) start: Option<Box<RunStart>>,
    /// The images that were built for it last, by the key of their recipe.
    pub(super) images: BTreeMap<String, BuiltImage>,
    pub(super) status: RunStatus,
    pub(super) scopes: Vec<Scope>,
    pub(super) instances: Vec<Instance>,
    pub(super) paths: BTreeMap<Arc<str>, Inst>,
    /// The last attempt of nodes whose sub-graph was given up.
    pub(super) retired: BTreeMap<Arc<str>, u32>,
    /// Nodes that wait for a place; those with the longest way to go first.
    pub(super) ready: BTreeSet<(Reverse<u32>, Inst)>,
    /// Commands that are due whatever the number of places, by kind, node and attempt.
    pub(super) todo: BTreeMap<(Due, Inst, u32), Command>,
    pub(super) inflight: BTreeMap<(Arc<str>, u32), Flight>,
    pub(super) places_taken: u32,
    pub(super) timers: BTreeMap<Timer, Millis>,
    pub(super) cancelling: bool,
    pub(super) wall_exceeded: bool,
    pub(super) active_ms: u64,
    pub(super) began_at: Option<Millis>,
    pub(super) last_at: Option<Millis>,
    pub(super) spent: Spent,
    pub(super) reserved: Spend,
}

impl State {
    /// A run of `program` that has not started.
    pub fn new(program: Arc<Program>) -> Self {
        Self {
            program,
            start: None,
            images: BTreeMap::new(),
            status: RunStatus::NotStarted,
            scopes: Vec::new(),
            instances: Vec::new(),
            paths: BTreeMap::new(),
            retired: BTreeMap::new(),
            ready: BTreeSet::new(),
            todo: BTreeMap::new(),
            inflight: BTreeMap::new(),
            places_taken: 0,
            timers: BTreeMap::new(),
            cancelling: false,
            wall_exceeded: false,
            active_ms: 0,
            began_at: None,
            last_at: None,
            spent: Spent::default(),
            reserved: Spend::default(),
        }
    }

    /// The graphs.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// How the run was started.
    pub fn start(&self) -> Option<&RunStart> {
        self.start.as_deref()
    }

    /// The images that were built for it, by the key of their recipe.
    pub fn images(&self) -> &BTreeMap<String, BuiltImage> {
        &self.images
    }

    /// Milliseconds from the first fact to the last.
    pub fn age_ms(&self) -> u64 {
        self.began_at.zip(self.last_at).map_or(0, |(began, last)| last.saturating_sub(began))
    }

    /// Where the run stands.
    pub fn status(&self) -> RunStatus {
        self.status
    }

    /// Every instance that is part of the run now, in the order it was made.
    pub fn instances(&self) -> impl Iterator<Item = (Inst, &Instance)> {
        (0_u32..).map(Inst).zip(&self.instances).filter(|(_, instance)| !instance.retired)
    }

    /// An instance.
    pub fn instance(&self, inst: Inst) -> &Instance {
        &self.instances[inst.0 as usize]
    }

    pub(super) fn instance_mut(&mut self, inst: Inst) -> &mut Instance {
        &mut self.instances[inst.0 as usize]
    }

    /// The instance at a path.
    pub fn at(&self, path: &str) -> Option<Inst> {
        self.paths.get(path).copied()
    }

    /// A scope.
    pub fn scope(&self, scope: u32) -> &Scope {
        &self.scopes[scope as usize]
    }

    /// The graph of a scope.
    pub fn graph_of(&self, scope: u32) -> &Graph {
        self.program.graph(self.scope(scope).graph)
    }

    /// The node of an instance.
    pub fn node(&self, inst: Inst) -> &Node {
        let instance = self.instance(inst);
        self.graph_of(instance.scope).node(instance.node)
    }

    /// The instance of a node in a scope.
    pub fn in_scope(&self, scope: u32, node: NodeIx) -> Inst {
        Inst(self.scope(scope).base + node.0)
    }

    /// The instances that `inst` needs.
    pub fn needs(&self, inst: Inst) -> impl Iterator<Item = Inst> {
        let scope = self.instance(inst).scope;
        self.node(inst).needs.iter().map(move |need| self.in_scope(scope, *need))
    }

    /// The needs whose trees `inst` starts from.
    pub fn tree_needs(&self, inst: Inst) -> impl Iterator<Item = Inst> {
        let instance = self.instance(inst);
        let needs = instance.seen.as_deref().unwrap_or_else(|| self.node(inst).needs.as_slice());
        needs.iter().map(move |need| self.in_scope(instance.scope, *need))
    }

    /// The repair region that `inst` closes, as it stands.
    pub fn region(&self, inst: Inst) -> Option<Region> {
        let ix = self.node(inst).repair?;
        let scope = self.instance(inst).scope;
        let region = &self.graph_of(scope).regions[ix.0 as usize];
        Some(Region { round: self.round(scope, ix), rounds: region.rounds })
    }

    pub(super) fn round(&self, scope: u32, region: RegionIx) -> u32 {
        self.scope(scope).rounds[region.0 as usize]
    }

    /// Attempts that were issued and have no outcome, by path.
    pub fn in_flight(&self) -> impl Iterator<Item = (&Arc<str>, u32)> {
        self.inflight.keys().map(|(path, attempt)| (path, *attempt))
    }

    /// Timers that run, and when they are due.
    pub fn timers(&self) -> impl Iterator<Item = (&Timer, Millis)> {
        self.timers.iter().map(|(timer, due)| (timer, *due))
    }

    /// Gates that wait for a decision.
    pub fn open_gates(&self) -> impl Iterator<Item = Inst> {
        self.instances().filter(|(_, i)| i.phase == Phase::Waiting && i.gate.is_some()).map(|(inst, _)| inst)
    }

    /// What is left of the wall budget, in milliseconds. Time in which the run only waits for people, or in
    /// which no process drives it, does not count.
    pub fn wall_left(&self) -> Option<u64> {
        let wall = u64::try_from(self.program.wall?.as_millis()).unwrap_or(u64::MAX);
        Some(wall.saturating_sub(self.active_ms))
    }

    /// True if something is going on that the wall budget counts.
    pub fn is_active(&self) -> bool {
        self.status == RunStatus::Running
            && (!self.inflight.is_empty()
                // Pauses sort before the ends of gates.
                || self.timers.keys().next().is_some_and(|timer| timer.purpose < super::TimerPurpose::GateExpiry))
    }
}
