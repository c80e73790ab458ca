//! The conversation, made from steps alone: what a session that goes on knows is what the one before it recorded.

use std::collections::BTreeMap;

use serde_json::Value;

use super::limits::MOST_CALLS;
use super::step::Step;
use crate::model::{Answer, Message, Origin, ToolResult};
use crate::tool::{Calls, Effect, ToolOutcome};

/// A call that was announced and has no outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CutOff {
    pub(super) effect: Effect,
    /// With these arguments, which a hook may have changed.
    pub(super) arguments: Value,
}

/// The calls of the last answer, as far as they were made.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) answer: Option<Answer>,
    pub(super) outcomes: BTreeMap<u32, ToolOutcome>,
    pub(super) announced: BTreeMap<u32, CutOff>,
}

/// What happened so far.
#[derive(Debug)]
pub(super) struct History {
    pub(super) messages: Vec<Message>,
    pub(super) pending: Pending,
    pub(super) turns: u32,
    pub(super) tool_calls: u32,
    /// How often each tool was called.
    pub(super) made: Calls,
    /// How often each hook was answered by a model, or not.
    pub(super) hooks: BTreeMap<String, usize>,
    pub(super) tokens: u64,
    pub(super) cost_micros: Option<u64>,
    pub(super) model: Option<String>,
    pub(super) unreal: Option<Origin>,
    pub(super) text: String,
    /// Corrections that were told, in a row.
    pub(super) told: Vec<String>,
    /// The value it finished with.
    pub(super) finished: Option<Value>,
    open: Option<super::Spend>,
}

impl History {
    pub(super) fn new(prompt: String) -> Self {
        Self {
            messages: vec![Message::User { text: prompt }],
            pending: Pending::default(),
            turns: 0,
            tool_calls: 0,
            made: Calls::default(),
            hooks: BTreeMap::new(),
            tokens: 0,
            cost_micros: Some(0),
            model: None,
            unreal: None,
            text: String::new(),
            told: Vec::new(),
            finished: None,
            open: None,
        }
    }

    /// Takes in one step. Everything the session knows comes through here.
    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::ModelCalled { reserve, .. } | Step::HookAsked { reserve, .. } => {
                self.settle();
                self.open = Some(*reserve);
            }
            Step::ModelAnswered { answer, .. } => {
                self.open = None;
                self.turns += 1;
                self.spend(answer.usage.total(), answer.cost_micros);
                self.model = Some(answer.model.clone());
                if answer.origin != Origin::Provider {
                    self.unreal = Some(answer.origin);
                }
                if !answer.text.is_empty() {
                    self.text.clone_from(&answer.text);
                }
                self.messages.push(answer.message());
                self.pending = Pending { answer: Some((**answer).clone()), ..Pending::default() };
                if answer.calls.is_empty() {
                    self.pending.answer = None;
                }
            }
            Step::HookAnswered { answer, hook, .. } => {
                self.open = None;
                *self.hooks.entry(hook.clone()).or_default() += 1;
                self.spend(answer.usage.total(), answer.cost_micros);
                if answer.origin != Origin::Provider {
                    self.unreal = Some(answer.origin);
                }
            }
            Step::HookFailed { spent, hook, .. } => {
                self.open = None;
                *self.hooks.entry(hook.clone()).or_default() += 1;
                self.spend(spent.tokens, spent.cost_micros);
            }
            Step::ModelFailed { spent, .. } => {
                self.open = None;
                self.spend(spent.tokens, spent.cost_micros);
            }
            Step::ToolCalled { call, effect, tool, arguments, .. } => {
                self.tool_calls += 1;
                self.made.add(tool);
                self.pending
                    .announced
                    .insert(*call, CutOff { effect: *effect, arguments: arguments.clone() });
            }
            Step::ToolReturned { call, outcome, .. } => {
                self.pending.announced.remove(call);
                if let ToolOutcome::Finish(value) = outcome {
                    self.finished = Some(value.clone());
                }
                self.pending.outcomes.insert(*call, outcome.clone());
                self.close();
            }
            Step::Told { text, .. } => {
                self.told.push(text.clone());
                self.messages.push(Message::User { text: text.clone() });
            }
            Step::Offered { .. } => {}
            Step::Compacted { messages, .. } => self.messages.clone_from(messages),
        }
    }

    /// A call that was announced and never settled: it may have cost what it could.
    pub(super) fn settle(&mut self) {
        if let Some(open) = self.open.take() {
            self.spend(open.tokens, open.cost_micros);
        }
    }

    fn spend(&mut self, tokens: u64, cost: Option<u64>) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.cost_micros = self.cost_micros.zip(cost).map(|(sum, cost)| sum.saturating_add(cost));
    }

    /// When every call has an outcome, the model is told.
    fn close(&mut self) {
        let Some(answer) = &self.pending.answer else { return };
        if self.pending.outcomes.len() < answer.calls.len().min(MOST_CALLS) {
            return;
        }
        let results = answer
            .calls
            .iter()
            .enumerate()
            .map(|(number, call)| {
                let outcome =
                    u32::try_from(number).ok().and_then(|number| self.pending.outcomes.get(&number));
                let (ok, content) = match outcome {
                    Some(ToolOutcome::Done(text)) => (true, text.clone()),
                    Some(ToolOutcome::Failed(text)) => (false, text.clone()),
                    Some(ToolOutcome::Finish(_)) => (true, "finished".to_owned()),
                    None => {
                        (false, format!("not tried: only the first {MOST_CALLS} calls of an answer are made"))
                    }
                };
                ToolResult { id: call.id.clone(), name: call.name.clone(), content, ok }
            })
            .collect();
        self.messages.push(Message::Tools { results });
        self.pending = Pending::default();
    }
}
