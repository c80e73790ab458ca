//! Guesses which sandboxes the nodes behind a node will want, and has them started while it works. A guess that is wrong
//! is never used, and one that fails is nobody's failure: no result may depend on what happens here.

use std::path::Path;
use std::sync::Arc;

use blueprint_core::format::Workspace;
use blueprint_core::graph::{Action, Edge, Node};
use blueprint_sandbox::Backend;

use super::{Job, command, kept};
use crate::shared::Shared;

/// Begins to start what the nodes that need this one will want, if they go on in its checkout.
pub(super) fn prepare(shared: &Arc<Shared>, job: &Job, checkout: Option<&Path>) {
    let graph = shared.program.graph(job.graph);
    for (next, edge) in graph.behind(job.node) {
        if edge == Edge::Needs {
            one(shared, job.node(shared), graph.node(next), checkout);
        }
    }
}

fn one(shared: &Arc<Shared>, before: &Node, node: &Node, checkout: Option<&Path>) {
    let Action::Run(run) = &node.action else { return };
    // What leads out is made for one attempt and cannot be made before.
    if !run.network.is_empty() || !run.credentials.is_empty() {
        return;
    }
    let Ok(backend) = shared.settings.isolation.of(node) else { return };
    // The others start in no more time than a claim takes.
    if !backend.is_container() && backend != Backend::Microvm {
        return;
    }
    let checkout = match (node.workspace, checkout) {
        (Workspace::None, _) => None,
        (_, Some(checkout)) => Some(checkout),
        // Which one it will be given is not known.
        (_, None) => return,
    };
    // A node whose sandbox cannot be described fails when it starts, and says why.
    let Ok(spec) = command::spec(shared, node, backend, checkout) else { return };
    let purpose = kept::purpose(node, backend, &spec);
    if let Some(purpose) = &purpose {
        // It will be given the one this node is in, or one that is kept.
        let same = shared.settings.isolation.of(before).is_ok_and(|now| {
            command::spec(shared, before, now, checkout)
                .is_ok_and(|spec| kept::purpose(before, now, &spec).as_ref() == Some(purpose))
        });
        if same || shared.kept.has(purpose) {
            return;
        }
    }
    shared.pool.warm(&shared.settings.launcher, backend, &spec, 1);
}
