//! What of the trust flow is a fault, and the tier that every node gets. A fault stops the run; there is no setting that
//! makes it a warning.

use std::collections::BTreeSet;

use super::cover::Cover;
use super::{Port, Trust};
use crate::expr::{Expr, Reference};
use crate::finding::{Code, Finding, Findings};
use crate::format::{Effect, Tier};
use crate::graph::{Action, Approved, ForgeEffect, Graph, GraphIx, Node, NodeIx, Program, SubKind};

/// Gives every node that runs something the tier it needs, and says what must not be.
pub(crate) fn judge(program: &mut Program, findings: &mut Findings) -> Trust {
    write_down(program);
    let trust = Trust::of(program);
    for number in 0..program.graphs.len() as u32 {
        let graph = GraphIx(number);
        for at in (0..program.graph(graph).nodes.len() as u32).map(NodeIx) {
            let judge = Judge { program, trust: &trust, graph, at };
            findings.extend(judge.findings());
            let tier = trust.tier(graph, at);
            let node = &mut program.graphs[number as usize].nodes[at.at()];
            node.tier = node.tier.max(tier);
        }
    }
    trust
}

/// Writes down, for the run, what gates have approved for whom.
fn write_down(program: &mut Program) {
    for number in 0..program.graphs.len() {
        let graph = &program.graphs[number];
        let cover = Cover::of(graph);
        let approved: Vec<Approved> = (0_u32..)
            .map(NodeIx)
            .zip(&graph.nodes)
            .map(|(at, node)| Approved {
                needs: node.needs.iter().copied().filter(|need| cover.approves(at, *need)).collect(),
                outputs: named(program, graph, node)
                    .into_iter()
                    .filter(|source| cover.output_is_approved(at, *source))
                    .collect(),
            })
            .collect();
        let returned = graph.returns.iter().flat_map(|(_, value, _)| value.references());
        let returns = returned
            .filter_map(|reference| source(graph, reference))
            .filter(|source| cover.return_is_approved(*source))
            .collect();
        let graph = &mut program.graphs[number];
        graph.approved_returns = returns;
        for (node, approved) in graph.nodes.iter_mut().zip(approved) {
            node.approved = approved;
        }
    }
}

/// The nodes of a graph whose outputs a node names, or the body that it repeats.
fn named(program: &Program, graph: &Graph, node: &Node) -> BTreeSet<NodeIx> {
    let mut found: BTreeSet<NodeIx> =
        node.reads().into_iter().filter_map(|(_, reference)| source(graph, reference)).collect();
    let from = node.outputs.iter().flat_map(|output| &output.from).flat_map(Expr::references);
    found.extend(from.filter_map(|reference| source(graph, reference)));
    if let Action::Use(uses) = &node.action
        && program.graph(uses.graph).kind == SubKind::Body
    {
        for inner in &program.graph(uses.graph).nodes {
            found.extend(named(program, graph, inner));
        }
    }
    found
}

fn source(graph: &Graph, reference: &Reference) -> Option<NodeIx> {
    match reference.path.as_slice() {
        [first, name, ..] if first == "nodes" => graph.by_name.get(name.as_str()).copied(),
        _ => None,
    }
}

struct Judge<'a> {
    program: &'a Program,
    trust: &'a Trust,
    graph: GraphIx,
    at: NodeIx,
}

