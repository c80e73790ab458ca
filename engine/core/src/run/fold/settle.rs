//! A node comes to an end, and what follows from it for the nodes behind it and for its scope.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::command::Command;
use super::super::event::{Failure, FailureClass, Millis};
use super::super::state::{Due, Inst, Phase, State};
use crate::graph::Edge;

impl State {
    /// Settles a node and everything that follows from it. A work list instead of recursion: a chain of skipped
    /// nodes may be as long as the graph.
    pub(super) fn settle(&mut self, at: Millis, inst: Inst, phase: Phase) {
        let mut settled = VecDeque::from([(inst, phase)]);
        self.settle_all(at, &mut settled);
    }

    pub(super) fn settle_all(&mut self, at: Millis, settled: &mut VecDeque<(Inst, Phase)>) {
        while let Some((inst, phase)) = settled.pop_front() {
            if self.instance(inst).phase.is_settled() {
                continue;
            }
            let flowed = self.flowed(inst, phase);
            let instance = self.instance_mut(inst);
            instance.flowed = flowed;
            instance.phase = phase;
            instance.ended_at = Some(at);
            let (scope, node) = (instance.scope, instance.node);
            let here = &mut self.scopes[scope as usize];
            here.unsettled -= 1;
            let (graph, base) = (here.graph, here.base);
            let program = Arc::clone(&self.program);
            for (behind, edge) in program.graph(graph).behind(node) {
                let behind = Inst(base + behind.0);
                let other = self.instance_mut(behind);
                match edge {
                    Edge::Needs => {
                        other.needs_left -= 1;
                        other.succeeded_needs += u32::from(phase == Phase::Succeeded);
                    }
                    Edge::Order => other.order_left -= 1,
                }
                self.consider(behind, settled);
            }
            if self.scope(scope).unsettled == 0 {
                self.scope_done(at, scope, settled);
            }
        }
    }

    /// Every node of a sub-graph is settled: the next item starts, or the node that holds the sub-graph ends.
    fn scope_done(&mut self, at: Millis, scope: u32, settled: &mut VecDeque<(Inst, Phase)>) {
        let Some(parent) = self.scope(scope).parent else { return };
        let Some(children) = &mut self.instance_mut(parent).children else { return };
        children.left -= 1;
        let (left, opened, count) = (children.left, children.scopes.len() as u32, children.count);
        if self.instance(parent).phase != Phase::Expanded {
            return;
        }
        if self.is_stopping() {
            if left == count - opened {
                settled.push_back((parent, Phase::Cancelled));
            }
        } else if opened < count {
            let graph = self.sub_graph(parent);
            let next = self.open_child(graph, parent, opened);
            self.wake_nodes(next, settled);
        } else if left == 0 {
            self.children_done(at, parent);
        }
    }

    pub(super) fn children_done(&mut self, at: Millis, parent: Inst) {
        let failed: Vec<(Arc<str>, Option<Arc<Failure>>)> = self
            .child_scopes(parent)
            .into_iter()
            .flat_map(|scope| self.scope_instances(scope))
            .filter(|inst| matches!(self.instance(*inst).phase, Phase::Failed | Phase::Cancelled))
            .map(|inst| (self.instance(inst).path.clone(), self.instance(inst).failure.clone()))
            .collect();
        let (path, attempt) = (self.instance(parent).path.clone(), self.instance(parent).attempt);
        self.instance_mut(parent).flowed.work = self.inner_work(parent);
        if failed.is_empty() {
            self.instance_mut(parent).phase = Phase::Collecting;
            self.todo.insert((Due::Collect, parent, attempt), Command::Collect { node: path, attempt });
            return;
        }
        // A no of a person says more about the whole than what else went wrong.
        let rejected = |failure: &&Arc<Failure>| failure.class == FailureClass::Review;
        let failures = || failed.iter().filter_map(|(_, failure)| failure.as_ref());
        let first = failures().find(rejected).or_else(|| failures().next()).cloned();
        let names: Vec<&str> = failed.iter().take(5).map(|(path, _)| &**path).collect();
        let more = if failed.len() > 5 { format!(" and {} more", failed.len() - 5) } else { String::new() };
        let failure = Failure {
            class: first.as_ref().map_or(FailureClass::Command, |failure| failure.class),
            fingerprint: first.as_ref().and_then(|failure| failure.fingerprint.clone()),
            ..Failure::new(FailureClass::Command, format!("{}{more} failed", names.join(", ")))
        };
        let escalation = self
            .child_scopes(parent)
            .into_iter()
            .flat_map(|scope| self.scope_instances(scope))
            .filter(|inst| self.instance(*inst).phase == Phase::Failed)
            .find_map(|inst| self.instance(inst).escalation.clone());
        self.instance_mut(parent).escalation = escalation;
        self.failed(at, parent, &failure);
    }

    pub(in super::super) fn child_scopes(&self, parent: Inst) -> Vec<u32> {
        self.instance(parent).children.as_ref().map(|children| children.scopes.clone()).unwrap_or_default()
    }

    pub(in super::super) fn scope_instances(&self, scope: u32) -> impl Iterator<Item = Inst> + use<> {
        let base = self.scope(scope).base;
        let nodes = self.graph_of(scope).nodes.len() as u32;
        (base..base + nodes).map(Inst)
    }
}
