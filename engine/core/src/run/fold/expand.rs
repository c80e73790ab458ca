//! Scopes are opened: the graph of the run itself, and sub-graphs once for each item.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::event::{Millis, Payload};
use super::super::state::{Children, Inst, Instance, Phase, Scope, State};
use super::super::taint::Flowed;
use crate::format::Tier;
use crate::graph::{Action, Edge, GraphIx, NodeIx, SubKind};

impl State {
    /// Makes the instances of a graph. Nothing starts yet.
    pub(super) fn open_scope(&mut self, graph_ix: GraphIx, parent: Option<Inst>, index: u32) -> u32 {
        let program = Arc::clone(&self.program);
        let graph = program.graph(graph_ix);
        let scope = self.scopes.len() as u32;
        let base = self.instances.len() as u32;
        let prefix = parent.map(|parent| {
            let each = matches!(&self.node(parent).action, Action::Use(uses) if uses.each.is_some());
            let path = &self.instance(parent).path;
            if each { format!("{path}[{index}]") } else { path.to_string() }
        });
        for (number, node) in graph.nodes.iter().enumerate() {
            let ix = NodeIx(number as u32);
            let path: Arc<str> = match (&prefix, graph.kind) {
                (None, _) => Arc::clone(&node.name),
                (Some(prefix), SubKind::Body) => prefix.as_str().into(),
                (Some(prefix), SubKind::Blueprint) => format!("{prefix}/{}", node.name).into(),
            };
            // A sub-graph that runs again must not mistake answers of its former self for its own.
            let attempt = self.retired.remove(&path).unwrap_or(0);
            let order = graph.before(ix).filter(|(_, edge)| *edge == Edge::Order).count() as u32;
            self.paths.insert(Arc::clone(&path), Inst(base + ix.0));
            self.instances.push(Instance {
                scope,
                node: ix,
                path,
                phase: Phase::Pending,
                attempt,
                tries: 0,
                round: 1,
                needs_left: node.needs.len() as u32,
                order_left: order,
                succeeded_needs: 0,
                same_tries: 0,
                same_failure: 0,
                round_failure: None,
                retired: false,
                started_at: None,
                ended_at: None,
                skipped_for: None,
                outputs: None,
                tree: None,
                carried: None,
                seen: None,
                carried_taint: Tier::Trusted,
                flowed: Flowed::default(),
                failure: None,
                record: serde_json::Value::Null,
                gate: None,
                children: None,
                escalation: None,
                session: None,
            });
        }
        self.scopes.push(Scope {
            graph: graph_ix,
            parent,
            index,
            base,
            unsettled: graph.nodes.len() as u32,
            rounds: vec![1; graph.regions.len()],
        });
        scope
    }

    pub(super) fn wake_scope(&mut self, scope: u32, at: Millis) {
        let mut settled = VecDeque::new();
        self.wake_nodes(scope, &mut settled);
        self.settle_all(at, &mut settled);
    }

    pub(super) fn wake_nodes(&mut self, scope: u32, settled: &mut VecDeque<(Inst, Phase)>) {
        for inst in self.scope_instances(scope) {
            self.consider(inst, settled);
        }
    }

    pub(super) fn sub_graph(&self, parent: Inst) -> GraphIx {
        match &self.node(parent).action {
            Action::Use(uses) => uses.graph,
            _ => GraphIx::ROOT,
        }
    }

    pub(super) fn open_child(&mut self, graph: GraphIx, parent: Inst, index: u32) -> u32 {
        let scope = self.open_scope(graph, Some(parent), index);
        if let Some(children) = &mut self.instance_mut(parent).children {
            children.scopes.push(scope);
        }
        scope
    }

    pub(super) fn expand(&mut self, at: Millis, inst: Inst, count: u32, scopes_data: &Payload) {
        let Action::Use(uses) = &self.node(inst).action else { return };
        let (graph, at_once) = (uses.graph, uses.each.as_ref().map_or(1, |each| each.max_parallel));
        let instance = self.instance_mut(inst);
        instance.phase = Phase::Expanded;
        instance.children = Some(Box::new(Children {
            scopes_data: scopes_data.clone(),
            count,
            scopes: Vec::new(),
            left: count,
        }));
        if count == 0 {
            return self.children_done(at, inst);
        }
        let first: Vec<u32> =
            (0..count.min(at_once)).map(|index| self.open_child(graph, inst, index)).collect();
        for scope in first {
            self.wake_scope(scope, at);
        }
    }
}
