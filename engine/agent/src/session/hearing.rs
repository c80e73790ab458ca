//! What a session hears of one call of a model: lines for the log as they arrive, and tries that failed and may have
//! been billed. Each of these is settled on record and reserved anew before the call is made once more, so that no
//! budget is spent twice over; a budget that does not allow it ends the call.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::end::Stopped;
use super::step::{Spend, Step};
use super::{Session, recorded};
use crate::model::{Delta, Listener, Model, ModelError};

/// Hears one call.
pub(super) struct Hearing<'a> {
    session: &'a Session,
    model: &'a dyn Model,
    /// The step that announced the call.
    call: Step,
    turn: u32,
    reserve: Spend,
    /// Money and tokens that the session spent, tries of this call included that were settled.
    spent: (Option<u64>, u64),
    line: String,
    /// Steps that were recorded while the call went on. They stay with whoever made the call, who may stop listening.
    steps: &'a Mutex<Vec<Step>>,
    /// Why the call is not made once more.
    pub(super) stopped: Option<Stopped>,
}

impl<'a> Hearing<'a> {
    /// Of the call that `call` announced in this turn, by a session that has spent this much.
    pub(super) fn new(
        session: &'a Session,
        model: &'a dyn Model,
        call: Step,
        turn: u32,
        reserve: Spend,
        spent: (Option<u64>, u64),
        steps: &'a Mutex<Vec<Step>>,
    ) -> Self {
        Self { session, model, call, turn, reserve, spent, line: String::new(), steps, stopped: None }
    }

    /// Writes down what is left of the last line.
    pub(super) fn end(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.session.host.note(&line);
        }
    }

    /// How a try is settled that failed.
    pub(super) fn failure(&self, error: &ModelError) -> Step {
        let nothing = Spend { cost_micros: Some(0), tokens: 0 };
        let spent = if error.maybe_billed { self.reserve } else { nothing };
        let (turn, model) = (self.turn, error.model.clone());
        let message = self.session.host.redact(&error.to_string());
        match &self.call {
            Step::HookAsked { hook, .. } => {
                let (hook, fault) = (hook.clone(), Some(error.fault));
                Step::HookFailed { turn, hook, model, spent, message, fault }
            }
            _ => Step::ModelFailed { turn, model, spent, message, fault: Some(error.fault) },
        }
    }

    async fn once_more(&mut self, failed: &ModelError) -> Result<(), Stopped> {
        self.record(self.failure(failed)).await?;
        let (cost, tokens) = self.spent;
        let cost = cost.zip(self.reserve.cost_micros).map(|(spent, more)| spent.saturating_add(more));
        self.spent = (cost, tokens.saturating_add(self.reserve.tokens));
        self.session.limits.allow(self.model, self.spent, self.reserve)?;
        self.record(self.call.clone()).await
    }

    async fn record(&mut self, step: Step) -> Result<(), Stopped> {
        recorded(self.session, &step).await?;
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        Ok(())
    }
}

#[async_trait]
impl Listener for Hearing<'_> {
    fn delta(&mut self, delta: Delta<'_>) {
        let (Delta::Text(text), Step::ModelCalled { .. }) = (delta, &self.call) else { return };
        self.line.push_str(text);
        while let Some(end) = self.line.find('\n') {
            self.session.host.note(&self.line[..end]);
            self.line.drain(..=end);
        }
    }

    async fn again(&mut self, failed: &ModelError) -> bool {
        match self.once_more(failed).await {
            Ok(()) => true,
            Err(stopped) => {
                self.stopped = Some(stopped);
                false
            }
        }
    }
}
