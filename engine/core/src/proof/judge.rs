//! One invariant: whether it holds, and where not, in words.

use globset::GlobBuilder;

use super::afterwards::{self, Missing};
use super::facts::Facts;
use super::path::Path;
use super::reach;
use crate::finding::{Code, Finding, Findings};
use crate::format::{Approval, Effect, Tier};
use crate::graph::{Claim, Graph, GraphIx, Kept, Node, NodeIx, Passed, Program, Target, What};
use crate::trust::{Port, Trust};

pub(super) fn claim(program: &Program, trust: &Trust, ix: GraphIx, claim: &Claim, findings: &mut Findings) {
    let graph = program.graph(ix);
    match &claim.what {
        What::Before(targets, passed) => {
            let nodes = nodes(graph, targets);
            hollow(claim, &nodes, targets, findings);
            let Ok(touched) = touched(claim, findings) else { return };
            for what in passed {
                let facts = Facts::of(program, ix, what);
                for at in nodes.iter().filter(|at| !facts.before(**at)) {
                    let writer = touched.as_ref().map(|paths| reach::can_touch(program, ix, *at, paths));
                    if writer != Some(None) {
                        findings.push(before(graph, claim, *at, what, &facts, writer.flatten()));
                    }
                }
            }
        }
        What::After(targets, passed) => {
            let nodes = nodes(graph, targets);
            hollow(claim, &nodes, targets, findings);
            for what in passed {
                for at in &nodes {
                    if let Err(missing) = afterwards::holds(program, ix, *at, what) {
                        findings.push(after(graph, claim, *at, what, &missing));
                    }
                }
            }
        }
        What::Never(kept) => {
            for (kept, tier) in kept {
                for finding in never(program, trust, ix, Some(claim), *kept, *tier) {
                    findings.push(finding);
                }
            }
        }
    }
}

/// The nodes that are meant.
fn nodes(graph: &Graph, targets: &[Target]) -> Vec<NodeIx> {
    let meant = |at: NodeIx, node: &Node| {
        targets.iter().any(|target| match target {
            Target::Node(wanted) => *wanted == at,
            Target::Kind(kind) => node.action.kind() == *kind,
            Target::Effect(effect) => node.effect() == Some(*effect),
        })
    };
    (0_u32..).map(NodeIx).zip(&graph.nodes).filter(|(at, node)| meant(*at, node)).map(|(at, _)| at).collect()
}

fn hollow(claim: &Claim, nodes: &[NodeIx], targets: &[Target], findings: &mut Findings) {
    if nodes.is_empty() && !targets.is_empty() {
        findings.push(
            Finding::new(Code::Hollow, claim.span.clone(), "this invariant is about no node")
                .label("nothing here is of this sort")
                .fix("name nodes, or a sort that there is"),
        );
    }
}

/// The paths that a claim is limited to.
fn touched(claim: &Claim, findings: &mut Findings) -> Result<Option<globset::GlobMatcher>, ()> {
    let Some(glob) = &claim.touches else { return Ok(None) };
    match GlobBuilder::new(glob).literal_separator(true).build() {
        Ok(glob) => Ok(Some(glob.compile_matcher())),
        Err(error) => {
            findings.push(
                Finding::new(
                    Code::BadValue,
                    claim.span.clone(),
                    format!("`{glob}` is not a pattern of paths"),
                )
                .label(error.kind().to_string())
                .fix("write for example `touches = \"src/pay/**\"`"),
            );
            Err(())
        }
    }
}

pub(super) fn passing(graph: &Graph, what: &Passed) -> String {
    match what {
        Passed::Node(at) => format!("`{}` having passed", graph.node(*at).name),
        Passed::Kind(kind) => format!("a node of the kind {kind} having passed"),
        Passed::Approval(Approval::Human) => "a person having approved".to_owned(),
        Passed::Approval(Approval::Checks) => "CI having passed".to_owned(),
    }
}

fn before(
    graph: &Graph,
    claim: &Claim,
    at: NodeIx,
    what: &Passed,
    facts: &Facts<'_>,
    writer: Option<&str>,
) -> Finding {
    let node = graph.node(at);
    let way = Path::without(facts, graph, at).map(|path| path.words(graph)).unwrap_or_default();
    let touched = writer.map_or_else(String::new, |writer| format!("; and `{writer}` can change such paths"));
    Finding::new(
        Code::Broken,
        claim.span.clone(),
        format!("`{}` can start without {}", node.name, passing(graph, what)),
    )
    .label("does not hold")
    .note(node.span.clone(), "it starts here")
    .reason(format!("this way leads there: {way}{touched}"))
    .fix(match what {
        Passed::Node(need) => format!(
            "let `{}` need `{}`, directly or by way of nodes that join with \"all\"",
            node.name,
            graph.node(*need).name
        ),
        Passed::Approval(Approval::Human) => {
            format!("let `{}` need a gate, directly or by way of nodes that join with \"all\"", node.name)
        }
        Passed::Kind(kind) => format!("let `{}` need a node of the kind {kind}", node.name),
        Passed::Approval(Approval::Checks) => format!("let `{}` need a ci node", node.name),
    })
}

fn after(graph: &Graph, claim: &Claim, at: NodeIx, what: &Passed, missing: &Missing) -> Finding {
    let node = graph.node(at);
    let reason = match missing {
        Missing::Condition(other) => {
            format!("`{}` has a condition, and is skipped when that is false", graph.node(*other).name)
        }
        Missing::Nothing => format!("nothing of the sort follows from `{}`", node.name),
    };
    Finding::new(
        Code::Broken,
        claim.span.clone(),
        format!("a run can succeed with `{}` and without {}", node.name, passing(graph, what)),
    )
    .label("does not hold")
    .note(node.span.clone(), "after this")
    .reason(reason)
    .fix(format!("let what must follow need `{}`, without a condition on the way", node.name))
}

pub(super) fn never(
    program: &Program,
    trust: &Trust,
    ix: GraphIx,
    claim: Option<&Claim>,
    kept: Kept,
    tier: Tier,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let graph = program.graph(ix);
    for (at, node) in (0_u32..).map(NodeIx).zip(&graph.nodes) {
        let (meant, port, does) = match kept {
            Kept::Secrets => (node.holds_secrets(graph), Port::Reads(ix, at), "holds a secret"),
            Kept::Network => (!node.hosts().is_empty(), Port::Reads(ix, at), "may reach hosts"),
            Kept::Effects => {
                (node.effect() == Some(Effect::Commit), Port::Reached(ix, at), "changes something elsewhere")
            }
        };
        let found = trust.at(port);
        if !meant || found < tier {
            continue;
        }
        let reason = trust.because(program, port);
        let finding = Finding::new(
            Code::Broken,
            claim.map_or_else(|| node.span.clone(), |claim| claim.span.clone()),
            format!("`{}` {does}, and what is {found} reaches it", node.name),
        )
        .label(if claim.is_some() { "does not hold" } else { "here" })
        .reason(reason.sentences())
        .fix(format!("let a gate that `{}` needs approve what comes before", node.name));
        findings.push(if claim.is_some() { finding.note(node.span.clone(), "here") } else { finding });
    }
    findings
}
