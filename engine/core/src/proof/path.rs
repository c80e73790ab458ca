//! A way through a graph on which an invariant does not hold: a shortest one, for people to follow.

use std::collections::{BTreeMap, VecDeque};

use super::facts::Facts;
use crate::format::Join;
use crate::graph::{Graph, NodeIx};

/// The nodes of a way, the first that runs in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The nodes.
    pub nodes: Vec<NodeIx>,
    /// Why the way begins where it begins.
    pub begin: Begin,
}

/// Why a way begins where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// The node needs nothing.
    Start,
    /// The node runs however its needs end.
    Settled,
}

impl Path {
    /// A shortest way to a node on which nothing makes the fact certain.
    pub(super) fn without(facts: &Facts<'_>, graph: &Graph, to: NodeIx) -> Option<Self> {
        let mut behind: BTreeMap<NodeIx, NodeIx> = BTreeMap::new();
        let mut next = VecDeque::from([to]);
        while let Some(at) = next.pop_front() {
            let node = graph.node(at);
            let begin = match node.join {
                _ if node.needs.is_empty() => Some(Begin::Start),
                Join::Settled => Some(Begin::Settled),
                Join::All | Join::Any => None,
            };
            if let Some(begin) = begin {
                let mut nodes = vec![at];
                while let Some(after) = nodes.last().and_then(|last| behind.get(last)) {
                    nodes.push(*after);
                }
                return Some(Self { nodes, begin });
            }
            for need in &node.needs {
                if !facts.with(*need) && *need != to && !behind.contains_key(need) {
                    behind.insert(*need, at);
                    next.push_back(*need);
                }
            }
        }
        None
    }

    /// As people read it: `build → deploy`.
    pub fn words(&self, graph: &Graph) -> String {
        let names: Vec<String> = self.nodes.iter().map(|ix| format!("`{}`", graph.node(*ix).name)).collect();
        let way = names.join(" → ");
        match (self.begin, self.nodes.as_slice()) {
            (Begin::Start, [_]) => format!("{way} needs nothing, and so starts at once"),
            (Begin::Settled, [_, ..]) => {
                format!("{way}, where {} joins with \"settled\" and runs however its needs end", names[0])
            }
            (Begin::Start, _) | (Begin::Settled, []) => way,
        }
    }
}
