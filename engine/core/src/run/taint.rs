//! What really reached a node in a run, from what its needs really left and from what was really approved. The check has
//! said beforehand how bad it can get at most; a driver does not start a node that would be worse.

use super::state::{Inst, Phase, State};
use crate::expr::Reference;
use crate::format::{Tier, Workspace};
use crate::graph::{Action, Edge, NodeIx, Read, SubKind};
use crate::trust::{of_response, of_work};

/// What flowed through an instance in its last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flowed {
    /// What it ran, with all it read.
    pub work: Tier,
    /// The tree it left.
    pub left: Tier,
    /// Its outputs.
    pub output: Tier,
}

impl Default for Flowed {
    fn default() -> Self {
        Self { work: Tier::Trusted, left: Tier::Trusted, output: Tier::Trusted }
    }
}

impl State {
    /// The least trusted tier among what a node is to run and all it reads, as the run stands.
    pub fn taint(&self, inst: Inst) -> Tier {
        of_work(self.node(inst)).0.max(self.read_taint(inst))
    }

    /// What flows through an instance that comes to this end.
    pub(super) fn flowed(&self, inst: Inst, phase: Phase) -> Flowed {
        let node = self.node(inst);
        let (tree, work) = (self.tree_taint(inst), self.instance(inst).flowed.work);
        if phase != Phase::Succeeded {
            let left = if self.instance(inst).tree.is_some() { tree.max(work) } else { tree };
            return Flowed { work, left, output: work };
        }
        match &node.action {
            Action::Use(_) => Flowed {
                work: self.inner_work(inst).max(work),
                left: self.collected_taint(inst),
                output: self.returned_taint(inst),
            },
            _ => {
                let left = if node.writes_workspace() { tree.max(work) } else { tree };
                let response = of_response(node).map_or(Tier::Trusted, |(tier, _)| tier);
                let scope = self.instance(inst).scope;
                let from = node
                    .outputs
                    .iter()
                    .flat_map(|output| &output.from)
                    .flat_map(crate::expr::Expr::references);
                let named =
                    from.map(|reference| self.name_taint(scope, Some(self.instance(inst).node), reference));
                Flowed { work, left, output: named.fold(work.max(response), Tier::max) }
            }
        }
    }

    /// What a further round starts from, if it builds on what this node left when it failed.
    pub(super) fn left_behind_taint(&self, inst: Inst) -> Tier {
        self.tree_taint(inst).max(self.instance(inst).flowed.work)
    }

    /// What the nodes inside of a node have run.
    pub(super) fn inner_work(&self, inst: Inst) -> Tier {
        let inside = self.child_scopes(inst).into_iter().flat_map(|scope| self.scope_instances(scope));
        inside.map(|inner| self.instance(inner).flowed.work).max().unwrap_or(Tier::Trusted)
    }

    fn read_taint(&self, inst: Inst) -> Tier {
        let node = self.node(inst);
        let mut tier = self.lesson_taint(inst);
        if node.workspace != Workspace::None {
            tier = tier.max(self.tree_taint(inst));
        }
        let scope = self.instance(inst).scope;
        for (read, reference) in node.reads() {
            if matches!(read, Read::Data | Read::Header) {
                tier = tier.max(self.name_taint(scope, Some(self.instance(inst).node), reference));
            }
        }
        tier
    }

    /// Why earlier rounds failed, of which an agent is told.
    fn lesson_taint(&self, inst: Inst) -> Tier {
        let instance = self.instance(inst);
        if !matches!(self.node(inst).action, Action::Agent(_)) {
            return Tier::Trusted;
        }
        let graph = self.graph_of(instance.scope);
        let rounds = &self.scope(instance.scope).rounds;
        let told = graph.regions.iter().zip(rounds).filter(|(region, round)| {
            **round > 1
                && region.members.binary_search(&instance.node).is_ok()
                && !graph.node(region.closer).is_human_gate()
        });
        told.map(|(region, _)| self.instance(self.in_scope(instance.scope, region.closer)).flowed.work)
            .max()
            .unwrap_or(Tier::Trusted)
    }

    /// The tree that a node starts from. All its needs that count have come to an end.
    fn tree_taint(&self, inst: Inst) -> Tier {
        let instance = self.instance(inst);
        if instance.carried.is_some() {
            return instance.carried_taint;
        }
        if self.node(inst).needs.is_empty() {
            let parent = self.scope(instance.scope).parent;
            return parent.map_or(self.program.base, |parent| self.tree_taint(parent));
        }
        let left = self
            .tree_needs(inst)
            .filter(|need| !self.is_approved(inst, *need))
            .map(|need| self.instance(need).flowed.left);
        left.max().unwrap_or(Tier::Trusted)
    }

    /// Whether what a need left was approved by a person, for this node.
    fn is_approved(&self, inst: Inst, need: Inst) -> bool {
        let passed = |gate: Inst| {
            let node = self.node(gate);
            node.is_human_gate()
                && node.join != crate::format::Join::Any
                && self.instance(gate).phase == Phase::Succeeded
        };
        passed(need)
            || (self.node(inst).approved.needs.contains(&self.instance(need).node)
                && self.needs(inst).any(passed))
    }

