//! Conditions that are the same in every run, and the nodes that never run because of them.

use serde_json::{Map, json};

use crate::expr::Expr;
use crate::finding::{Code, Finding, Findings};
use crate::format::Join;
use crate::graph::order::{Order, Standing};
use crate::graph::{Graph, Node, NodeIx};

pub(super) fn warn(graph: &Graph, order: &Order, findings: &mut Findings) {
    let mut never = vec![false; graph.nodes.len()];
    for index in petgraph::algo::toposort(&graph.dag, None).unwrap_or_default() {
        let at = graph.dag[index];
        let node = graph.node(at);
        if let Some(reason) = cannot_run(graph, node, &never) {
            never[at.at()] = true;
            findings.push(
                Finding::new(Code::NeverRuns, node.span.clone(), format!("`{}` never runs", node.name))
                    .label("its needs never let it")
                    .reason(reason)
                    .fix("join with \"any\" or \"settled\", or change the conditions of what it needs"),
            );
        }
        let Some(fixed) = node.when.as_ref().and_then(|when| constant(graph, order, at, when)) else {
            continue;
        };
        never[at.at()] |= !fixed;
        let finding = Finding::new(
            Code::FixedCondition,
            node.span.clone(),
            format!("the condition of `{}` is always {fixed}", node.name),
        )
        .label(if fixed { "it always runs" } else { "it never runs" });
        findings.push(match node.when.as_ref().map(Expr::references) {
            Some([]) | None => finding.fix("take the condition out, or the node"),
            Some(_) => finding
                .reason("what it needs with `join = \"all\"` has always succeeded when it is asked")
                .fix("join with \"settled\" to look at how a node ended"),
        });
    }
}

/// What a condition always comes to, if that can be seen.
fn constant(graph: &Graph, order: &Order, at: NodeIx, when: &Expr) -> Option<bool> {
    let mut nodes = Map::new();
    for reference in when.references() {
        match reference.path.as_slice() {
            [first, name, last] if first == "nodes" && last == "status" => {
                let other = graph.by_name.get(name.as_str()).copied()?;
                if order.standing(at, other) != Standing::Sure {
                    return None;
                }
                nodes.insert(name.clone(), json!({ "status": "succeeded" }));
            }
            _ => return None,
        }
    }
    when.eval(&json!({ "nodes": nodes })).ok()?.as_bool()
}

/// Why the needs of a node never let it run.
fn cannot_run(graph: &Graph, node: &Node, never: &[bool]) -> Option<String> {
    let idle: Vec<NodeIx> = node.needs.iter().copied().filter(|need| never[need.at()]).collect();
    match node.join {
        Join::Settled => None,
        Join::Any => (!node.needs.is_empty() && idle.len() == node.needs.len())
            .then(|| "none of its needs ever runs".to_owned()),
        Join::All => match idle.first() {
            Some(idle) => Some(format!("`{}` never runs", graph.node(*idle).name)),
            None => apart(graph, node)
                .map(|(one, other)| format!("`{}` runs only if `{}` does not", one.name, other.name)),
        },
    }
}

/// Two needs of which one runs only if the other does not.
fn apart<'a>(graph: &'a Graph, node: &Node) -> Option<(&'a Node, &'a Node)> {
    let conditions: Vec<(&Node, &str)> = node
        .needs
        .iter()
        .map(|need| graph.node(*need))
        .filter_map(|need| Some((need, need.when.as_ref()?.source().trim())))
        .collect();
    let denies = |one: &str, other: &str| {
        let rest = one.strip_prefix("not ").map(str::trim);
        rest == Some(other) || rest == Some(&*format!("({other})"))
    };
    conditions.iter().find_map(|(one, when)| {
        let (other, _) = conditions.iter().find(|(_, other)| denies(when, other))?;
        Some((*one, *other))
    })
}
