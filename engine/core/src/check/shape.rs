//! The shape of a graph: who needs whom, circles, joins. Builds the petgraph DAG; a circle is reported and cut,
//! so that the rest of the blueprint can still be looked at.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use super::compiler::{Compiler, NodeSource, Unit, better_name};
use crate::finding::{Code, Finding, nearest};
use crate::format::Join;
use crate::graph::order::Order;
use crate::graph::{Edge, NodeIx};

/// How many nodes of a circle are named.
const NAMED: usize = 8;

/// The graph before its nodes mean anything.
pub(super) struct Shape {
    pub(super) by_name: BTreeMap<Arc<str>, NodeIx>,
    pub(super) order: Order,
    pub(super) dag: DiGraph<NodeIx, Edge>,
    guesses: Guesses,
}

/// Counts how often the node that was meant has been looked for. Each time costs a look at every name, so in a
/// large blueprint that is wrong everywhere only the first faults come with a guess.
#[derive(Debug, Default)]
struct Guesses(Cell<usize>);

/// How often the node that was meant is looked for.
const MOST_GUESSES: usize = 300;

impl Guesses {
    fn guess<'a>(&self, wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        self.0.set(self.0.get() + 1);
        if self.0.get() > MOST_GUESSES { None } else { nearest(wrong, known) }
    }
}

impl Shape {
    /// The node that was probably meant.
    pub(super) fn node_near(&self, wrong: &str) -> Option<&str> {
        self.guesses.guess(wrong, self.by_name.keys().map(|name| &**name))
    }

    pub(super) fn index(ix: NodeIx) -> NodeIndex {
        NodeIndex::new(ix.at())
    }
}

