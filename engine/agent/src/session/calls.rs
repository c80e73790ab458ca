//! The calls of one answer: refused, announced, made, recorded. Those that only read go side by side; everything
//! else goes alone, in the order of the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::Course;
use super::end::Stopped;
use super::hooks::{Asked, Hooks};
use super::limits::{MOST_CALLS, SIDE_BY_SIDE};
use super::step::Step;
use crate::model::{Answer, Stop, ToolCall};
use crate::tool::{Admission, Admitted, Calls, Effect, FINISH, HostError, ToolOutcome};

enum Planned {
    Refused(String),
    Admitted(Admitted),
}

impl Course<'_> {
    /// Makes the calls of the last answer that have no outcome yet.
    pub(super) async fn make_calls(&mut self) -> Result<(), Stopped> {
        let Some(answer) = self.history.pending.answer.clone() else { return Ok(()) };
        if answer.stop == Stop::Length {
            return self.refuse_calls(&answer).await;
        }
        let mut outcomes = self.history.pending.outcomes.clone();
        let mut next = 0;
        let calls = &answer.calls[..answer.calls.len().min(MOST_CALLS)];
        while next < calls.len() {
            let number = next as u32;
            if outcomes.contains_key(&number) {
                next += 1;
                continue;
            }
            let group = self.group(calls, next, &outcomes);
            next += group.len();
            for (number, outcome) in self.make(group).await? {
                outcomes.insert(number, outcome);
            }
            if self.history.finished.is_some() {
                return Ok(());
            }
        }
        self.guard_outcomes(&answer, &outcomes)
    }

    fn admit(&self, call: &ToolCall, made: &Calls) -> Planned {
        match self.toolbox.admit(call, made) {
            Admission::Refused(why) => Planned::Refused(why),
            Admission::Admitted(admitted) => Planned::Admitted(admitted),
        }
    }

    /// Asks the hooks about a call that is about to be announced.
    async fn ask_hooks(&mut self, call: &ToolCall, admitted: Admitted) -> Result<Planned, Stopped> {
        let Some(asking) = self.asking(self.history.turns) else { return Ok(Planned::Admitted(admitted)) };
        let (tool, effect) = (admitted.name().to_owned(), admitted.effect());
        let said = Hooks::before_tool(&asking, &tool, effect, admitted.arguments()).await;
        let asked = asking.end();
        self.questions(asked).await?;
        Ok(match said? {
            Asked::Go(None) => Planned::Admitted(admitted),
            // What a hook wrote is no more than a model is trusted.
            Asked::Go(Some(arguments)) => {
                self.admit(&ToolCall { arguments, ..call.clone() }, &self.history.made)
            }
            Asked::No(why) => Planned::Refused(why),
        })
    }

    /// The next call, with those behind it that may go at the same time.
    fn group(
        &self,
        calls: &[ToolCall],
        from: usize,
        done: &BTreeMap<u32, ToolOutcome>,
    ) -> Vec<(u32, ToolCall, Planned)> {
        let mut group: Vec<(u32, ToolCall, Planned)> = Vec::new();
        for (at, call) in calls.iter().enumerate().skip(from) {
            let number = at as u32;
            if done.contains_key(&number) || group.len() >= SIDE_BY_SIDE {
                break;
            }
            let planned = match self.history.pending.announced.get(&number) {
                Some(cut) => {
                    let mut before = self.history.made.clone();
                    // It was counted when it was announced.
                    before.take(&call.name);
                    self.admit(&ToolCall { arguments: cut.arguments.clone(), ..call.clone() }, &before)
                }
                None => self.admit(call, &self.history.made),
            };
            let reads = matches!(&planned, Planned::Admitted(admitted) if admitted.effect() == Effect::Read && admitted.name() != FINISH)
                && !self.history.pending.announced.contains_key(&number);
            if !reads && !group.is_empty() {
                break;
            }
            group.push((number, call.clone(), planned));
            if !reads {
                break;
            }
        }
        group
    }

    async fn make(
        &mut self,
        group: Vec<(u32, ToolCall, Planned)>,
    ) -> Result<Vec<(u32, ToolOutcome)>, Stopped> {
        let turn = self.history.turns;
        let mut made = Vec::new();
        let mut going = Vec::new();
        for (number, call, planned) in group {
            let planned = match planned {
                Planned::Admitted(admitted) if !self.history.pending.announced.contains_key(&number) => {
                    self.ask_hooks(&call, admitted).await?
                }
                planned => planned,
            };
            match planned {
                Planned::Refused(why) => {
                    let outcome = ToolOutcome::Failed(why);
                    self.returned(turn, number, call.name, outcome.clone(), None).await?;
                    made.push((number, outcome));
                }
                Planned::Admitted(admitted) => {
                    let (tool, effect) = (admitted.name().to_owned(), admitted.effect());
                    let announced = self.history.pending.announced.get(&number).map(|cut| cut.effect);
                    if announced == Some(Effect::Network) {
                        // Nobody knows whether it happened, and it may not be a thing to do twice.
                        let why = "the engine was cut off during this call: it may have happened; look before you repeat it";
                        let outcome = ToolOutcome::Failed(why.to_owned());
                        self.returned(turn, number, tool, outcome.clone(), None).await?;
                        made.push((number, outcome));
                        continue;
                    }
                    if announced.is_none() {
                        if let Some(paces) = &self.session.paces {
                            let waited = self.cancel.run_until_cancelled(paces.take(&tool)).await;
                            waited.ok_or(Stopped::Lost)?;
                        }
                        let arguments = admitted.arguments().clone();
                        self.record(Step::ToolCalled {
                            turn,
                            call: number,
                            tool: tool.clone(),
                            effect,
                            arguments,
                        })
                        .await?;
                    }
                    going.push((number, tool, effect, admitted));
                }
            }
        }
        let (session, toolbox) = (self.session, Arc::clone(&self.toolbox));
        let toolbox = &toolbox;
        let cancel = self.cancel;
        let mut working: FuturesUnordered<_> = going
            .into_iter()
            .map(|(number, tool, effect, admitted)| async move {
                let outcome = toolbox.call(admitted, &*session.host, &*session.notes, cancel).await;
                (number, tool, effect, outcome)
            })
            .collect();
        while let Some((number, tool, effect, outcome)) = working.next().await {
            let outcome = outcome.map_err(stopped)?;
            let outcome = match self.asking(turn) {
                Some(asking) => {
                    let outcome = Hooks::after_tool(&asking, &tool, effect, outcome).await;
                    let asked = asking.end();
                    self.questions(asked).await?;
                    outcome?
                }
                None => outcome,
            };
            let tree = match effect {
                Effect::Read | Effect::Network => None,
                Effect::Write | Effect::Destructive => session.host.snapshot().await.map_err(stopped)?,
            };
            self.returned(turn, number, tool, outcome.clone(), tree).await?;
            made.push((number, outcome));
        }
        Ok(made)
    }

    async fn returned(
        &mut self,
        turn: u32,
        call: u32,
        tool: String,
        outcome: ToolOutcome,
        tree: Option<String>,
    ) -> Result<(), Stopped> {
        self.record(Step::ToolReturned { turn, call, tool, outcome, tree }).await
    }

    /// Calls of an answer that was cut off are not what the model meant to call.
    pub(super) async fn refuse_calls(&mut self, answer: &Answer) -> Result<(), Stopped> {
        let turn = self.history.turns;
        for (number, call) in answer.calls.iter().take(MOST_CALLS).enumerate() {
            if self.history.pending.outcomes.contains_key(&(number as u32)) {
                continue;
            }
            let outcome = ToolOutcome::Failed("not made: the answer was cut off".to_owned());
            self.returned(turn, number as u32, call.name.clone(), outcome, None).await?;
        }
        Ok(())
    }

    pub(super) fn guard_calls(&mut self, answer: &Answer) -> Result<(), Stopped> {
        let calls = if answer.stop == Stop::Length { &[] } else { answer.calls.as_slice() };
        for call in calls.iter().take(MOST_CALLS) {
            self.guard.calls(&call.name, &call.arguments.to_string())?;
        }
        Ok(())
    }

    /// In the order of the answer, whatever order they came back in.
    pub(super) fn guard_outcomes(
        &mut self,
        answer: &Answer,
        outcomes: &BTreeMap<u32, ToolOutcome>,
    ) -> Result<(), Stopped> {
        for (number, outcome) in outcomes {
            if let Some(call) = answer.calls.get(*number as usize) {
                self.guard.returned(&call.name, &call.arguments.to_string(), outcome)?;
            }
        }
        self.guard.turned()
    }
}

pub(super) fn stopped(error: HostError) -> Stopped {
    match error {
        HostError::Cancelled => Stopped::Lost,
        other => Stopped::Host(other),
    }
}
