//! What has certainly come to pass in a run that succeeds, once a node has. A node that may be skipped breaks the chain.

use petgraph::algo::toposort;

use super::facts::{Facts, runs};
use crate::graph::{Graph, GraphIx, NodeIx, Passed, Program};

/// Why something need not come to pass.
pub(super) enum Missing {
    /// Nothing of the sort is there.
    Nothing,
    /// This node may be skipped because it has a condition.
    Condition(NodeIx),
}

/// Whether a run that succeeds, and in which `after` succeeded, has come to pass `what`; else what stands in the way.
pub(super) fn holds(program: &Program, ix: GraphIx, after: NodeIx, what: &Passed) -> Result<(), Missing> {
    let graph = program.graph(ix);
    let facts = Facts::of(program, ix, what);
    let upstream = relied_on(graph, after);
    let mut there = vec![false; graph.nodes.len()];
    for index in toposort(&graph.dag, None).unwrap_or_default() {
        let at = graph.dag[index];
        let node = graph.node(at);
        there[at.at()] = upstream[at.at()] || (node.when.is_none() && runs(node, |need| there[need.at()]));
    }
    let all = || (0..graph.nodes.len() as u32).map(NodeIx);
    if all().any(|at| there[at.at()] && facts.with(at)) {
        return Ok(());
    }
    // The nearest that would do it, and the condition that keeps it from being certain.
    let candidate = all().find(|at| facts.with(*at) && !facts.before(*at));
    Err(candidate.and_then(|at| condition(graph, &there, at)).map_or(Missing::Nothing, Missing::Condition))
}

/// The nodes that have succeeded if `node` has: those it relied on, and it itself.
fn relied_on(graph: &Graph, node: NodeIx) -> Vec<bool> {
    let mut relied = vec![false; graph.nodes.len()];
    let mut next = vec![node];
    while let Some(at) = next.pop() {
        if std::mem::replace(&mut relied[at.at()], true) {
            continue;
        }
        let node = graph.node(at);
        if node.join == crate::format::Join::All
            || node.needs.len() == 1 && node.join == crate::format::Join::Any
        {
            next.extend(&node.needs);
        }
    }
    relied
}

fn condition(graph: &Graph, there: &[bool], from: NodeIx) -> Option<NodeIx> {
    let mut at = from;
    loop {
        let node = graph.node(at);
        if node.when.is_some() {
            return Some(at);
        }
        at = *node.needs.iter().find(|need| !there[need.at()])?;
    }
}
