//! What should happen now. Deterministic, and asks for nothing that was issued already.

use super::command::Command;
use super::event::Outcome;
use super::state::{Due, Inst, Phase, RunStatus, State};

impl State {
    /// The commands that are due: those that take no place, then the ready nodes with the longest way to go, as
    /// many as there are places.
    ///
    /// The driver journals each as [`super::Event::Issued`], folds that and does it, and then plans again until
    /// nothing is due: a round that starts is planned alone, since it can take back everything else.
    pub fn plan(&self) -> Vec<Command> {
        if self.status != RunStatus::Running {
            return Vec::new();
        }
        let rounds = (Due::StartRound, Inst(0), 0)..(Due::Escalate, Inst(0), 0);
        if let Some((_, round)) = self.todo.range(rounds).next() {
            return vec![round.clone()];
        }
        let mut commands: Vec<Command> = self.todo.values().cloned().collect();
        let places = self.start().map_or(1, |start| start.jobs.max(1)).saturating_sub(self.places_taken);
        commands.extend(self.ready.iter().take(places as usize).map(|(_, inst)| {
            let instance = self.instance(*inst);
            Command::StartNode {
                node: instance.path.clone(),
                attempt: instance.attempt,
                round: instance.round,
                taint: Some(self.taint(*inst)),
            }
        }));
        if commands.is_empty() && self.is_drained() {
            commands.push(Command::Finish { outcome: self.outcome() });
        }
        commands
    }

    fn is_drained(&self) -> bool {
        self.inflight.is_empty() && self.scopes.first().is_some_and(|root| root.unsettled == 0)
    }

    /// How the run ends, from how its nodes ended.
    fn outcome(&self) -> Outcome {
        if self.cancelling {
            return Outcome::Cancelled;
        }
        let root = &self.scopes[0];
        let nodes = self.program.root().nodes.len();
        let ended = &self.instances[root.base as usize..root.base as usize + nodes];
        let failed = |instance: &&super::Instance| instance.phase == Phase::Failed;
        if ended.iter().filter(failed).any(|i| i.escalation.is_some()) {
            return Outcome::Escalated;
        }
        let rejected = |i: &super::Instance| {
            i.failure.as_ref().is_some_and(|failure| failure.class == super::FailureClass::Review)
        };
        if ended.iter().filter(failed).any(rejected) {
            return Outcome::Rejected;
        }
        if self.wall_exceeded || ended.iter().any(|i| matches!(i.phase, Phase::Failed | Phase::Cancelled)) {
            return Outcome::Failed;
        }
        Outcome::Succeeded
    }
}
