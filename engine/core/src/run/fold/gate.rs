//! What happens at gates. Silence, lateness and a yes to something else are all a no.

use std::sync::Arc;

use super::super::event::{Decision, Failure, FailureClass, Millis, TimerPurpose};
use super::super::state::{Inst, OpenGate, Phase, State};
use crate::format::OnTimeout;
use crate::graph::Action;

impl State {
    pub(super) fn gate_opened(
        &mut self,
        at: Millis,
        inst: Inst,
        subject: &str,
        ask: Option<&str>,
        tree: Option<&str>,
    ) {
        if self.is_stopping() {
            return self.settle(at, inst, Phase::Cancelled);
        }
        let gate = OpenGate {
            subject: subject.to_owned(),
            ask: ask.map(str::to_owned),
            tree: tree.map(str::to_owned),
            ..OpenGate::default()
        };
        self.instance_mut(inst).gate = Some(Box::new(gate));
        // The time to decide begins when the question was asked.
        if let Action::Gate(gate) = &self.node(inst).action
            && let Some(expires) = gate.expires
        {
            self.start_timer(TimerPurpose::GateExpiry, inst, expires);
        }
    }

    /// The gate that waits for a decision about this very subject.
    pub(super) fn open_at(&self, path: &str, attempt: u32, subject: &str) -> Option<Inst> {
        let inst = self.current(path, attempt, Phase::Waiting)?;
        self.instance(inst).gate.as_ref().is_some_and(|open| open.subject == subject).then_some(inst)
    }

    pub(super) fn decided(
        &mut self,
        at: Millis,
        inst: Inst,
        decision: Decision,
        by: &str,
        reason: Option<&str>,
    ) {
        let Action::Gate(gate) = &self.node(inst).action else { return };
        let min = gate.min as usize;
        let Some(open) = &mut self.instance_mut(inst).gate else { return };
        match decision {
            Decision::Approved => {
                open.approvals.insert(by.to_owned());
                if open.approvals.len() >= min {
                    // What was approved is what was shown, and nothing else goes on from here.
                    let shown = open.tree.as_deref().map(Arc::from);
                    self.instance_mut(inst).tree = shown;
                    self.withdraw(inst);
                    self.settle(at, inst, Phase::Succeeded);
                }
            }
            Decision::Rejected => {
                let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let tree = open.tree.clone();
                let failure =
                    Failure { tree, ..Failure::new(FailureClass::Review, format!("rejected by {by}{why}")) };
                self.failed(at, inst, &failure);
            }
        }
    }

    /// Nobody decided in time.
    pub(super) fn expired(&mut self, at: Millis, inst: Inst) {
        let Action::Gate(gate) = &self.node(inst).action else { return };
        let on_timeout = gate.on_timeout;
        let tree = self.instance(inst).gate.as_ref().and_then(|open| open.tree.clone());
        let failure = Failure {
            tree,
            ..Failure::new(FailureClass::Review, "nobody decided in time, which counts as no")
        };
        match on_timeout {
            // A check refuses `approve`; should it ever come here, silence is still a no.
            OnTimeout::Reject | OnTimeout::Approve => self.failed(at, inst, &failure),
            OnTimeout::Escalate => {
                self.instance_mut(inst).failure = Some(Arc::new(failure));
                self.escalate(inst);
            }
        }
    }
}
