//! A command was issued, so it may have been done: what is due becomes what is in flight. Never does anything
//! that is not due.

use std::cmp::Reverse;
use std::sync::Arc;

use super::super::command::Command;
use super::super::event::{Millis, Timer, TimerPurpose};
use super::super::state::{Due, Flight, Inst, Phase, RunStatus, State, Work};

impl State {
    pub(super) fn issued(&mut self, at: Millis, command: &Command) {
        match command {
            Command::Evaluate { node, attempt } => {
                if let Some(inst) = self.take_due(Due::Evaluate, node, *attempt) {
                    self.take_off(at, inst, Phase::Evaluating, Work::NoPlace);
                }
            }
            Command::StartNode { node, attempt, .. } => {
                if let Some(inst) = self.current(node, *attempt, Phase::Ready)
                    && self.ready.remove(&(Reverse(self.height(inst)), inst))
                {
                    self.places_taken += 1;
                    self.instance_mut(inst).flowed.work = self.taint(inst);
                    self.take_off(at, inst, Phase::Running, Work::Place);
                }
            }
            Command::OpenGate { node, attempt, .. } => {
                if let Some(inst) = self.take_due(Due::OpenGate, node, *attempt) {
                    self.take_off(at, inst, Phase::Waiting, Work::NoPlace);
                }
            }
            Command::StartTimer { timer, after_ms } => self.timer_started(at, timer, *after_ms),
            Command::CancelNode { node, attempt } => {
                if let Some(flight) = self.inflight.get(&(Arc::clone(node), *attempt)) {
                    self.todo.remove(&(Due::CancelNode, flight.inst, *attempt));
                }
            }
            Command::Collect { node, attempt } => {
                if let Some(inst) = self.take_due(Due::Collect, node, *attempt) {
                    self.take_off(at, inst, Phase::Collecting, Work::NoPlace);
                }
            }
            Command::StartRound { node, round } => {
                if let Some(inst) = self.at(node) {
                    let due = (Due::StartRound, inst, self.instance(inst).attempt);
                    if self.todo.get(&due) == Some(command) {
                        self.todo.remove(&due);
                        self.start_round(at, inst, *round);
                    }
                }
            }
            Command::Escalate { node, attempt } => {
                if let Some(inst) = self.take_due(Due::Escalate, node, *attempt) {
                    self.take_off(at, inst, Phase::Escalating, Work::NoPlace);
                }
            }
            Command::Finish { outcome } => {
                if self.status == RunStatus::Running {
                    self.status = RunStatus::Finished(*outcome);
                    self.timers.clear();
                    self.todo.clear();
                }
            }
        }
    }

    fn take_due(&mut self, due: Due, path: &str, attempt: u32) -> Option<Inst> {
        let inst = self.at(path)?;
        self.todo.remove(&(due, inst, attempt)).map(|_| inst)
    }

    fn take_off(&mut self, at: Millis, inst: Inst, phase: Phase, work: Work) {
        let instance = self.instance_mut(inst);
        instance.phase = phase;
        if matches!(phase, Phase::Running | Phase::Waiting | Phase::Evaluating) {
            instance.started_at = Some(at);
        }
        let key = (Arc::clone(&instance.path), instance.attempt);
        self.inflight.insert(key, Flight { inst, phase, work, told_to_stop: false });
    }

    fn timer_started(&mut self, at: Millis, timer: &Timer, after_ms: u64) {
        let Some(inst) =
            timer.node.as_ref().and_then(|node| self.take_due(Due::StartTimer, node, timer.attempt))
        else {
            return;
        };
        self.timers.insert(timer.clone(), at.saturating_add(after_ms));
        if timer.purpose == TimerPurpose::Wait {
            let instance = self.instance_mut(inst);
            instance.phase = Phase::Waiting;
            instance.started_at = Some(at);
        }
    }
}