    /// What a sub-graph left: the trees of all nodes that no other node needs.
    fn collected_taint(&self, inst: Inst) -> Tier {
        let scopes = self.child_scopes(inst);
        if scopes.is_empty() {
            return self.tree_taint(inst);
        }
        let mut tier = Tier::Trusted;
        for scope in scopes {
            let graph = self.graph_of(scope);
            for at in (0..graph.nodes.len() as u32).map(NodeIx) {
                let end = self.in_scope(scope, at);
                let node = graph.node(at);
                let needed = graph.behind(at).any(|(_, edge)| edge == Edge::Needs);
                let approved = node.is_human_gate()
                    && node.join != crate::format::Join::Any
                    && self.instance(end).phase == Phase::Succeeded;
                if !needed && !approved {
                    tier = tier.max(self.instance(end).flowed.left);
                }
            }
        }
        tier
    }

    fn returned_taint(&self, inst: Inst) -> Tier {
        let mut tier = Tier::Trusted;
        for scope in self.child_scopes(inst) {
            let graph = self.graph_of(scope);
            if graph.kind == SubKind::Body {
                let inside = self.scope_instances(scope).map(|inner| self.instance(inner).flowed.output);
                tier = tier.max(inside.max().unwrap_or(Tier::Trusted));
            }
            for reference in graph.returns.iter().flat_map(|(_, value, _)| value.references()) {
                tier = tier.max(self.name_taint(scope, None, reference));
            }
        }
        tier
    }

    /// What a name stands for, where it is named in `scope` by `reader`, or by what the graph returns.
    fn name_taint(&self, scope: u32, reader: Option<NodeIx>, reference: &Reference) -> Tier {
        let path: Vec<&str> = reference.path.iter().map(String::as_str).collect();
        // The body of an `each` names what is around it.
        if self.graph_of(scope).kind == SubKind::Body
            && let Some(parent) = self.scope(scope).parent
        {
            if let ["item" | "index", ..] = path.as_slice() {
                return self.item_taint(parent);
            }
            return self.name_taint(self.instance(parent).scope, Some(self.instance(parent).node), reference);
        }
        let graph = self.graph_of(scope);
        match path.as_slice() {
            ["inputs", name, ..] => match self.scope(scope).parent {
                None => {
                    let input = graph.inputs.iter().find(|input| &*input.name == *name);
                    input.map_or(Tier::Trusted, |input| input.tier)
                }
                Some(parent) => self.given_taint(parent, name, graph),
            },
            ["nodes", _, "status"] => Tier::Trusted,
            ["nodes", name, ..] => {
                let Some(source) = graph.by_name.get(*name).copied() else { return Tier::Trusted };
                let approved = match reader {
                    Some(reader) => &graph.node(reader).approved.outputs,
                    None => &graph.approved_returns,
                };
                if approved.contains(&source) && self.was_shown(scope, source) {
                    return Tier::Trusted;
                }
                self.instance(self.in_scope(scope, source)).flowed.output
            }
            ["item" | "index", ..] => {
                reader.map_or(Tier::Trusted, |reader| self.item_taint(self.in_scope(scope, reader)))
            }
            _ => Tier::Trusted,
        }
    }

    /// Whether a gate that shows the outputs of a node was passed.
    fn was_shown(&self, scope: u32, source: NodeIx) -> bool {
        let graph = self.graph_of(scope);
        graph.behind(source).any(|(gate, edge)| {
            edge == Edge::Needs
                && graph.node(gate).is_human_gate()
                && graph.node(gate).join != crate::format::Join::Any
                && self.instance(self.in_scope(scope, gate)).phase == Phase::Succeeded
        })
    }

    /// The items of the list that a node runs a graph for.
    fn item_taint(&self, inst: Inst) -> Tier {
        let Action::Use(uses) = &self.node(inst).action else { return Tier::Trusted };
        let (scope, reader) = (self.instance(inst).scope, Some(self.instance(inst).node));
        let list = uses.each.iter().flat_map(|each| each.list.references());
        list.map(|reference| self.name_taint(scope, reader, reference)).max().unwrap_or(Tier::Trusted)
    }

    /// An input that a node gives to the graph it uses.
    fn given_taint(&self, parent: Inst, name: &str, graph: &crate::graph::Graph) -> Tier {
        let declared = graph.inputs.iter().find(|input| &*input.name == name);
        let mut tier = declared.map_or(Tier::Trusted, |input| input.tier);
        let Action::Use(uses) = &self.node(parent).action else { return tier };
        let (scope, reader) = (self.instance(parent).scope, Some(self.instance(parent).node));
        for (_, value) in uses.with.iter().filter(|(given, _)| &**given == name) {
            for reference in value.references() {
                tier = tier.max(self.name_taint(scope, reader, reference));
            }
        }
        tier
    }
}
