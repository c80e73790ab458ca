//! From where to where things flow, and how far they get. Every step is one that the run can take; a gate is where there is
//! none.

use std::collections::VecDeque;

use super::cover::Cover;
use super::port::{Port, Ports};
use super::source::{self, Source};
use crate::expr::{Expr, Reference};
use crate::format::{Tier, Workspace};
use crate::graph::{Action, Graph, GraphIx, Node, NodeIx, Program, Read, SubKind};

/// How a port came by its tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// It is where it comes from.
    Source(Source),
    /// It came from another port.
    Port(u32),
}

/// What is known of every port.
#[derive(Debug, Clone)]
pub(super) struct Spread(Vec<Option<(Tier, From)>>);

impl Spread {
    pub(super) fn tier(&self, port: u32) -> Tier {
        self.0[port as usize].map_or(Tier::Trusted, |(tier, _)| tier)
    }

    pub(super) fn from(&self, port: u32) -> Option<(Tier, From)> {
        self.0[port as usize]
    }
}

/// Every port gets the worst tier of all sources it can be reached from, by the shortest way.
pub(super) fn spread(program: &Program, ports: &Ports) -> Spread {
    let mut flow = Flow { program, ports, steps: Vec::new(), sources: Vec::new() };
    flow.program();
    let Flow { mut steps, mut sources, .. } = flow;
    steps.sort_unstable();
    let starts: Vec<usize> =
        (0..=ports.count()).map(|port| steps.partition_point(|(from, _)| (*from as usize) < port)).collect();
    sources.sort_by_key(|(tier, port, _)| (std::cmp::Reverse(*tier), *port));
    let mut spread = vec![None; ports.count()];
    let mut next = VecDeque::new();
    let mut sources = sources.into_iter().peekable();
    while let Some(tier) = sources.peek().map(|(tier, ..)| *tier) {
        while let Some((_, port, source)) = sources.next_if(|(here, ..)| *here == tier) {
            if spread[port as usize].is_none() {
                spread[port as usize] = Some((tier, From::Source(source)));
                next.push_back(port);
            }
        }
        while let Some(port) = next.pop_front() {
            for (_, to) in &steps[starts[port as usize]..starts[port as usize + 1]] {
                if spread[*to as usize].is_none() {
                    spread[*to as usize] = Some((tier, From::Port(port)));
                    next.push_back(*to);
                }
            }
        }
    }
    Spread(spread)
}

struct Flow<'a> {
    program: &'a Program,
    ports: &'a Ports,
    steps: Vec<(u32, u32)>,
    sources: Vec<(Tier, u32, Source)>,
}

/// Where the names of a node come from: its own graph, or that around the body of an `each`.
struct Around<'a> {
    ix: GraphIx,
    graph: &'a Graph,
    cover: &'a Cover<'a>,
    /// The node that names them there; none for what a graph returns.
    reader: Option<NodeIx>,
    /// Graphs whose item they may name.
    items: Vec<GraphIx>,
}

