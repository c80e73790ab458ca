//! Nodes go round again, or stop before their time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::command::Command;
use super::super::event::Millis;
use super::super::state::{Due, Inst, Phase, RunStatus, State};
use crate::graph::{Edge, NodeIx, RegionIx};

impl State {
    /// A repair region goes round again.
    pub(super) fn start_round(&mut self, at: Millis, inst: Inst, round: u32) {
        let Some(region_ix) = self.node(inst).repair else { return };
        let scope = self.instance(inst).scope;
        let region = self.graph_of(scope).regions[region_ix.0 as usize].clone();
        let rounds = &mut self.scopes[scope as usize].rounds;
        rounds[region_ix.0 as usize] = round;
        for inner in &region.inner {
            rounds[inner.0 as usize] = 1;
        }
        for inner in &region.inner {
            let closer = self.graph_of(scope).regions[inner.0 as usize].closer;
            self.forget_failures(self.in_scope(scope, closer));
        }
        let left_behind =
            self.instance(inst).failure.as_ref().and_then(|failure| failure.tree.as_deref().map(Arc::from));
        let left_behind_taint = self.left_behind_taint(inst);
        let regions: Vec<RegionIx> = region.inner.iter().copied().chain([region_ix]).collect();
        self.reset(at, scope, &region.members.iter().copied().collect(), &regions);
        let first = self.in_scope(scope, region.from);
        let first = self.instance_mut(first);
        first.carried = left_behind;
        first.carried_taint = left_behind_taint;
    }

    /// A node and everything behind it is to be tried again, at the wish of a person.
    pub(super) fn retry_requested(&mut self, at: Millis, path: &str) {
        let Some(inst) = self.at(path).filter(|inst| self.instance(*inst).scope == 0) else { return };
        // A run that is being stopped comes to its end first.
        if self.status == RunStatus::Running && self.is_stopping() {
            return;
        }
        if !matches!(self.instance(inst).phase, Phase::Failed | Phase::Skipped | Phase::Cancelled) {
            return;
        }
        let mut members = BTreeSet::new();
        let mut next = vec![self.instance(inst).node];
        while let Some(node) = next.pop() {
            if members.insert(node) {
                next.extend(self.program.root().behind(node).map(|(other, _)| other));
            }
        }
        self.status = RunStatus::Running;
        self.cancelling = false;
        if self.wall_exceeded {
            self.wall_exceeded = false;
            self.active_ms = 0;
        }
        let regions: Vec<RegionIx> = (0_u32..)
            .map(RegionIx)
            .zip(&self.program.root().regions)
            .filter(|(_, region)| members.contains(&region.closer))
            .map(|(ix, _)| ix)
            .collect();
        for region in &regions {
            self.scopes[0].rounds[region.0 as usize] = 1;
        }
        for node in &members {
            self.forget_failures(self.in_scope(0, *node));
        }
        self.reset(at, 0, &members, &regions);
    }

    /// Failures from here on are not compared with earlier ones.
    fn forget_failures(&mut self, inst: Inst) {
        let instance = self.instance_mut(inst);
        instance.same_failure = 0;
        instance.round_failure = None;
    }

