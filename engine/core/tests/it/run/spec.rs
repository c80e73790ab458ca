//! Random blueprints: what they say, as plain data and as TOML. Only valid ones come out: what the checker would
//! refuse is left out here, by rules of our own.

use std::collections::BTreeSet;
use std::fmt::Write;

use proptest::prelude::*;

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Run,
    Wait,
    Gate { min: usize, expires: Option<OnSilence> },
    Use(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnSilence {
    Reject,
    Escalate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    All,
    Any,
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Success,
    Failure,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) attempts: u32,
    pub(super) on_command: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) needs: Vec<usize>,
    pub(super) kind: Kind,
    pub(super) when: bool,
    pub(super) join: Join,
    pub(super) expect: Expect,
    pub(super) each: Option<usize>,
    pub(super) retry: Option<Retry>,
    /// The first node of the region and the rounds.
    pub(super) repair: Option<(usize, u32)>,
}

pub(super) type Nodes = Vec<Node>;

/// Blueprints; the first is the one that runs, and each uses later ones only.
#[derive(Clone)]
pub(super) struct Spec {
    pub(super) graphs: Vec<Nodes>,
    pub(super) jobs: u32,
}

pub(super) fn name(node: usize) -> String {
    format!("n{node}")
}

/// The nodes on the paths between two nodes, both among them.
pub(super) fn between(nodes: &Nodes, from: usize, to: usize) -> BTreeSet<usize> {
    let above = upstream(nodes, to);
    above.iter().copied().filter(|node| upstream(nodes, *node).contains(&from)).collect()
}

pub(super) fn upstream(nodes: &Nodes, node: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([node]);
    for need in &nodes[node].needs {
        found.extend(upstream(nodes, *need));
    }
    found
}

/// The regions of a blueprint by the node that closes them.
pub(super) fn regions(nodes: &Nodes) -> Vec<(usize, BTreeSet<usize>)> {
    let closers = nodes.iter().enumerate().filter_map(|(closer, node)| Some((closer, node.repair?.0)));
    closers.map(|(closer, from)| (closer, between(nodes, from, closer))).collect()
}

/// The closers that a node has to wait for, because it needs the inside of their regions.
pub(super) fn waits_for(nodes: &Nodes, regions: &[(usize, BTreeSet<usize>)], node: usize) -> Vec<usize> {
    let inside = |members: &BTreeSet<usize>| nodes[node].needs.iter().any(|need| members.contains(need));
    let outside = regions.iter().filter(|(_, members)| !members.contains(&node) && inside(members));
    outside.map(|(closer, _)| *closer).collect()
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} places", self.jobs)?;
        self.texts().iter().try_for_each(|(name, text)| writeln!(f, "# {name}\n{text}"))
    }
}

impl Spec {
    /// As files of blueprints, by name.
    pub(super) fn texts(&self) -> Vec<(String, String)> {
        let text = |nodes: &Nodes| {
            let mut text = "[inputs]\ngo = { type = \"boolean\", default = true }\nitems = { type = \"list\", default = [] }\n".to_owned();
            for (number, node) in nodes.iter().enumerate() {
                let _ = write!(text, "{}", node.text(number, "run = \"true\"\n"));
            }
            text
        };
        self.graphs.iter().enumerate().map(|(number, nodes)| (format!("g{number}"), text(nodes))).collect()
    }
}

impl Node {
    /// The table of a node, whose work, if it is a command, stands in `work`.
    pub(super) fn text(&self, number: usize, work: &str) -> String {
        let mut text = format!("[nodes.{}]\n", name(number));
        let mut line = |key: &str, value: String| {
            let _ = writeln!(text, "{key} = {value}");
        };
        if !self.needs.is_empty() {
            line("needs", format!("{:?}", self.needs.iter().copied().map(name).collect::<Vec<_>>()));
        }
        match self.kind {
            Kind::Run => {}
            Kind::Wait => line("wait", "\"1s\"".to_owned()),
            Kind::Use(graph) => line("use", format!("\"g{graph}\"")),
            Kind::Gate { min, expires: None } => line("gate", format!("{{ min = {min} }}")),
            Kind::Gate { min, expires: Some(silence) } => {
                let silence = if silence == OnSilence::Reject { "reject" } else { "escalate" };
                line("gate", format!("{{ min = {min}, expires = \"1h\", on_timeout = \"{silence}\" }}"));
            }
        }
        if self.when {
            line("when", "\"inputs.go\"".to_owned());
        }
        match self.join {
            Join::All => {}
            Join::Any => line("join", "\"any\"".to_owned()),
            Join::Settled => line("join", "\"settled\"".to_owned()),
        }
        match self.expect {
            Expect::Success => {}
            Expect::Failure => line("expect", "\"failure\"".to_owned()),
            Expect::Any => line("expect", "\"any\"".to_owned()),
        }
        if let Some(parallel) = self.each {
            line("each", "\"inputs.items\"".to_owned());
            line("max_parallel", parallel.to_string());
        }
        if let Some(retry) = self.retry {
            let on = if retry.on_command { ", on = [\"command\", \"conflict\", \"infra\"]" } else { "" };
            line("retry", format!("{{ attempts = {}{on} }}", retry.attempts));
        }
        if let Some((from, rounds)) = self.repair {
            line("repair", format!("{{ from = \"{}\", rounds = {rounds} }}", name(from)));
        }
        if self.kind == Kind::Run {
            text.push_str(work);
        }
        text
    }
}

