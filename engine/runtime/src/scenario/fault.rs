//! What goes wrong in a scenario because the scenario says so. A fault of a model comes before its script is asked, so
//! that whoever asks again gets the answer. Never makes anything up that a real run could not meet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use blueprint_agent::model::{Answer, Listener, Model, ModelError, ModelFault, Origin, Request};
use blueprint_core::run::{Failure, FailureClass};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::stand::matches;
use crate::outside::Asker;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The answer of a model is not complete in time; it may have been billed.
    ModelTimeout,
    /// The provider limits the rate (429).
    RateLimited,
    /// The provider is overloaded (529).
    Overloaded,
    /// The answer breaks off; it may have been billed.
    Truncated,
    /// The process of a tool dies.
    ToolCrash,
    /// A command uses more memory than it may.
    SandboxMemory,
    /// The machine around a node fails.
    Infra,
    /// CI is red. Known, so that it can be refused with a reason.
    CiRed,
}

impl FaultKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ModelTimeout => "model_timeout",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Truncated => "truncated",
            Self::ToolCrash => "tool_crash",
            Self::SandboxMemory => "sandbox_memory",
            Self::Infra => "infra",
            Self::CiRed => "ci_red",
        }
    }

    /// How a model says it: class, words, and whether the provider may want money for it.
    fn of_model(self) -> Option<(ModelFault, &'static str, bool)> {
        match self {
            Self::ModelTimeout => Some((ModelFault::Timeout, "no complete answer in time", true)),
            Self::RateLimited => Some((ModelFault::RateLimited, "429 too many requests", false)),
            Self::Overloaded => Some((ModelFault::Overloaded, "529 overloaded", false)),
            Self::Truncated => Some((ModelFault::Unreachable, "the answer broke off", true)),
            Self::ToolCrash | Self::SandboxMemory | Self::Infra | Self::CiRed => None,
        }
    }

    /// Whether it happens in a session of an agent.
    pub(super) fn is_of_agents(self) -> bool {
        self == Self::ToolCrash || self.of_model().is_some()
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// At which nodes.
    pub at: String,
    /// Only in this round of repair.
    pub round: Option<u32>,
    /// Only in this turn of an agent, from 1.
    pub turn: Option<u32>,
    /// What.
    pub what: FaultKind,
    /// How often.
    pub times: u32,
    /// The line it is written in.
    pub line: usize,
}

/// The faults of one run, as far as they have not happened.
#[derive(Debug)]
pub(super) struct Faults {
    left: Vec<(Fault, AtomicU32)>,
    /// Attempts that a fault ended.
    ended: Mutex<BTreeSet<(String, u32)>>,
    /// The turn each agent is in.
    turns: Mutex<BTreeMap<String, u32>>,
}

impl Faults {
    pub(super) fn new(faults: &[Fault]) -> Self {
        let left = faults.iter().map(|fault| (fault.clone(), AtomicU32::new(fault.times))).collect();
        Self { left, ended: Mutex::default(), turns: Mutex::default() }
    }

    /// Those that did not happen as often as they should have.
    pub(super) fn unused(&self) -> Vec<Fault> {
        let left = self.left.iter().filter(|(_, left)| left.load(Ordering::SeqCst) > 0);
        left.map(|(fault, _)| fault.clone()).collect()
    }

    fn take(&self, who: Asker<'_>, turn: Option<u32>, fits: impl Fn(FaultKind) -> bool) -> Option<FaultKind> {
        let (fault, _) = self.left.iter().find(|(fault, left)| {
            fits(fault.what)
                && matches(&fault.at, who)
                && fault.round.is_none_or(|round| round == who.round)
                && fault.turn.is_none_or(|wanted| turn == Some(wanted))
                && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        })?;
        Some(fault.what)
    }

    /// What ends a node before it begins.
    pub(super) fn of_node(&self, who: Asker<'_>, program: Option<&str>) -> Option<Failure> {
        let kind =
            self.take(who, None, |kind| matches!(kind, FaultKind::SandboxMemory | FaultKind::Infra))?;
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).insert((who.node.to_owned(), who.attempt));
        Some(match kind {
            // The words and the class of a command that really did it.
            FaultKind::SandboxMemory => {
                let program = program.unwrap_or("the command");
                let message = format!("`{program}` used more memory than it may");
                let fingerprint = Some(crate::fingerprint::of(&message, &[]));
                Failure { fingerprint, ..Failure::new(FailureClass::Command, message) }
            }
            _ => Failure::new(
                FailureClass::Infra,
                "the machine failed around the node: a fault of the scenario",
            ),
        })
    }

    /// Whether a fault ended this attempt.
    pub(super) fn has_ended(&self, who: Asker<'_>) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.contains(&(who.node.to_owned(), who.attempt))
    }

    /// Whether the process of a tool dies now.
    pub(super) fn of_tool(&self, who: Asker<'_>) -> bool {
        let turn = self.turns.lock().unwrap_or_else(PoisonError::into_inner).get(who.node).copied();
        self.take(who, turn, |kind| kind == FaultKind::ToolCrash).is_some()
    }

    fn answered(&self, node: &str, turn: u32) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned(), turn);
    }
}

/// A model whose calls go wrong where the scenario says so.
#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) inner: Arc<dyn Model>,
    pub(super) faults: Arc<Faults>,
    pub(super) node: String,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) round: u32,
    /// Turns that were answered.
    pub(super) answered: AtomicU32,
}

#[async_trait]
impl Model for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn origin(&self) -> Origin {
        self.inner.origin()
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }

    fn longest_answer(&self) -> u64 {
        self.inner.longest_answer()
    }

    fn at_most(&self, input: u64, output: u64) -> Option<u64> {
        self.inner.at_most(input, output)
    }

    async fn answer(
        &self,
        request: &Request,
        on: &mut dyn Listener,
        cancel: &CancellationToken,
    ) -> Result<Answer, ModelError> {
        let who = Asker { node: &self.node, name: &self.name, attempt: self.attempt, round: self.round };
        let turn = self.answered.load(Ordering::SeqCst) + 1;
        let taken = self.faults.take(who, Some(turn), |kind| kind.of_model().is_some());
        if let Some((fault, message, maybe_billed)) = taken.and_then(FaultKind::of_model) {
            let message = format!("{message} (a fault of the scenario)");
            let model = self.name().to_owned();
            return Err(ModelError { model, fault, message, retry_after: None, maybe_billed });
        }
        let answer = self.inner.answer(request, on, cancel).await?;
        self.answered.store(turn, Ordering::SeqCst);
        self.faults.answered(&self.node, turn);
        Ok(answer)
    }
}