impl Judge<'_> {
    fn findings(&self) -> Findings {
        let mut findings = Findings::default();
        for finding in [self.tier(), self.image(), self.secrets(), self.effect()].into_iter().flatten() {
            findings.push(finding);
        }
        findings
    }

    /// A node that says it is better than what it runs.
    fn tier(&self) -> Option<Finding> {
        let node = self.program.graph(self.graph).node(self.at);
        let declared = node.declared.as_ref()?;
        let work = Port::Work(self.graph, self.at);
        let tier = self.trust.at(work);
        if !matches!(node.action, Action::Run(_) | Action::Agent(_)) || declared.value >= tier {
            return None;
        }
        let name = &node.name;
        let finding = Finding::new(
            Code::TierTooGood,
            declared.span.clone(),
            format!("`{name}` is declared {}, but what it works with is {tier}", declared.value),
        )
        .label(format!("it is {tier}"));
        let own = matches!(node.action, Action::Agent(_)) && self.trust.taint(self.graph, self.at) < tier;
        Some(self.because(finding, work).fix(if own {
            format!("write `tier = \"{tier}\"`, or take the key out, which means the same")
        } else {
            format!(
                "take the key out, then it is {tier} and runs in the sandbox for that; or let a gate that `{name}` needs \
                 approve what comes before"
            )
        }))
    }

    /// An image that may be another one tomorrow, for work that needs a strong sandbox.
    fn image(&self) -> Option<Finding> {
        let node = self.program.graph(self.graph).node(self.at);
        let written = node.declared.as_ref().map_or(node.default_tier, |declared| declared.value);
        let work = Port::Work(self.graph, self.at);
        let tier = self.trust.at(work);
        // A tier that is written was looked at where the image is written.
        if tier <= Tier::Internal || written > Tier::Internal {
            return None;
        }
        let tag = node.image.as_ref()?.names().into_iter().find(|name| !is_pinned(name))?;
        let finding = Finding::new(
            Code::BadImage,
            node.span.clone(),
            format!("`{}` works with what is {tier}, in `{tag}`", node.name),
        )
        .label("a tag may be moved to something else, which this tier does not bear");
        Some(self.because(finding, work).fix("write the digest of the image, as in `NAME@sha256:…`"))
    }

    /// A secret in the hands of commands that what others wrote can steer.
    fn secrets(&self) -> Option<Finding> {
        let graph = self.program.graph(self.graph);
        let node = graph.node(self.at);
        let reads = Port::Reads(self.graph, self.at);
        let tier = self.trust.at(reads);
        if tier < Tier::Generated || !node.holds_secrets(graph) {
            return None;
        }
        let name = &node.name;
        let finding = Finding::new(
            Code::SecretReached,
            node.span.clone(),
            format!("`{name}` holds a secret and works with what is {tier}"),
        )
        .label("could be made to give the secret away, or to misuse it");
        Some(self.because(finding, reads).fix(format!(
            "let a gate that `{name}` needs approve what comes before; or move the secret to a node that works with nothing \
             of it (`workspace = \"none\"`)"
        )))
    }

    /// A change to the world that nobody has looked at.
    fn effect(&self) -> Option<Finding> {
        let node = self.program.graph(self.graph).node(self.at);
        let reached = Port::Reached(self.graph, self.at);
        let tier = self.trust.at(reached);
        if tier < Tier::Generated || node.effect() != Some(Effect::Commit) {
            return None;
        }
        let name = &node.name;
        let does = match &node.action {
            Action::Forge(forge) if forge.effect == ForgeEffect::Merge => "merges",
            Action::Forge(_) => "releases",
            _ => "changes something elsewhere",
        };
        let finding = Finding::new(
            Code::EffectReached,
            node.span.clone(),
            format!("`{name}` {does} after work that is {tier}, and no person has approved it"),
        )
        .label("needs a gate before it");
        let finding = self.because(finding, reached);
        let gate =
            "put a gate between: `[nodes.approve]` with `gate = { min = 1 }`, and let this node need it";
        Some(finding.fix(match &node.action {
            Action::Http(_) => format!(
                "{gate}; if the request changes nothing that matters, such as a message, say `effect = \"propose\"` in \
                 its `http`"
            ),
            _ => gate.to_owned(),
        }))
    }

    fn because(&self, finding: Finding, port: Port) -> Finding {
        let reason = self.trust.because(self.program, port);
        let here = &self.program.graph(self.graph).node(self.at).span;
        let finding = finding.reason(reason.sentences());
        match &reason.span {
            Some(span) if span != here => finding.note(span.clone(), format!("{} from here", reason.tier)),
            _ => finding,
        }
    }
}

/// Whether a name of an image can only mean one.
fn is_pinned(name: &str) -> bool {
    name.contains("@sha256:") || name.starts_with("sha256:")
}