/// Numbers that [`Draft::node`] makes a node of. Small numbers make simple nodes, so that a failing case shrinks
/// to a simple one.
#[derive(Debug, Clone)]
struct Draft {
    needs: u8,
    kind: u8,
    when: u8,
    join: u8,
    expect: u8,
    each: u8,
    retry: u8,
    repair: u8,
    rounds: u32,
}

fn draft() -> impl Strategy<Value = Draft> {
    let first = (0..64_u8, 0..16_u8, 0..5_u8, 0..6_u8, 0..8_u8);
    let second = (0..8_u8, 0..8_u8, 0..16_u8, 2..5_u32);
    (first, second).prop_map(|((needs, kind, when, join, expect), (each, retry, repair, rounds))| Draft {
        needs,
        kind,
        when,
        join,
        expect,
        each,
        retry,
        repair,
        rounds,
    })
}

impl Draft {
    fn node(&self, number: usize, later: std::ops::Range<usize>) -> Node {
        let needs: Vec<usize> = (0..6)
            .filter(|bit| self.needs >> bit & 1 == 1)
            .filter_map(|bit| number.checked_sub(bit + 1))
            .collect();
        let kind = match self.kind {
            10 => Kind::Wait,
            11 => Kind::Gate { min: 1 + usize::from(self.expect % 2), expires: None },
            12 if self.expect < 4 => Kind::Gate { min: 1, expires: Some(OnSilence::Reject) },
            12 => Kind::Gate { min: 1, expires: Some(OnSilence::Escalate) },
            13..=15 if !later.is_empty() => Kind::Use(later.start + usize::from(self.expect) % later.len()),
            _ => Kind::Run,
        };
        let works = matches!(kind, Kind::Run | Kind::Use(_));
        let join = match self.join {
            4 if needs.len() > 1 => Join::Any,
            5 if !needs.is_empty() => Join::Settled,
            _ => Join::All,
        };
        let expect = match (self.expect, kind) {
            (6, Kind::Run) => Expect::Failure,
            (7, Kind::Run) => Expect::Any,
            _ => Expect::Success,
        };
        let retry = match self.retry {
            5 => Some(Retry { attempts: 2, on_command: false }),
            6 => Some(Retry { attempts: 2, on_command: true }),
            7 => Some(Retry { attempts: 5, on_command: true }),
            _ => None,
        };
        let back = usize::from(self.repair).checked_sub(8);
        Node {
            kind,
            when: self.when == 4,
            join,
            expect,
            each: usize::from(self.each).checked_sub(5).filter(|parallel| *parallel > 0 && works),
            retry: retry.filter(|_| works),
            repair: back
                .filter(|_| !needs.is_empty())
                .map(|back| (number.saturating_sub(back + 1), self.rounds)),
            needs,
        }
    }
}

fn nodes(drafts: &[Draft], later: &std::ops::Range<usize>) -> Nodes {
    let mut nodes: Nodes = Vec::new();
    for (number, draft) in drafts.iter().enumerate() {
        nodes.push(draft.node(number, later.clone()));
        let Some((from, _)) = nodes[number].repair else { continue };
        if between(&nodes, from, number).is_empty() || overlaps(&nodes) {
            nodes[number].repair = None;
        }
    }
    // What waits for each other: nodes behind their needs, outsiders behind closers. The last repair goes until
    // there is an order of all.
    while !has_an_order(&nodes) {
        if let Some(node) = nodes.iter_mut().rev().find(|node| node.repair.is_some()) {
            node.repair = None;
        }
    }
    nodes
}

fn overlaps(nodes: &Nodes) -> bool {
    let regions = regions(nodes);
    regions.iter().enumerate().any(|(at, (_, one))| {
        regions[..at]
            .iter()
            .any(|(_, other)| !one.is_disjoint(other) && !one.is_subset(other) && !other.is_subset(one))
    })
}

fn has_an_order(nodes: &Nodes) -> bool {
    let regions = regions(nodes);
    let mut done = BTreeSet::new();
    loop {
        let ready = (0..nodes.len()).find(|node| {
            let mut before = nodes[*node].needs.iter().copied().chain(waits_for(nodes, &regions, *node));
            !done.contains(node) && before.all(|before| done.contains(&before))
        });
        let Some(node) = ready else { return done.len() == nodes.len() };
        done.insert(node);
    }
}

/// Random blueprints that are valid.
pub(super) fn specs() -> impl Strategy<Value = Spec> {
    let root = proptest::collection::vec(draft(), 1..10);
    let others = proptest::collection::vec(proptest::collection::vec(draft(), 1..5), 0..3);
    (root, others, 1..5_u32).prop_map(|(root, others, jobs)| {
        let count = others.len() + 1;
        let mut graphs = vec![nodes(&root, &(1..count))];
        graphs.extend(others.iter().enumerate().map(|(at, drafts)| nodes(drafts, &(at + 2..count))));
        Spec { graphs, jobs }
    })
}
