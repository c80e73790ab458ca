//! Graphs and how they hang together. Holds no state of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use petgraph::Direction;
use petgraph::graph::DiGraph;

use super::claim::Claim;
use super::input::InputSpec;
use super::node::{Node, Value};
use crate::format::Tier;
use crate::source::Span;

/// The number of a graph in its [`Program`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GraphIx(pub u32);

/// The number of a node in its [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIx(pub u32);

/// The number of a repair region in its [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionIx(pub u32);

impl GraphIx {
    /// The blueprint itself.
    pub const ROOT: Self = Self(0);
}

impl NodeIx {
    /// As an index.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// A blueprint and every blueprint it uses, proven runnable.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// What it does.
    pub summary: Option<String>,
    /// Digest of all its sources, as hex.
    pub digest: String,
    /// Time from start to end that a run may take, without waiting for people.
    pub wall: Option<Duration>,
    /// What else a run may use up at most.
    pub budget: Budget,
    /// How much the tree that it starts from can be trusted, whatever starts it.
    pub base: Tier,
    /// The graphs; the first is the blueprint itself.
    pub graphs: Vec<Graph>,
}

/// What a run may use up at most. `None` is no limit; zero is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Money for models, in millionths of a US dollar.
    pub cost_micros: Option<u64>,
    /// Tokens of models, in and out.
    pub tokens: Option<u64>,
    /// Calls of tools by agents.
    pub tool_calls: Option<u64>,
}

impl Program {
    /// A graph by its number.
    pub fn graph(&self, ix: GraphIx) -> &Graph {
        &self.graphs[ix.0 as usize]
    }

    /// The blueprint itself.
    pub fn root(&self) -> &Graph {
        &self.graphs[0]
    }

    /// Every node of every graph.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.graphs.iter().flat_map(|graph| &graph.nodes)
    }
}

/// Why one node comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The later one needs the earlier one.
    Needs,
    /// The earlier one closes a repair region whose inside the later one needs: what a region makes is seen
    /// outside only when no further round can replace it.
    Order,
}

/// What a graph is to the node it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubKind {
    /// A blueprint of its own, with inputs of its own.
    Blueprint,
    /// The body of an `each` node: sees what the node itself sees, and `item` and `index`.
    Body,
}

/// One DAG.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The name of the blueprint it was written in.
    pub name: String,
    /// The file it was written in.
    pub file: Arc<str>,
    /// What it is to the node it stands in.
    pub kind: SubKind,
    /// What must be given to start it.
    pub inputs: Vec<InputSpec>,
    /// What it gives back.
    pub returns: Vec<(Arc<str>, Value, Span)>,
    /// The nodes, in the order of the file.
    pub nodes: Vec<Node>,
    /// The edges between them; node weights are the same numbers.
    pub dag: DiGraph<NodeIx, Edge>,
    /// The repair regions, inner ones before outer ones.
    pub regions: Vec<Region>,
    /// For each node how many nodes the longest path from it to an end has, itself included.
    pub heights: Vec<u32>,
    /// Nodes whose outputs a person has approved whenever the graph succeeded.
    pub approved_returns: BTreeSet<NodeIx>,
    /// What must hold on every path through it.
    pub claims: Vec<Claim>,
    /// Numbers by name.
    pub by_name: BTreeMap<Arc<str>, NodeIx>,
}

impl Graph {
    /// A node by its number.
    pub fn node(&self, ix: NodeIx) -> &Node {
        &self.nodes[ix.at()]
    }

    /// The nodes before `ix` and why, in no particular order.
    pub fn before(&self, ix: NodeIx) -> impl Iterator<Item = (NodeIx, Edge)> {
        self.around(ix, Direction::Incoming)
    }

    /// The nodes behind `ix` and why, in no particular order.
    pub fn behind(&self, ix: NodeIx) -> impl Iterator<Item = (NodeIx, Edge)> {
        self.around(ix, Direction::Outgoing)
    }

    fn around(&self, ix: NodeIx, direction: Direction) -> impl Iterator<Item = (NodeIx, Edge)> {
        use petgraph::visit::EdgeRef;
        self.dag.edges_directed(petgraph::graph::NodeIndex::new(ix.at()), direction).map(move |edge| {
            let other = if direction == Direction::Incoming { edge.source() } else { edge.target() };
            (self.dag[other], *edge.weight())
        })
    }

    /// The needs of `ix`, in the order of the file.
    pub fn needs(&self, ix: NodeIx) -> &[NodeIx] {
        &self.node(ix).needs
    }
}

/// The nodes that go round again when the last of them fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// The first node.
    pub from: NodeIx,
    /// The last node: its failure starts a round.
    pub closer: NodeIx,
    /// All rounds together.
    pub rounds: u32,
    /// Every node of the region, the first and the last among them, in order of their numbers.
    pub members: Vec<NodeIx>,
    /// Regions inside this one.
    pub inner: Vec<RegionIx>,
}