impl Flow<'_> {
    fn step(&mut self, from: Port, to: Port) {
        self.steps.push((self.ports.number(from), self.ports.number(to)));
    }

    fn source(&mut self, (tier, source): (Tier, Source), port: Port) {
        if tier > Tier::Trusted {
            self.sources.push((tier, self.ports.number(port), source));
        }
    }

    fn program(&mut self) {
        let program = self.program;
        self.source((program.base, Source::Base), Port::Entry(GraphIx::ROOT));
        let covers: Vec<Cover<'_>> = program.graphs.iter().map(Cover::of).collect();
        // Bodies have one parent each, whose names they see.
        let mut parents: Vec<Option<(GraphIx, NodeIx)>> = vec![None; program.graphs.len()];
        for (ix, graph) in numbered(program) {
            for (at, node) in (0_u32..).map(NodeIx).zip(&graph.nodes) {
                if let Action::Use(uses) = &node.action
                    && program.graph(uses.graph).kind == SubKind::Body
                {
                    parents[uses.graph.0 as usize] = Some((ix, at));
                }
            }
        }
        for (ix, graph) in numbered(program) {
            for (at, input) in (0_u32..).zip(&graph.inputs) {
                if graph.kind == SubKind::Blueprint {
                    self.source((input.tier, Source::Input), Port::Input(ix, at));
                }
            }
            let cover = &covers[ix.0 as usize];
            for at in (0..graph.nodes.len() as u32).map(NodeIx) {
                let mut around = Around { ix, graph, cover, reader: Some(at), items: Vec::new() };
                while let (SubKind::Body, Some((outer, node))) =
                    (around.graph.kind, parents[around.ix.0 as usize])
                {
                    around.items.push(around.ix);
                    around = Around {
                        ix: outer,
                        graph: program.graph(outer),
                        cover: &covers[outer.0 as usize],
                        reader: Some(node),
                        items: around.items,
                    };
                }
                self.node(ix, graph, cover, at, &around);
            }
            for at in (0..graph.nodes.len() as u32).map(NodeIx) {
                if let Action::Use(_) = &graph.node(at).action {
                    self.sub_graph(ix, at, &covers);
                }
            }
            let around = Around { ix, graph, cover, reader: None, items: Vec::new() };
            for reference in graph.returns.iter().flat_map(|(_, value, _)| value.references()) {
                self.name(reference, &around, Port::Returned(ix));
            }
            for region in &graph.regions {
                // A further round builds on what the last node left, and tells agents why it failed.
                self.step(Port::Left(ix, region.closer), Port::Tree(ix, region.from));
                let told = match &graph.node(region.closer).action {
                    Action::Use(_) => Port::Passed(ix, region.closer),
                    _ => Port::Work(ix, region.closer),
                };
                for member in &region.members {
                    if matches!(graph.node(*member).action, Action::Agent(_))
                        && !graph.node(region.closer).is_human_gate()
                    {
                        self.step(told, Port::Reads(ix, *member));
                    }
                }
            }
        }
    }

    fn node(&mut self, ix: GraphIx, graph: &Graph, cover: &Cover<'_>, at: NodeIx, around: &Around<'_>) {
        let node = graph.node(at);
        if node.needs.is_empty() {
            self.step(Port::Entry(ix), Port::Tree(ix, at));
            self.step(Port::Before(ix), Port::Reached(ix, at));
        }
        for need in &node.needs {
            // A node that is skipped passes on what was before it, and nobody need have approved that.
            self.step(Port::Left(ix, *need), Port::Left(ix, at));
            self.step(Port::Passed(ix, *need), Port::Passed(ix, at));
            if !cover.approves(at, *need) {
                let all = node.join == crate::format::Join::All;
                let (left, passed) = if all {
                    (Port::Made(ix, *need), Port::Granted(ix, *need))
                } else {
                    (Port::Left(ix, *need), Port::Passed(ix, *need))
                };
                self.step(left, Port::Tree(ix, at));
                self.step(passed, Port::Reached(ix, at));
            }
        }
        for (read, reference) in node.reads() {
            match read {
                // Whether a node runs is no datum: it bears on the node by way of its needs.
                Read::Condition | Read::Question => {}
                Read::Data | Read::Header => self.name(reference, around, Port::Reads(ix, at)),
                Read::List => {
                    if let Action::Use(uses) = &node.action {
                        self.name(reference, around, Port::Item(uses.graph));
                    }
                }
                Read::With(number) => self.with(node, number, reference, around),
            }
        }
        if node.workspace != Workspace::None {
            self.step(Port::Tree(ix, at), Port::Reads(ix, at));
        }
        self.source(source::of_work(node), Port::Work(ix, at));
        self.step(Port::Reads(ix, at), Port::Work(ix, at));
        self.step(Port::Reads(ix, at), Port::Reached(ix, at));
        self.step(Port::Reached(ix, at), Port::Passed(ix, at));
        self.step(Port::Tree(ix, at), Port::Left(ix, at));
        if matches!(node.action, Action::Use(_)) {
            // Its graph says what becomes of it.
            return;
        }
        self.step(Port::Tree(ix, at), Port::Made(ix, at));
        self.step(Port::Work(ix, at), Port::Passed(ix, at));
        self.step(Port::Reached(ix, at), Port::Granted(ix, at));
        self.step(Port::Work(ix, at), Port::Granted(ix, at));
        self.step(Port::Work(ix, at), Port::Output(ix, at));
        for reference in node.outputs.iter().flat_map(|output| &output.from).flat_map(Expr::references) {
            self.name(reference, around, Port::Output(ix, at));
        }
        if node.writes_workspace() {
            self.step(Port::Work(ix, at), Port::Left(ix, at));
            self.step(Port::Work(ix, at), Port::Made(ix, at));
        }
        if let Some(response) = source::of_response(node) {
            self.source(response, Port::Output(ix, at));
        }
    }

    fn with(&mut self, node: &Node, number: usize, reference: &Reference, around: &Around<'_>) {
        let Action::Use(uses) = &node.action else { return };
        let used = self.program.graph(uses.graph);
        let name = uses.with.get(number).map(|(name, _)| name);
        if let Some(input) = used.inputs.iter().position(|input| Some(&input.name) == name) {
            self.name(reference, around, Port::Input(uses.graph, input as u32));
        }
    }

    /// What a name stands for goes to `to`.
    fn name(&mut self, reference: &Reference, around: &Around<'_>, to: Port) {
        let ix = around.ix;
        match reference.path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["inputs", name, ..] => {
                if let Some(at) = around.graph.inputs.iter().position(|input| &*input.name == *name) {
                    self.step(Port::Input(ix, at as u32), to);
                }
            }
            // How a node ended is said by the engine, in one of a few words.
            ["nodes", _, "status"] => {}
            ["nodes", name, ..] => {
                let Some(source) = around.graph.by_name.get(*name).copied() else { return };
                let approved = match around.reader {
                    Some(reader) => around.cover.output_is_approved(reader, source),
                    None => around.cover.return_is_approved(source),
                };
                if !approved {
                    self.step(Port::Output(ix, source), to);
                }
            }
            ["item" | "index", ..] => {
                for graph in &around.items {
                    self.step(Port::Item(*graph), to);
                }
                // The values of a `with` name the item of the very graph they go to.
                if let (Port::Input(graph, _), true) = (to, around.items.is_empty()) {
                    self.step(Port::Item(graph), to);
                }
            }
            _ => {}
        }
    }

    fn sub_graph(&mut self, ix: GraphIx, at: NodeIx, covers: &[Cover<'_>]) {
        let Action::Use(uses) = &self.program.graph(ix).node(at).action else { return };
        let (inner, graph) = (uses.graph, self.program.graph(uses.graph));
        let cover = &covers[inner.0 as usize];
        self.step(Port::Tree(ix, at), Port::Entry(inner));
        self.step(Port::Reached(ix, at), Port::Before(inner));
        if uses.each.is_some() || graph.nodes.is_empty() {
            // The list may be empty: then what was before is what is left.
            self.step(Port::Tree(ix, at), Port::Made(ix, at));
            self.step(Port::Reached(ix, at), Port::Granted(ix, at));
        }
        self.step(Port::Made(ix, at), Port::Left(ix, at));
        self.step(Port::Returned(inner), Port::Output(ix, at));
        self.step(Port::Item(inner), Port::Reached(ix, at));
        for end in (0..graph.nodes.len() as u32).map(NodeIx) {
            // A graph that fails part of the way has done what it has done.
            self.step(Port::Passed(inner, end), Port::Passed(ix, at));
            if graph.kind == SubKind::Body {
                self.step(Port::Output(inner, end), Port::Output(ix, at));
            }
            if graph.behind(end).any(|(_, edge)| edge == crate::graph::Edge::Needs) {
                continue;
            }
            let node = graph.node(end);
            let approved =
                cover.is_certain(end) && node.is_human_gate() && node.join != crate::format::Join::Any;
            if !approved {
                let certain = cover.is_certain(end);
                let made = if certain { Port::Made(inner, end) } else { Port::Left(inner, end) };
                let granted = if certain { Port::Granted(inner, end) } else { Port::Passed(inner, end) };
                self.step(made, Port::Made(ix, at));
                self.step(granted, Port::Granted(ix, at));
            }
        }
    }
}

fn numbered(program: &Program) -> impl Iterator<Item = (GraphIx, &Graph)> {
    (0_u32..).map(GraphIx).zip(&program.graphs)
}
