//! Invariants that do not come from a blueprint but hold for every one: those of the project and of whoever runs it. They
//! know no names of nodes, only sorts. A blueprint can satisfy them and cannot switch them off.

use petgraph::Direction;
use petgraph::algo::toposort;
use petgraph::graph::DiGraph;
use petgraph::visit::EdgeRef;

use super::facts::Facts;
use super::judge::{never, passing};
use super::path::Path;
use crate::finding::{Code, Finding, Findings};
use crate::format::{Approval, Effect, OneOrNames, Prove};
use crate::graph::{Action, GraphIx, KINDS, Kept, Node, NodeIx, Passed, Program, Target};
use crate::trust::Trust;

/// An invariant for every blueprint, and where it is written.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The file and the line, for people.
    pub place: String,
    /// What it says.
    pub prove: Prove,
}

impl Policy {
    /// What is wrong with it, if it cannot be one.
    pub fn check(&self) -> Result<(), String> {
        let Prove { before, after, passed, gated_by, touches, never } = &self.prove;
        if after.is_some() || touches.is_some() {
            return Err("`after` and `touches` are for blueprints, which know what their nodes do".to_owned());
        }
        for names in [before, passed].into_iter().flatten() {
            sorts(names)?;
        }
        match (before, passed.is_some() || gated_by.is_some(), never) {
            (Some(_), true, None) => Ok(()),
            (None, false, Some(never))
                if never.secrets.is_some() || never.network.is_some() || never.effects.is_some() =>
            {
                Ok(())
            }
            _ => Err("say `before` with `passed` or `gated_by`, or `never` alone".to_owned()),
        }
    }
}

/// Sorts of nodes, as they are written.
fn sorts(names: &OneOrNames) -> Result<Vec<Target>, String> {
    let sort = |name: &str| {
        let kind = name.strip_prefix("kind:").and_then(|kind| KINDS.iter().find(|known| **known == kind));
        let effect = name.strip_prefix("effect:");
        let effect = effect.and_then(|effect| Effect::ALL.iter().find(|known| known.as_str() == effect));
        match (kind, effect) {
            (Some(kind), _) => Ok(Target::Kind(kind)),
            (_, Some(effect)) => Ok(Target::Effect(*effect)),
            _ => Err(format!(
                "`{name}` is no sort of nodes: settings know no names, only `kind:{}` and `effect:propose|commit`",
                KINDS.join("|")
            )),
        }
    };
    names.0.iter().map(|name| sort(name)).collect()
}

/// Says where a program breaks what must hold for all. A policy that makes no sense lets nothing pass.
pub(crate) fn judge(program: &Program, trust: &Trust, policies: &[Policy], findings: &mut Findings) {
    for policy in policies {
        if let Err(why) = policy.check() {
            findings.push(
                Finding::new(
                    Code::Broken,
                    None,
                    format!("the invariant of {} cannot be proved", policy.place),
                )
                .reason(why),
            );
            continue;
        }
        if let Some(kept) = &policy.prove.never {
            let all = [
                (Kept::Secrets, &kept.secrets),
                (Kept::Network, &kept.network),
                (Kept::Effects, &kept.effects),
            ];
            for (kept, tier) in all.into_iter().filter_map(|(kept, tier)| Some((kept, tier.as_ref()?.value)))
            {
                for graph in written(program) {
                    for finding in never(program, trust, graph, None, kept, tier) {
                        findings.push(demanded(finding, policy));
                    }
                }
            }
            continue;
        }
        let targets = policy.prove.before.as_ref().and_then(|names| sorts(names).ok()).unwrap_or_default();
        for what in wanted(policy) {
            let entered = entered(program, &what);
            for graph in written(program) {
                before(program, (graph, entered[graph.0 as usize]), policy, &targets, &what, findings);
            }
        }
    }
}

/// What must have come to pass.
fn wanted(policy: &Policy) -> Vec<Passed> {
    let sorts = policy.prove.passed.iter().filter_map(|names| sorts(names).ok()).flatten();
    let kinds = sorts.filter_map(|sort| match sort {
        Target::Kind(kind) => Some(Passed::Kind(kind)),
        Target::Effect(_) | Target::Node(_) => None,
    });
    kinds.chain(policy.prove.gated_by.iter().map(|approval| Passed::Approval(approval.value))).collect()
}

fn written(program: &Program) -> impl Iterator<Item = GraphIx> {
    (0_u32..).map(GraphIx).zip(&program.graphs).map(|(ix, _)| ix)
}

fn before(
    program: &Program,
    (ix, entered): (GraphIx, bool),
    policy: &Policy,
    targets: &[Target],
    what: &Passed,
    findings: &mut Findings,
) {
    let graph = program.graph(ix);
    let meant = |node: &Node| {
        targets.iter().any(|target| match target {
            Target::Kind(kind) => node.action.kind() == *kind,
            Target::Effect(effect) => node.effect() == Some(*effect),
            Target::Node(_) => false,
        })
    };
    if !graph.nodes.iter().any(meant) {
        return;
    }
    let facts = Facts::entered(program, ix, what, entered);
    for (at, node) in (0_u32..).map(NodeIx).zip(&graph.nodes).filter(|(_, node)| meant(node)) {
        if facts.before(at) {
            continue;
        }
        let way = Path::without(&facts, graph, at).map(|path| path.words(graph)).unwrap_or_default();
        let finding = Finding::new(
            Code::Broken,
            node.span.clone(),
            format!("`{}` can start without {}", node.name, passing(graph, what)),
        )
        .label("it starts here")
        .reason(format!("this way leads there: {way}"))
        .fix(match what {
            Passed::Approval(Approval::Human) => format!("let `{}` need a gate", node.name),
            _ => format!("let `{}` need what must have passed", node.name),
        });
        findings.push(demanded(finding, policy));
    }
}

fn demanded(finding: Finding, policy: &Policy) -> Finding {
    let reason = finding.reason.clone().unwrap_or_default();
    finding.reason(format!("{reason}; {} demands otherwise of every blueprint", policy.place))
}

/// For each graph, whether something has come to pass whenever it starts: at all places where it is used.
fn entered(program: &Program, what: &Passed) -> Vec<bool> {
    let mut uses: DiGraph<GraphIx, NodeIx> = DiGraph::new();
    let all: Vec<_> = written(program).map(|graph| uses.add_node(graph)).collect();
    for graph in written(program) {
        for (at, node) in (0_u32..).map(NodeIx).zip(&program.graph(graph).nodes) {
            if let Action::Use(used) = &node.action {
                uses.add_edge(all[graph.0 as usize], all[used.graph.0 as usize], at);
            }
        }
    }
    // Nothing came before the blueprint itself, and nothing is known of what is used nowhere.
    let mut entered: Vec<bool> =
        all.iter().map(|graph| uses.edges_directed(*graph, Direction::Incoming).next().is_some()).collect();
    for outer in toposort(&uses, None).unwrap_or_default() {
        let graph = uses[outer];
        let facts = Facts::entered(program, graph, what, entered[graph.0 as usize]);
        for edge in uses.edges(outer) {
            entered[uses[edge.target()].0 as usize] &= facts.before(*edge.weight());
        }
    }
    entered
}
