//! `plan`: what would run, in which order, and how far the loops can go.

use std::collections::BTreeMap;

use blueprint_core::format::Tier;
use blueprint_core::graph::{Action, Graph, Image, NodeIx, Program};
use petgraph::algo::toposort;
use serde_json::{Value, json};

use super::bill::{self, History};
use super::check;
use crate::args::{Ceilings, Format};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::terminal;

pub(crate) async fn plan(context: &Context, name: &str, ceilings: &Ceilings) -> Result<Exit, CliError> {
    let (_, program) = check::sound(context, name)?;
    let bill = bill::of(context, &program, &BTreeMap::new());
    let history = History::of(context, &program.name).await?;
    if context.format == Format::Json {
        let graphs: Vec<Value> = program.graphs.iter().map(|graph| json!({ "name": graph.name, "nodes": order(graph).into_iter().map(|ix| described(&program, graph, ix)).collect::<Vec<_>>() })).collect();
        terminal::line(
            &json!({ "blueprint": program.name, "digest": program.digest, "graphs": graphs,
                "bill": bill::to_json(&bill, &history) })
            .to_string(),
        );
        return bill::refuse(&bill, ceilings).map(|()| Exit::Succeeded);
    }
    terminal::line(&format!("{} ({})", program.name, program.digest.get(..12).unwrap_or_default()));
    for input in &program.root().inputs {
        let default =
            input.default.as_ref().map_or_else(|| ", required".to_owned(), |default| format!(" = {default}"));
        terminal::line(&format!("  input {}: {}{default}", input.name, input.type_name()));
    }
    print(&program, program.root(), 1);
    proved(&program);
    bill::print(&bill, &history);
    bill::refuse(&bill, ceilings).map(|()| Exit::Succeeded)
}

/// How many invariants were proved.
fn proved(program: &Program) {
    let claims: usize = program.graphs.iter().map(|graph| graph.claims.len()).sum();
    match claims {
        0 => {}
        1 => terminal::line("1 invariant, proved on every path"),
        more => terminal::line(&format!("{more} invariants, proved on every path")),
    }
}

/// The nodes in an order in which they could run.
fn order(graph: &Graph) -> Vec<NodeIx> {
    let mut sorted: Vec<NodeIx> =
        toposort(&graph.dag, None).unwrap_or_default().into_iter().map(|index| graph.dag[index]).collect();
    let depth = depths(graph, &sorted);
    sorted.sort_by_key(|ix| (depth[ix.at()], *ix));
    sorted
}

fn depths(graph: &Graph, sorted: &[NodeIx]) -> Vec<u32> {
    let mut depth = vec![0; graph.nodes.len()];
    for ix in sorted {
        depth[ix.at()] = graph.before(*ix).map(|(before, _)| depth[before.at()] + 1).max().unwrap_or(0);
    }
    depth
}

fn print(program: &Program, graph: &Graph, indent: usize) {
    let sorted = order(graph);
    let depth = depths(graph, &sorted);
    for ix in sorted {
        let node = graph.node(ix);
        let pad = "  ".repeat(indent);
        let needs: Vec<&str> = node.needs.iter().map(|need| &*graph.node(*need).name).collect();
        let mut notes = Vec::new();
        if !needs.is_empty() {
            notes.push(format!("after {}", needs.join(", ")));
        }
        if needs.len() > 1 && node.join != blueprint_core::format::Join::All {
            notes.push(format!("join {}", node.join));
        }
        if node.tier > Tier::Trusted {
            notes.push(node.tier.to_string());
        }
        if node.effect() == Some(blueprint_core::format::Effect::Commit) {
            notes.push("changes something elsewhere".to_owned());
        }
        if let Some(when) = &node.when {
            notes.push(format!("when {}", when.source()));
        }
        if node.retry.attempts > 1 {
            notes.push(format!("up to {} tries", node.retry.attempts));
        }
        if let Some(region) = node.repair {
            let region = &graph.regions[region.0 as usize];
            notes.push(format!("up to {} rounds from {}", region.rounds, graph.node(region.from).name));
        }
        if let Some(image) = &node.image {
            notes.push(format!("in {image}"));
        }
        terminal::line(&format!(
            "{pad}{:>3}. {:20} {:5} {}",
            depth[ix.at()] + 1,
            node.name,
            node.action.kind(),
            terminal::clean(&notes.join("; "))
        ));
        if let Action::Use(uses) = &node.action {
            if let Some(each) = &uses.each {
                terminal::line(&format!(
                    "{pad}     for each of {}, {} at a time",
                    terminal::clean(each.list.source()),
                    each.max_parallel
                ));
            }
            print(program, program.graph(uses.graph), indent + 2);
        }
    }
}

fn described(program: &Program, graph: &Graph, ix: NodeIx) -> Value {
    let node = graph.node(ix);
    let needs: Vec<&str> = node.needs.iter().map(|need| &*graph.node(*need).name).collect();
    let uses = match &node.action {
        Action::Use(uses) => json!(program.graph(uses.graph).name),
        _ => Value::Null,
    };
    let image = match &node.image {
        None => Value::Null,
        Some(Image::Named(name)) => json!(name),
        Some(Image::Made(recipe)) => {
            json!({ "of": recipe.to_string(), "recipe": recipe.key(), "bases": recipe.bases() })
        }
    };
    json!({ "node": node.name, "kind": node.action.kind(), "needs": needs, "join": node.join, "tries": node.retry.attempts,
        "when": node.when.as_ref().map(blueprint_core::expr::Expr::source), "workspace": node.workspace, "tier": node.tier, "image": image, "uses": uses,
        "rounds": node.repair.map(|region| graph.regions[region.0 as usize].rounds) })
}
