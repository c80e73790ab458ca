//! Which nodes before another one can change which files. Commands and agents can change all of them.

use std::collections::BTreeSet;

use globset::GlobMatcher;

use crate::graph::{Action, EditKind, GraphIx, NodeIx, Program};

/// A node before `node` that can change a path that matches, if there is one.
pub(super) fn can_touch<'a>(
    program: &'a Program,
    graph: GraphIx,
    node: NodeIx,
    paths: &GlobMatcher,
) -> Option<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next = vec![node];
    while let Some(at) = next.pop() {
        for need in program.graph(graph).needs(at) {
            if seen.insert(*need) {
                if writes(program, graph, *need, paths) {
                    return Some(&program.graph(graph).node(*need).name);
                }
                next.push(*need);
            }
        }
    }
    None
}

fn writes(program: &Program, graph: GraphIx, at: NodeIx, paths: &GlobMatcher) -> bool {
    let node = program.graph(graph).node(at);
    match &node.action {
        Action::Use(uses) => {
            let inner = uses.graph;
            (0..program.graph(inner).nodes.len() as u32).any(|at| writes(program, inner, NodeIx(at), paths))
        }
        Action::Edit(edits) => edits.iter().any(|edit| match edit.kind {
            // A patch names its files itself.
            EditKind::Patch(_) => true,
            _ => paths.is_match(&edit.file),
        }),
        _ => node.writes_workspace(),
    }
}
