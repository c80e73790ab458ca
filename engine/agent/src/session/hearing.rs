//! What a session hears of one call of its model: lines for the log as they arrive, and tries that failed and may have
//! been billed. Each of these is settled on record and reserved anew before the call is made once more, so that no
//! budget is spent twice over; a budget that does not allow it ends the call.

use async_trait::async_trait;

use super::Session;
use super::end::Stopped;
use super::step::{RecordError, Spend, Step};
use crate::model::{Delta, Listener, ModelError};

/// Hears one call.
pub(super) struct Hearing<'a> {
    session: &'a Session,
    /// The step that announced the call.
    call: Step,
    turn: u32,
    reserve: Spend,
    /// The most the node may spend, and what its session spent before this call.
    spent: (Option<u64>, u64),
    line: String,
    /// Steps that were recorded while the call went on.
    pub(super) steps: Vec<Step>,
    /// Why the call is not made once more.
    pub(super) stopped: Option<Stopped>,
}

impl<'a> Hearing<'a> {
    /// Of the call that `call` announced in this turn. `spent` is money and tokens of the session so far.
    pub(super) fn new(
        session: &'a Session,
        call: Step,
        turn: u32,
        reserve: Spend,
        spent: (Option<u64>, u64),
    ) -> Self {
        Self { session, call, turn, reserve, spent, line: String::new(), steps: Vec::new(), stopped: None }
    }

    /// Writes down what is left of the last line.
    pub(super) fn end(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.session.host.note(&line);
        }
    }

    /// How a try is settled that may have been billed.
    pub(super) fn failure(&self, error: &ModelError, spent: Spend) -> Step {
        Step::ModelFailed {
            turn: self.turn,
            model: error.model.clone(),
            spent,
            message: self.session.host.redact(&error.to_string()),
            fault: Some(error.fault),
        }
    }

    async fn once_more(&mut self, failed: &ModelError) -> Result<(), Stopped> {
        let failure = self.failure(failed, self.reserve);
        self.record(failure).await?;
        let (cost, tokens) = self.spent;
        let cost = cost.zip(self.reserve.cost_micros).map(|(spent, more)| spent.saturating_add(more));
        self.spent = (cost, tokens.saturating_add(self.reserve.tokens));
        self.session.limits.allow(&*self.session.model, self.spent, self.reserve)?;
        self.record(self.call.clone()).await
    }

    async fn record(&mut self, step: Step) -> Result<(), Stopped> {
        self.session.recorder.record(step.clone()).await.map_err(|error| match error {
            RecordError::Budget(why) => Stopped::Budget(why),
            RecordError::Lost(_) => Stopped::Lost,
        })?;
        self.steps.push(step);
        Ok(())
    }
}

#[async_trait]
impl Listener for Hearing<'_> {
    fn delta(&mut self, delta: Delta<'_>) {
        let Delta::Text(text) = delta else { return };
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
