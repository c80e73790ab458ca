//! What is allowed and probably not meant: gates that hold nothing up, conditions that never change, nodes that never run,
//! repairs that never start. Warns; never refuses.

use crate::finding::Findings;
use crate::graph::order::Order;
use crate::graph::{Graph, GraphIx, Program, SubKind};

mod condition;
mod gate;
mod repair;

/// Looks at every graph that somebody wrote.
pub(crate) fn warn(program: &Program, findings: &mut Findings) {
    for (number, graph) in
        program.graphs.iter().enumerate().filter(|(_, graph)| graph.kind == SubKind::Blueprint)
    {
        let order = Order::of(graph);
        gate::warn(program, GraphIx(number as u32), findings);
        condition::warn(graph, &order, findings);
        repair::warn(graph, findings);
    }
}

impl Order {
    /// The order of a graph that was compiled.
    pub(crate) fn of(graph: &Graph) -> Self {
        let sorted = petgraph::algo::toposort(&graph.dag, None).unwrap_or_default();
        Self::new(
            graph.nodes.iter().map(|node| node.needs.clone()).collect(),
            graph.nodes.iter().map(|node| node.join).collect(),
            sorted.into_iter().map(|index| graph.dag[index]).collect(),
            vec![false; graph.nodes.len()],
        )
    }
}
