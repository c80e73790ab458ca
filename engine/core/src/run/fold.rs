//! Facts become state. Total: a fact that is late, doubled or about nothing known changes nothing.

use std::sync::Arc;

use super::command::Command;
use super::event::{
    Adopted, Evaluated, Event, Failure, FailureClass, LostBecause, Millis, Success, Timer, TimerPurpose,
};
use super::state::{Due, Inst, Phase, RunStatus, State, Work};
use crate::graph::{Action, GraphIx};

mod issued;
mod start;
mod gate;
mod expand;
mod settle;
mod reset;

/// The same failure this many times in a row ends retries and repairs.
const SAME_FAILURE_LIMIT: u32 = 3;

impl State {
    /// Takes in one fact that became known `at` some time.
    pub fn fold(&mut self, at: Millis, event: &Event) {
        self.pass_time(at, event);
        match event {
            Event::RunStarted(start) => {
                if self.status == RunStatus::NotStarted {
                    self.status = RunStatus::Running;
                    self.start = Some(start.clone());
                    let root = self.open_scope(GraphIx::ROOT, None, 0);
                    self.wake_scope(root, at);
                }
            }
            Event::DriverStarted { images, .. } => {
                for image in images {
                    self.images.insert(image.recipe.clone(), image.clone());
                }
            }
            Event::Issued(command) => self.issued(at, command),
            Event::NodeEvaluated { node, attempt, result } => {
                if let Some(inst) = self.answered(node, *attempt, &[Phase::Evaluating]) {
                    self.evaluated(at, inst, result);
                }
            }
            Event::NodeSucceeded { node, attempt, success } => {
                if let Some(inst) = self.answered(node, *attempt, &[Phase::Running, Phase::Collecting]) {
                    self.succeed(at, inst, success);
                }
            }
            Event::NodeFailed { node, attempt, failure } => {
                let phases = [Phase::Running, Phase::Evaluating, Phase::Collecting, Phase::Waiting];
                if let Some(inst) = self.answered(node, *attempt, &phases) {
                    self.failed(at, inst, failure);
                }
            }
            Event::SessionAdvanced { node, attempt, step } => {
                if let Some(inst) = self.current(node, *attempt, Phase::Running) {
                    self.session_advanced(inst, step);
                }
            }
            Event::CommandLost { node, attempt, because } => self.lost(at, node, *attempt, *because),
            Event::GateOpened { node, attempt, subject, ask, tree } => {
                if let Some(inst) = self.answered(node, *attempt, &[Phase::Waiting]) {
                    self.gate_opened(at, inst, subject, ask.as_deref(), tree.as_deref());
                }
            }
            Event::GateDecided { node, attempt, decision, by, reason, subject } => {
                if let Some(inst) = self.open_at(node, *attempt, subject) {
                    self.decided(at, inst, *decision, by, reason.as_deref());
                }
            }
            Event::TimerFired { timer } => self.fired(at, timer),
            Event::Escalated { node, attempt, record } => {
                if let Some(inst) = self.answered(node, *attempt, &[Phase::Escalating]) {
                    self.instance_mut(inst).escalation = Some(record.clone());
                    self.settle(at, inst, Phase::Failed);
                }
            }
            Event::CancelRequested { .. } => {
                if self.status == RunStatus::Running {
                    let stopping = self.is_stopping();
                    self.cancelling = true;
                    if !stopping {
                        self.stop_everything(at);
                    }
                }
            }
            Event::RetryRequested { node, .. } => self.retry_requested(at, node),
            Event::NodeAdopted { node, adopted } => self.adopt(at, node, adopted),
        }
    }

    fn pass_time(&mut self, at: Millis, event: &Event) {
        // No process drove the run before this one started: that time costs nothing.
        let gap = matches!(event, Event::DriverStarted { .. } | Event::RunStarted(_));
        if let Some(last) = self.last_at
            && !gap
            && self.is_active()
        {
            self.active_ms = self.active_ms.saturating_add(at.saturating_sub(last));
        }
        self.began_at.get_or_insert(at);
        self.last_at = Some(at);
    }

