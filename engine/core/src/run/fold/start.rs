//! A node starts: whether it may, and what it waits for next. Asks for things only; what is asked for takes
//! effect when it is issued.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::super::command::Command;
use super::super::event::{Timer, TimerPurpose};
use super::super::state::{Due, Inst, Phase, State};
use crate::format::Join;
use crate::graph::Action;

impl State {
    /// Looks whether a pending node can start or must be skipped.
    pub(super) fn consider(&mut self, inst: Inst, settled: &mut VecDeque<(Inst, Phase)>) {
        let instance = self.instance(inst);
        if instance.phase != Phase::Pending || instance.order_left > 0 {
            return;
        }
        let node = self.node(inst);
        let needs = u32::try_from(node.needs.len()).unwrap_or(u32::MAX);
        let (left, succeeded) = (instance.needs_left, instance.succeeded_needs);
        let start = match node.join {
            Join::Any if succeeded > 0 || needs == 0 => true,
            Join::All | Join::Any | Join::Settled if left > 0 => return,
            Join::All => succeeded == needs,
            Join::Any => false,
            Join::Settled => true,
        };
        if self.is_stopping() {
            settled.push_back((inst, Phase::Cancelled));
        } else if start {
            self.try_again(inst);
        } else {
            let scope = instance.scope;
            let reason = node.needs.iter().copied().find(|need| {
                let phase = self.instance(self.in_scope(scope, *need)).phase;
                phase.is_settled() && phase != Phase::Succeeded
            });
            self.instance_mut(inst).skipped_for = reason;
            settled.push_back((inst, Phase::Skipped));
        }
    }

    /// A try begins, the first of a round or a later one.
    pub(super) fn try_again(&mut self, inst: Inst) {
        self.retire_children(inst);
        self.end_session(inst);
        let evaluate = self.node(inst).needs_evaluation();
        if self.node(inst).join == Join::Any && self.instance(inst).seen.is_none() {
            let scope = self.instance(inst).scope;
            let settled = self
                .node(inst)
                .needs
                .iter()
                .copied()
                .filter(|need| self.instance(self.in_scope(scope, *need)).phase.is_settled());
            let seen = settled.collect();
            self.instance_mut(inst).seen = Some(seen);
        }
        let instance = self.instance_mut(inst);
        instance.attempt += 1;
        instance.tries += 1;
        // The record of a person's hand-over inside a former try says nothing about this one.
        instance.escalation = None;
        if evaluate {
            instance.phase = Phase::Evaluating;
            let (node, attempt) = (instance.path.clone(), instance.attempt);
            self.todo.insert((Due::Evaluate, inst, attempt), Command::Evaluate { node, attempt });
        } else {
            self.line_up(inst);
        }
    }

    /// The node is to run; depending on its kind it waits for a place or not.
    pub(super) fn line_up(&mut self, inst: Inst) {
        let pause = match &self.node(inst).action {
            Action::Wait(pause) => Some(*pause),
            _ => None,
        };
        let gate = matches!(self.node(inst).action, Action::Gate(_));
        let instance = self.instance_mut(inst);
        instance.phase = Phase::Ready;
        let (node, attempt, round) = (instance.path.clone(), instance.attempt, instance.round);
        if let Some(pause) = pause {
            self.start_timer(TimerPurpose::Wait, inst, pause);
        } else if gate {
            self.todo.insert((Due::OpenGate, inst, attempt), Command::OpenGate { node, attempt, round });
        } else {
            self.ready.insert((Reverse(self.height(inst)), inst));
        }
    }

    pub(super) fn start_timer(&mut self, purpose: TimerPurpose, inst: Inst, after: Duration) {
        let instance = self.instance(inst);
        let attempt = instance.attempt;
        let timer = Timer { purpose, node: Some(Arc::clone(&instance.path)), attempt };
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.todo.insert((Due::StartTimer, inst, attempt), Command::StartTimer { timer, after_ms });
    }

    /// Takes a node out of everything that would make it move.
    pub(super) fn withdraw(&mut self, inst: Inst) {
        let height = self.height(inst);
        let instance = self.instance(inst);
        let (phase, path, attempt) = (instance.phase, Arc::clone(&instance.path), instance.attempt);
        let due: &[Due] = match phase {
            Phase::Ready => &[Due::OpenGate, Due::StartTimer],
            Phase::Waiting | Phase::Backoff => &[Due::StartTimer],
            Phase::Evaluating => &[Due::Evaluate],
            Phase::Collecting => &[Due::Collect],
            Phase::Repairing => &[Due::StartRound],
            Phase::Escalating => &[Due::Escalate],
            Phase::Pending
            | Phase::Running
            | Phase::Expanded
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Skipped
            | Phase::Cancelled => return,
        };
        if matches!(phase, Phase::Waiting | Phase::Backoff) {
            for purpose in [TimerPurpose::Wait, TimerPurpose::Backoff, TimerPurpose::GateExpiry] {
                self.timers.remove(&Timer { purpose, node: Some(Arc::clone(&path)), attempt });
            }
        }
        if phase == Phase::Ready {
            self.ready.remove(&(Reverse(height), inst));
        }
        for due in due {
            self.todo.remove(&(*due, inst, attempt));
        }
    }
}
