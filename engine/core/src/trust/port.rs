//! The places where something can be, and their numbers. Counts; knows nothing of what flows.

use crate::graph::{GraphIx, NodeIx, Program};

/// A place where something can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// The tree that the nodes of a graph without needs start from.
    Entry(GraphIx),
    /// What came before a graph and may bear on whether and why it runs.
    Before(GraphIx),
    /// The item that a graph is run for.
    Item(GraphIx),
    /// What a graph returns.
    Returned(GraphIx),
    /// An input of a graph, by its place.
    Input(GraphIx, u32),
    /// The tree that a node starts from.
    Tree(GraphIx, NodeIx),
    /// The data that a node works with: its tree, and the values it names.
    Reads(GraphIx, NodeIx),
    /// What a node runs, with all it reads.
    Work(GraphIx, NodeIx),
    /// The tree that a node leaves, however it ends.
    Left(GraphIx, NodeIx),
    /// The tree that a node leaves if it succeeds.
    Made(GraphIx, NodeIx),
    /// The outputs of a node.
    Output(GraphIx, NodeIx),
    /// Everything that happened before a node and may bear on whether and why it runs.
    Reached(GraphIx, NodeIx),
    /// The same for those behind it, however it ends.
    Passed(GraphIx, NodeIx),
    /// The same for those behind it if it succeeds.
    Granted(GraphIx, NodeIx),
}

const OF_GRAPH: u32 = 4;
const OF_NODE: u32 = 9;

/// The numbers of all ports of a program.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    /// For each graph the number of its first port, and how many inputs it has.
    graphs: Vec<(u32, u32)>,
    count: u32,
}

impl Ports {
    pub(super) fn of(program: &Program) -> Self {
        let mut count = 0;
        let graphs = program
            .graphs
            .iter()
            .map(|graph| {
                let first = count;
                let inputs = graph.inputs.len() as u32;
                count += OF_GRAPH + inputs + OF_NODE * graph.nodes.len() as u32;
                (first, inputs)
            })
            .collect();
        Self { graphs, count }
    }

    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    pub(super) fn number(&self, port: Port) -> u32 {
        let of_graph = |graph: GraphIx, at: u32| self.graphs[graph.0 as usize].0 + at;
        let of_node = |graph: GraphIx, node: NodeIx, at: u32| {
            let (first, inputs) = self.graphs[graph.0 as usize];
            first + OF_GRAPH + inputs + OF_NODE * node.0 + at
        };
        match port {
            Port::Entry(graph) => of_graph(graph, 0),
            Port::Before(graph) => of_graph(graph, 1),
            Port::Item(graph) => of_graph(graph, 2),
            Port::Returned(graph) => of_graph(graph, 3),
            Port::Input(graph, input) => of_graph(graph, OF_GRAPH + input),
            Port::Tree(graph, node) => of_node(graph, node, 0),
            Port::Reads(graph, node) => of_node(graph, node, 1),
            Port::Work(graph, node) => of_node(graph, node, 2),
            Port::Left(graph, node) => of_node(graph, node, 3),
            Port::Made(graph, node) => of_node(graph, node, 4),
            Port::Output(graph, node) => of_node(graph, node, 5),
            Port::Reached(graph, node) => of_node(graph, node, 6),
            Port::Passed(graph, node) => of_node(graph, node, 7),
            Port::Granted(graph, node) => of_node(graph, node, 8),
        }
    }

    pub(super) fn port(&self, number: u32) -> Port {
        let graph = self.graphs.partition_point(|(first, _)| *first <= number).saturating_sub(1);
        let (first, inputs) = self.graphs[graph];
        let graph = GraphIx(graph as u32);
        let at = number - first;
        match at {
            0 => return Port::Entry(graph),
            1 => return Port::Before(graph),
            2 => return Port::Item(graph),
            3 => return Port::Returned(graph),
            _ if at < OF_GRAPH + inputs => return Port::Input(graph, at - OF_GRAPH),
            _ => {}
        }
        let at = at - OF_GRAPH - inputs;
        let node = NodeIx(at / OF_NODE);
        match at % OF_NODE {
            0 => Port::Tree(graph, node),
            1 => Port::Reads(graph, node),
            2 => Port::Work(graph, node),
            3 => Port::Left(graph, node),
            4 => Port::Made(graph, node),
            5 => Port::Output(graph, node),
            6 => Port::Reached(graph, node),
            7 => Port::Passed(graph, node),
            _ => Port::Granted(graph, node),
        }
    }
}