impl Compiler<'_> {
    /// Resolves `needs`.
    pub(super) fn shape(&mut self, unit: &Unit) -> Shape {
        let mut by_name = BTreeMap::new();
        let mut dag = DiGraph::with_capacity(unit.nodes.len(), unit.nodes.len() * 2);
        for (number, node) in unit.nodes.iter().enumerate() {
            self.good_name("a node", &node.name, node.name_span());
            by_name.insert(Arc::from(node.name.as_str()), NodeIx(number as u32));
            dag.add_node(NodeIx(number as u32));
        }
        let guesses = Guesses::default();
        let mut needs = Vec::with_capacity(unit.nodes.len());
        let mut shaky = vec![false; unit.nodes.len()];
        for (number, node) in unit.nodes.iter().enumerate() {
            let ix = NodeIx(number as u32);
            shaky[number] = unit.is_broken(&node.name, "needs");
            let mut resolved: Vec<NodeIx> = Vec::with_capacity(node.table.needs.len());
            for need in &node.table.needs {
                let span = node.span(&need.range);
                match by_name.get(need.as_str()) {
                    None => {
                        shaky[number] = true;
                        if !unit.is_lost(need) {
                            let others =
                                by_name.keys().map(|name| &**name).filter(|name| *name != node.name.value);
                            let near = guesses.guess(need, others).map(str::to_owned);
                            self.findings.push(
                                Finding::new(
                                    Code::UnknownNode,
                                    span,
                                    format!("there is no node `{}`", need.value),
                                )
                                .label("unknown node")
                                .fix(near.map_or_else(
                                    || {
                                        if better_name(need, '_') == need.value {
                                            format!("add `[nodes.{}]`, or take it out of `needs`", need.value)
                                        } else {
                                            "take it out of `needs`, or name a node of this blueprint"
                                                .to_owned()
                                        }
                                    },
                                    |near| format!("did you mean `{near}`?"),
                                )),
                            );
                        }
                    }
                    Some(other) if *other == ix => self.findings.push(
                        Finding::new(Code::Cycle, span, format!("`{}` needs itself", need.value))
                            .label("it could never start")
                            .fix("take it out of `needs`; to try again on failure, use `retry` or `repair`"),
                    ),
                    Some(other) if resolved.contains(other) => self.findings.push(
                        Finding::new(Code::RepeatedNeed, span, format!("`{}` is named twice", need.value))
                            .label("again")
                            .fix("take one of them out"),
                    ),
                    Some(other) => {
                        resolved.push(*other);
                        dag.add_edge(Shape::index(*other), Shape::index(ix), Edge::Needs);
                    }
                }
            }
            self.join(unit, node);
            needs.push(resolved);
        }
        self.circles(unit, &mut dag, &mut needs, &mut shaky);
        let sorted = toposort(&dag, None).unwrap_or_default().into_iter().map(|index| dag[index]).collect();
        let joins = unit
            .nodes
            .iter()
            .map(|node| node.table.join.as_ref().map_or(Join::All, |join| join.value))
            .collect();
        Shape { by_name, order: Order::new(needs, joins, sorted, shaky), dag, guesses }
    }

    fn join(&mut self, unit: &Unit, node: &NodeSource) {
        let Some(join) = &node.table.join else { return };
        let needs = node.table.needs.len();
        // A single need can still be waited for whichever way it ends.
        let enough = if join.value == Join::Settled { 1 } else { 2 };
        if needs < enough && !unit.is_broken(&node.name, "needs") {
            let number = if needs == 0 { "no other node" } else { "one node" };
            self.findings.push(
                Finding::new(
                    Code::IdleJoin,
                    node.span(&join.range),
                    format!("`join` has nothing to choose: `{}` needs {number}", node.name.value),
                )
                .label("without effect")
                .fix("take it out, or add the other nodes to `needs`"),
            );
        }
    }

    fn circles(
        &mut self,
        unit: &Unit,
        dag: &mut DiGraph<NodeIx, Edge>,
        needs: &mut [Vec<NodeIx>],
        shaky: &mut [bool],
    ) {
        if toposort(&*dag, None).is_ok() {
            return;
        }
        let mut circle_of: Vec<Option<usize>> = vec![None; needs.len()];
        for (number, component) in tarjan_scc(&*dag).into_iter().enumerate() {
            if component.len() < 2 {
                continue;
            }
            let mut members: Vec<NodeIx> = component.iter().map(|index| dag[*index]).collect();
            members.sort_unstable();
            self.circle(unit, &walk(dag, &members));
            for member in members {
                circle_of[member.at()] = Some(number);
                shaky[member.at()] = true;
            }
        }
        let inside = |one: NodeIx, other: NodeIx| {
            circle_of[one.at()].is_some() && circle_of[one.at()] == circle_of[other.at()]
        };
        dag.retain_edges(|dag, edge| {
            dag.edge_endpoints(edge).is_none_or(|(one, other)| !inside(dag[one], dag[other]))
        });
        for (number, needs) in needs.iter_mut().enumerate() {
            needs.retain(|need| !inside(*need, NodeIx(number as u32)));
        }
    }

    fn circle(&mut self, unit: &Unit, circle: &[NodeIx]) {
        let first = &unit.nodes[circle[0].at()];
        let mut names: Vec<&str> =
            circle.iter().take(NAMED).map(|ix| unit.nodes[ix.at()].name.as_str()).collect();
        if circle.len() > NAMED {
            names.push("…");
        }
        names.push(&first.name);
        let mut finding = Finding::new(
            Code::Cycle,
            first.name_span(),
            format!("these nodes wait for each other in a circle: {}", names.join(" → ")),
        )
        .label("none of them could ever start")
        .fix("take one of these needs out; to go round again on failure, use `repair`");
        for (at, ix) in circle.iter().enumerate().take(NAMED) {
            let next = &unit.nodes[circle[(at + 1) % circle.len()].at()];
            let name = &unit.nodes[ix.at()].name.value;
            if let Some(need) = next.table.needs.iter().find(|need| need.value == *name) {
                finding =
                    finding.note(next.span(&need.range), format!("`{}` waits for `{name}`", next.name.value));
            }
        }
        self.findings.push(finding);
    }
}

/// A circle inside a strongly connected component, in the order of the edges.
fn walk(dag: &DiGraph<NodeIx, Edge>, members: &[NodeIx]) -> Vec<NodeIx> {
    let mut path = vec![members[0]];
    let mut places = BTreeMap::from([(members[0], 0)]);
    loop {
        let at = path[path.len() - 1];
        let next = dag
            .neighbors(Shape::index(at))
            .map(|index| dag[index])
            .filter(|ix| members.binary_search(ix).is_ok())
            .min();
        let Some(next) = next else { return path };
        if let Some(start) = places.get(&next) {
            return path.split_off(*start);
        }
        places.insert(next, path.len());
        path.push(next);
    }
}

/// For each node how many nodes the longest path from it has.
pub(super) fn heights(dag: &DiGraph<NodeIx, Edge>) -> Vec<u32> {
    let mut heights = vec![1; dag.node_count()];
    for index in toposort(dag, None).unwrap_or_default().into_iter().rev() {
        let below = dag.neighbors(index).map(|next| heights[next.index()]).max().unwrap_or(0);
        heights[index.index()] = below + 1;
    }
    heights
}
