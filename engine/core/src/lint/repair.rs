//! Repairs that never start, and those whose further rounds change nothing that is looked at.

use crate::finding::{Code, Finding, Findings};
use crate::format::{Expect, Workspace};
use crate::graph::{Action, Graph, Region};

pub(super) fn warn(graph: &Graph, findings: &mut Findings) {
    for region in &graph.regions {
        let closer = graph.node(region.closer);
        if let Action::Run(run) = &closer.action
            && run.expect == Expect::Any
        {
            findings.push(
                Finding::new(
                    Code::IdleRepair,
                    closer.span.clone(),
                    format!("the repair of `{}` never starts", closer.name),
                )
                .label("succeeds with any exit code")
                .reason("a round starts when the node that closes it fails")
                .fix("say which exit codes are a success, or take `repair` out"),
            );
        } else if blind(graph, region) {
            findings.push(
                Finding::new(
                    Code::RepairUseless,
                    closer.span.clone(),
                    format!("another round changes nothing that `{}` looks at", closer.name),
                )
                .label("sees no workspace, and no output of this region")
                .fix("let it see the workspace, or read what the nodes of the region give"),
            );
        }
    }
}

/// Whether the node that closes a region is a command that sees nothing of it.
fn blind(graph: &Graph, region: &Region) -> bool {
    let closer = graph.node(region.closer);
    let (Action::Run(run), Workspace::None) = (&closer.action, closer.workspace) else { return false };
    // A command with hosts may look at the world.
    run.network.is_empty()
        && region.members.len() > 1
        && !closer.reads().iter().any(|(_, reference)| match reference.path.as_slice() {
            [first, name, ..] if first == "nodes" => {
                graph.by_name.get(name.as_str()).is_some_and(|ix| region.members.binary_search(ix).is_ok())
            }
            _ => false,
        })
}
