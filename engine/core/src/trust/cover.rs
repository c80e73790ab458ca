//! What the gates of a graph cover: the tree they show, and the outputs of the nodes they need. An approval covers what
//! was there when it was given and cannot change behind it, for those who cannot run without it.

use petgraph::algo::toposort;

use crate::format::Join;
use crate::graph::order::{Order, Standing};
use crate::graph::{Graph, NodeIx};

pub(super) struct Cover<'a> {
    graph: &'a Graph,
    order: Order,
    /// For each node, the gates that show its outputs.
    gates: Vec<Vec<NodeIx>>,
    /// Nodes that succeeded if the graph did.
    certain: Vec<bool>,
}

impl<'a> Cover<'a> {
    pub(super) fn of(graph: &'a Graph) -> Self {
        let sorted: Vec<NodeIx> = toposort(&graph.dag, None)
            .unwrap_or_default()
            .into_iter()
            .map(|index| graph.dag[index])
            .collect();
        let mut gates = vec![Vec::new(); graph.nodes.len()];
        let mut certain = vec![false; graph.nodes.len()];
        for ix in &sorted {
            let node = graph.node(*ix);
            if is_gate(graph, *ix) {
                for need in &node.needs {
                    gates[need.at()].push(*ix);
                }
            }
            certain[ix.at()] = node.when.is_none()
                && match node.join {
                    Join::All => node.needs.iter().all(|need| certain[need.at()]),
                    Join::Any => node.needs.is_empty() || node.needs.iter().any(|need| certain[need.at()]),
                    Join::Settled => true,
                };
        }
        Self { graph, order: Order::of(graph), gates, certain }
    }

    /// Whether a node that runs at all can take over what its need left as approved there.
    pub(super) fn approves(&self, reader: NodeIx, need: NodeIx) -> bool {
        self.graph.node(reader).join == Join::All
            && (is_gate(self.graph, need) || self.is_shown_beside(reader, need))
    }

    /// Whether another need of the node is a gate that showed what this one left.
    fn is_shown_beside(&self, reader: NodeIx, need: NodeIx) -> bool {
        self.graph.needs(reader).iter().any(|gate| {
            *gate != need && is_gate(self.graph, *gate) && self.order.standing(*gate, need) != Standing::Apart
        })
    }

    /// Whether somebody approved the outputs of `source` whenever `reader` runs.
    pub(super) fn output_is_approved(&self, reader: NodeIx, source: NodeIx) -> bool {
        self.gates[source.at()].iter().any(|gate| self.order.standing(reader, *gate) == Standing::Sure)
    }

    /// Whether somebody approved the outputs of `source` whenever the graph succeeded.
    pub(super) fn return_is_approved(&self, source: NodeIx) -> bool {
        self.gates[source.at()].iter().any(|gate| self.certain[gate.at()])
    }

    /// Whether the node succeeded whenever the graph did.
    pub(super) fn is_certain(&self, node: NodeIx) -> bool {
        self.certain[node.at()]
    }
}

/// Whether an approval there covers what came before it. What a gate that joins with "any" did not wait for comes later
/// than its question.
fn is_gate(graph: &Graph, node: NodeIx) -> bool {
    let node = graph.node(node);
    node.is_human_gate() && node.join != Join::Any
}