    /// An answer to what was issued in one of `phases` came, so it is no longer in flight. Everything is answered
    /// once; what comes later, or without having been asked for, counts for nothing.
    fn drain(&mut self, path: &Arc<str>, attempt: u32, phases: &[Phase]) -> Option<Inst> {
        let key = (Arc::clone(path), attempt);
        let flight = *self.inflight.get(&key).filter(|flight| phases.contains(&flight.phase))?;
        self.inflight.remove(&key);
        if flight.work == Work::Place {
            self.places_taken -= 1;
        }
        if flight.told_to_stop {
            self.todo.remove(&(Due::CancelNode, flight.inst, attempt));
        }
        Some(flight.inst)
    }

    /// The instance that was answered, if it still waits for this very attempt.
    fn answered(&mut self, path: &Arc<str>, attempt: u32, phases: &[Phase]) -> Option<Inst> {
        let inst = self.drain(path, attempt, phases)?;
        let instance = self.instance(inst);
        (instance.attempt == attempt && phases.contains(&instance.phase)).then_some(inst)
    }

    fn current(&self, path: &str, attempt: u32, phase: Phase) -> Option<Inst> {
        let inst = self.at(path)?;
        let instance = self.instance(inst);
        (instance.attempt == attempt && instance.phase == phase).then_some(inst)
    }

    fn evaluated(&mut self, at: Millis, inst: Inst, result: &Evaluated) {
        if self.is_stopping() {
            return self.settle(at, inst, Phase::Cancelled);
        }
        match (result, &self.node(inst).action) {
            (Evaluated::Skip, _) => self.settle(at, inst, Phase::Skipped),
            (Evaluated::Expand { count, scopes }, Action::Use(uses))
                if uses.each.is_some() || *count == 1 =>
            {
                self.expand(at, inst, *count, scopes);
            }
            (Evaluated::Run, action) if !matches!(action, Action::Use(_)) => self.line_up(inst),
            (Evaluated::Run | Evaluated::Expand { .. }, action) => {
                let message = format!("what evaluation gave does not fit a {} node", action.kind());
                self.failed(at, inst, &Failure::new(FailureClass::Infra, message));
            }
        }
    }

    fn succeed(&mut self, at: Millis, inst: Inst, success: &Success) {
        self.settle_session(inst);
        let instance = self.instance_mut(inst);
        instance.outputs.clone_from(&success.outputs);
        instance.tree = success.tree.as_deref().map(Arc::from);
        instance.record = success.record.clone();
        instance.same_tries = 0;
        instance.same_failure = 0;
        instance.round_failure = None;
        self.settle(at, inst, Phase::Succeeded);
    }

    /// A try failed: another try, another round, a person, or the end.
    fn failed(&mut self, at: Millis, inst: Inst, failure: &Failure) {
        self.settle_session(inst);
        if self.is_stopping() {
            return self.settle(at, inst, Phase::Cancelled);
        }
        self.withdraw(inst);
        let retry = self.node(inst).retry.clone();
        let region = self.region(inst);
        let failure = Arc::new(failure.clone());
        let instance = self.instance_mut(inst);
        let last = if instance.same_tries > 0 { instance.failure.as_deref() } else { None };
        instance.same_tries = if is_same(last, &failure) { instance.same_tries + 1 } else { 1 };
        instance.failure = Some(Arc::clone(&failure));
        instance.record = failure.record.clone();
        instance.tree = failure.tree.as_deref().map(Arc::from);
        let (path, attempt, tries) = (instance.path.clone(), instance.attempt, instance.tries);
        let stuck = instance.same_tries >= SAME_FAILURE_LIMIT;
        if retry.on.contains(&failure.class) && tries < retry.attempts && !stuck {
            instance.phase = Phase::Backoff;
            return self.start_timer(TimerPurpose::Backoff, inst, retry.pause(tries));
        }
        let Some(region) = region.filter(|_| failure.class.repairable()) else {
            return self.settle(at, inst, Phase::Failed);
        };
        let same = is_same(instance.round_failure.as_deref(), &failure);
        instance.same_failure = if same { instance.same_failure + 1 } else { 1 };
        instance.round_failure = Some(failure);
        if region.round < region.rounds && instance.same_failure < SAME_FAILURE_LIMIT {
            instance.phase = Phase::Repairing;
            let command = Command::StartRound { node: path, round: region.round + 1 };
            self.todo.insert((Due::StartRound, inst, attempt), command);
        } else {
            self.escalate(inst);
        }
    }

