//! What has certainly come to pass when a node starts. Follows from `needs` and `join` alone: what a node relied on
//! succeeded, and nothing else is certain.

use petgraph::algo::toposort;

use crate::format::{Approval, Join};
use crate::graph::{Action, Graph, GraphIx, Node, NodeIx, Passed, Program};

/// For every node of one graph, and of those it uses, whether something has come to pass.
pub(crate) struct Facts<'a> {
    program: &'a Program,
    graph: GraphIx,
    what: &'a Passed,
    /// For each graph, once asked, whether it has come to pass inside whenever the graph succeeded.
    inside: Vec<Option<bool>>,
    /// By node of the graph: when it starts, and when it has succeeded.
    known: Vec<(bool, bool)>,
}

impl<'a> Facts<'a> {
    /// Works it out for the nodes of a graph that starts with nothing.
    pub(crate) fn of(program: &'a Program, graph: GraphIx, what: &'a Passed) -> Self {
        Self::entered(program, graph, what, false)
    }

    /// The same for a graph that starts when it has, or has not, come to pass already.
    pub(crate) fn entered(program: &'a Program, graph: GraphIx, what: &'a Passed, entered: bool) -> Self {
        let mut facts =
            Self { program, graph, what, inside: vec![None; program.graphs.len()], known: Vec::new() };
        facts.known = facts.nodes(graph, entered);
        facts
    }

    /// Whether it has come to pass whenever the node starts.
    pub(crate) fn before(&self, node: NodeIx) -> bool {
        self.known[node.at()].0
    }

    /// Whether it has come to pass whenever the node has succeeded.
    pub(crate) fn with(&self, node: NodeIx) -> bool {
        self.known[node.at()].1
    }

    fn nodes(&mut self, ix: GraphIx, entered: bool) -> Vec<(bool, bool)> {
        let graph = self.program.graph(ix);
        let mut known = vec![(false, false); graph.nodes.len()];
        for index in toposort(&graph.dag, None).unwrap_or_default() {
            let at = graph.dag[index];
            let node = graph.node(at);
            let mut needs = node.needs.iter().map(|need| known[need.at()].1);
            let before = match node.join {
                _ if entered => true,
                Join::All => needs.any(|holds| holds),
                Join::Any => !node.needs.is_empty() && needs.all(|holds| holds),
                Join::Settled => false,
            };
            let with = before || self.is_it(ix, at, node) || self.inside(node);
            known[at.at()] = (before, with);
        }
        known
    }

    fn is_it(&self, graph: GraphIx, at: NodeIx, node: &Node) -> bool {
        match self.what {
            Passed::Node(wanted) => graph == self.graph && *wanted == at,
            Passed::Kind(kind) => node.action.kind() == *kind,
            Passed::Approval(Approval::Human) => node.is_human_gate(),
            Passed::Approval(Approval::Checks) => matches!(node.action, Action::Ci),
        }
    }

    /// Whether it comes to pass inside of a node whenever that succeeds. A list may be empty, so nothing is certain there.
    fn inside(&mut self, node: &Node) -> bool {
        let Action::Use(uses) = &node.action else { return false };
        if uses.each.is_some() {
            return false;
        }
        let inner = uses.graph;
        if let Some(known) = self.inside[inner.0 as usize] {
            return known;
        }
        let known = self.nodes(inner, false);
        let graph = self.program.graph(inner);
        let holds = certain(graph).into_iter().zip(known).any(|(certain, (_, with))| certain && with);
        self.inside[inner.0 as usize] = Some(holds);
        holds
    }
}

/// The nodes that succeeded whenever their graph did.
pub(super) fn certain(graph: &Graph) -> Vec<bool> {
    let mut certain = vec![false; graph.nodes.len()];
    for index in toposort(&graph.dag, None).unwrap_or_default() {
        let at = graph.dag[index];
        let node = graph.node(at);
        certain[at.at()] = node.when.is_none() && runs(node, |need| certain[need.at()]);
    }
    certain
}

/// Whether a node runs for certain, if it has no condition, where these of its needs succeed for certain.
pub(super) fn runs(node: &Node, succeeds: impl Fn(NodeIx) -> bool) -> bool {
    let mut needs = node.needs.iter();
    match node.join {
        Join::All => needs.all(|need| succeeds(*need)),
        Join::Any => node.needs.is_empty() || needs.any(|need| succeeds(*need)),
        Join::Settled => true,
    }
}
