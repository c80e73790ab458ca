//! Gates that a node needs and that do not hold it up.

use crate::finding::{Code, Finding, Findings};
use crate::format::{Approval, Join};
use crate::graph::{GraphIx, NodeIx, Passed, Program};
use crate::proof::Facts;

pub(super) fn warn(program: &Program, ix: GraphIx, findings: &mut Findings) {
    let graph = program.graph(ix);
    if !graph.nodes.iter().any(crate::graph::Node::is_human_gate) {
        return;
    }
    let approved = Passed::Approval(Approval::Human);
    let facts = Facts::of(program, ix, &approved);
    for (at, node) in (0_u32..).map(NodeIx).zip(&graph.nodes) {
        if facts.before(at) || node.join == Join::All {
            continue;
        }
        let Some(held) = node.needs.iter().find(|need| facts.with(**need)) else { continue };
        let others: Vec<String> = node
            .needs
            .iter()
            .filter(|need| !facts.with(**need))
            .map(|need| format!("`{}`", graph.node(*need).name))
            .collect();
        let why = match node.join {
            Join::Any => format!("it joins with \"any\", and {} will do", others.join(" or ")),
            _ => "it joins with \"settled\", and so runs after a no as well".to_owned(),
        };
        findings.push(
            Finding::new(
                Code::GateBypassed,
                node.span.clone(),
                format!("`{}` needs a gate and runs without it", node.name),
            )
            .label("is not held up")
            .note(graph.node(*held).span.clone(), "what people approve here")
            .reason(why)
            .fix("join with \"all\", or do not need the gate"),
        );
    }
}