    fn escalate(&mut self, inst: Inst) {
        let instance = self.instance_mut(inst);
        instance.phase = Phase::Escalating;
        let (path, attempt) = (instance.path.clone(), instance.attempt);
        self.todo.insert((Due::Escalate, inst, attempt), Command::Escalate { node: path, attempt });
    }

    /// An attempt has no outcome. Being cut off is nobody's fault, so it costs no try; but a new number keeps
    /// the answer of the old attempt away, should one come after all.
    fn lost(&mut self, at: Millis, path: &Arc<str>, attempt: u32, because: LostBecause) {
        let phases =
            [Phase::Running, Phase::Evaluating, Phase::Collecting, Phase::Escalating, Phase::Waiting];
        let Some(inst) = self.answered(path, attempt, &phases) else { return };
        self.withdraw(inst);
        self.settle_session(inst);
        if self.is_stopping() || because == LostBecause::Cancelled {
            return self.settle(at, inst, Phase::Cancelled);
        }
        let instance = self.instance_mut(inst);
        instance.attempt += 1;
        let (node, attempt) = (instance.path.clone(), instance.attempt);
        match instance.phase {
            Phase::Evaluating => {
                self.todo.insert((Due::Evaluate, inst, attempt), Command::Evaluate { node, attempt });
            }
            Phase::Collecting => {
                self.todo.insert((Due::Collect, inst, attempt), Command::Collect { node, attempt });
            }
            Phase::Escalating => self.escalate(inst),
            _ => self.line_up(inst),
        }
    }

    fn fired(&mut self, at: Millis, timer: &Timer) {
        if timer.purpose == TimerPurpose::Wall {
            if self.status == RunStatus::Running && self.program.wall.is_some() && !self.wall_exceeded {
                let stopping = self.is_stopping();
                self.wall_exceeded = true;
                if !stopping {
                    self.stop_everything(at);
                }
            }
            return;
        }
        if self.timers.remove(timer).is_none() {
            return;
        }
        let Some(path) = &timer.node else { return };
        match timer.purpose {
            TimerPurpose::Wait => {
                if let Some(inst) = self.current(path, timer.attempt, Phase::Waiting) {
                    self.settle(at, inst, Phase::Succeeded);
                }
            }
            TimerPurpose::Backoff => {
                if let Some(inst) = self.current(path, timer.attempt, Phase::Backoff) {
                    self.try_again(inst);
                }
            }
            TimerPurpose::GateExpiry => {
                if let Some(inst) = self.current(path, timer.attempt, Phase::Waiting) {
                    self.expired(at, inst);
                }
            }
            TimerPurpose::Wall => {}
        }
    }

    fn adopt(&mut self, at: Millis, path: &str, adopted: &Adopted) {
        let Some(inst) = self.at(path).filter(|inst| !self.instance(*inst).phase.is_settled()) else {
            return;
        };
        self.abandon(inst);
        match adopted {
            Adopted::Succeeded(success) => self.succeed(at, inst, success),
            Adopted::Skipped => self.settle(at, inst, Phase::Skipped),
        }
    }

    fn is_stopping(&self) -> bool {
        self.cancelling || self.wall_exceeded
    }

    fn height(&self, inst: Inst) -> u32 {
        let instance = self.instance(inst);
        self.graph_of(instance.scope).heights[instance.node.at()]
    }
}

/// Whether a node failed in the same way as before. Without a fingerprint nobody can say so.
fn is_same(before: Option<&Failure>, failure: &Failure) -> bool {
    failure.fingerprint.is_some() && before.is_some_and(|before| before.fingerprint == failure.fingerprint)
}