    /// Puts nodes of one scope back to the start and wakes those that can go. `regions` are those that start
    /// anew with them, inner ones first.
    fn reset(&mut self, at: Millis, scope: u32, members: &BTreeSet<NodeIx>, regions: &[RegionIx]) {
        for node in members {
            let inst = self.in_scope(scope, *node);
            self.abandon(inst);
            self.instance_mut(inst).session = None;
            let phase = self.instance(inst).phase;
            if phase.is_settled() {
                self.scopes[scope as usize].unsettled += 1;
                let (graph, base) = (self.scope(scope).graph, self.scope(scope).base);
                for (behind, edge) in Arc::clone(&self.program).graph(graph).behind(*node) {
                    if members.contains(&behind) {
                        continue;
                    }
                    let other = self.instance_mut(Inst(base + behind.0));
                    match edge {
                        Edge::Needs => {
                            other.needs_left += 1;
                            other.succeeded_needs -= u32::from(phase == Phase::Succeeded);
                        }
                        Edge::Order => other.order_left += 1,
                    }
                }
            }
        }
        let innermost = self.innermost_rounds(scope, regions);
        for node in members {
            let inst = self.in_scope(scope, *node);
            let (mut needs_left, mut order_left, mut succeeded_needs) = (0, 0, 0);
            for (before, edge) in self.graph_of(scope).before(*node) {
                let phase = self.instance(self.in_scope(scope, before)).phase;
                let open = members.contains(&before) || !phase.is_settled();
                match edge {
                    Edge::Needs => {
                        needs_left += u32::from(open);
                        succeeded_needs += u32::from(!open && phase == Phase::Succeeded);
                    }
                    Edge::Order => order_left += u32::from(open),
                }
            }
            let instance = self.instance_mut(inst);
            instance.phase = Phase::Pending;
            instance.tries = 0;
            instance.same_tries = 0;
            instance.round = innermost.get(node).copied().unwrap_or(1);
            instance.needs_left = needs_left;
            instance.order_left = order_left;
            instance.succeeded_needs = succeeded_needs;
            instance.started_at = None;
            instance.ended_at = None;
            instance.skipped_for = None;
            instance.outputs = None;
            instance.tree = None;
            instance.carried = None;
            instance.seen = None;
            instance.gate = None;
            instance.children = None;
            instance.escalation = None;
        }
        let mut settled = VecDeque::new();
        for node in members {
            let inst = self.in_scope(scope, *node);
            self.consider(inst, &mut settled);
        }
        self.settle_all(at, &mut settled);
    }

    fn innermost_rounds(&self, scope: u32, regions: &[RegionIx]) -> BTreeMap<NodeIx, u32> {
        let mut rounds = BTreeMap::new();
        for ix in regions {
            let round = self.round(scope, *ix);
            for member in &self.graph_of(scope).regions[ix.0 as usize].members {
                rounds.entry(*member).or_insert(round);
            }
        }
        rounds
    }

    /// Stops whatever a node is doing. What is in flight stays in flight until its end is reported, but its
    /// answer will count for nothing.
    pub(super) fn abandon(&mut self, inst: Inst) {
        self.withdraw(inst);
        self.retire_children(inst);
        self.settle_session(inst);
        let instance = self.instance(inst);
        let (path, attempt) = (Arc::clone(&instance.path), instance.attempt);
        self.tell_to_stop(&path, attempt);
    }

    /// Takes the sub-graphs of a node out of the run.
    pub(super) fn retire_children(&mut self, inst: Inst) {
        for scope in self.child_scopes(inst) {
            for child in self.scope_instances(scope) {
                self.abandon(child);
                let instance = self.instance_mut(child);
                instance.retired = true;
                if !instance.phase.is_settled() {
                    instance.phase = Phase::Cancelled;
                }
                let (path, attempt) = (Arc::clone(&instance.path), instance.attempt);
                self.paths.remove(&path);
                self.retired.insert(path, attempt);
            }
        }
        self.instance_mut(inst).children = None;
    }

    fn tell_to_stop(&mut self, path: &Arc<str>, attempt: u32) {
        if let Some(flight) = self.inflight.get_mut(&(Arc::clone(path), attempt))
            && !flight.told_to_stop
        {
            flight.told_to_stop = true;
            let command = Command::CancelNode { node: Arc::clone(path), attempt };
            self.todo.insert((Due::CancelNode, flight.inst, attempt), command);
        }
    }

    /// Nothing new starts; what is in flight is cancelled; the rest is over.
    pub(super) fn stop_everything(&mut self, at: Millis) {
        self.ready.clear();
        self.timers.clear();
        self.todo.retain(|(due, ..), _| *due == Due::CancelNode);
        let in_flight: Vec<(Arc<str>, u32)> = self.inflight.keys().cloned().collect();
        for (path, attempt) in &in_flight {
            self.tell_to_stop(path, *attempt);
        }
        let mut settled: VecDeque<(Inst, Phase)> = self
            .instances()
            .filter(|(_, instance)| {
                !instance.phase.is_settled()
                    && instance.phase != Phase::Expanded
                    && !self.inflight.contains_key(&(Arc::clone(&instance.path), instance.attempt))
            })
            .map(|(inst, _)| (inst, Phase::Cancelled))
            .collect();
        self.settle_all(at, &mut settled);
    }
}
