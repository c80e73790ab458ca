//! `explain`: what a code stands for, or what a node does and why it runs when it does.

use blueprint_core::finding::{ALL_CODES, Code};
use blueprint_core::format::Effect;
use blueprint_core::graph::{Action, Edge, GraphIx, NodeIx, Program};
use blueprint_core::trust::{Port, Trust};

use serde_json::json;

use super::check;
use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::terminal;

pub(crate) fn explain(context: &Context, what: &str, blueprint: Option<&str>) -> Result<Exit, CliError> {
    let json = context.format == Format::Json;
    if let Ok(code) = what.parse::<Code>() {
        if json {
            terminal::line(
                &json!({ "code": code, "title": code.title(), "explanation": code.explanation() })
                    .to_string(),
            );
            return Ok(Exit::Succeeded);
        }
        terminal::line(&format!("{code}: {}", code.title()));
        terminal::line("");
        terminal::line(code.explanation());
        return Ok(Exit::Succeeded);
    }
    let Some(blueprint) = blueprint else {
        let codes: Vec<String> = ALL_CODES.iter().map(ToString::to_string).collect();
        return Err(CliError::usage(format!("`{}` is not a code", terminal::clean(what)))
            .hint("to explain a node, name its blueprint: `blueprint explain NODE --blueprint NAME`")
            .hint(format!("the codes are {}", codes.join(", "))));
    };
    let (_, program) = check::sound(context, blueprint)?;
    let graph = program.root();
    let Some(ix) = graph.by_name.get(what).copied() else {
        let near = blueprint_core::finding::nearest(what, graph.by_name.keys().map(|name| &**name));
        let error = CliError::usage(format!("`{}` has no node `{}`", program.name, terminal::clean(what)));
        return Err(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    if json {
        terminal::line(
            &json!({ "node": what, "blueprint": program.name, "sentences": sentences(&program, ix) })
                .to_string(),
        );
        return Ok(Exit::Succeeded);
    }
    for sentence in sentences(&program, ix) {
        terminal::line(&terminal::clean(&sentence));
    }
    Ok(Exit::Succeeded)
}

fn sentences(program: &Program, ix: NodeIx) -> Vec<String> {
    let graph = program.root();
    let node = graph.node(ix);
    let name = |ix: &NodeIx| format!("`{}`", graph.node(*ix).name);
    let mut said = vec![format!("`{}` is a {} node.", node.name, node.action.kind())];
    said.extend(node.summary.clone());
    let needs: Vec<String> = node.needs.iter().map(name).collect();
    let needs = needs.join(", ");
    said.push(match (node.needs.len(), node.join) {
        (0, _) => "It needs no other node, so it may start at once.".to_owned(),
        (_, blueprint_core::format::Join::All) => {
            format!("It runs when {needs} succeeded, and is skipped if one of them did not.")
        }
        (_, blueprint_core::format::Join::Any) => format!("It runs as soon as one of {needs} succeeded."),
        (_, blueprint_core::format::Join::Settled) => {
            format!("It runs when {needs} came to an end, whichever.")
        }
    });
    let waits: Vec<String> =
        graph.before(ix).filter(|(_, edge)| *edge == Edge::Order).map(|(before, _)| name(&before)).collect();
    if !waits.is_empty() {
        said.push(format!("It also waits for {}, because it needs something inside a repair that ends there: what a repair makes is final only when it is closed.", waits.join(", ")));
    }
    if let Some(when) = &node.when {
        said.push(format!("It is skipped unless `{}`.", when.source()));
    }
    if let Some(region) = node.repair {
        let region = &graph.regions[region.0 as usize];
        let members: Vec<String> = region.members.iter().map(name).collect();
        said.push(format!(
            "When it fails, {} go round again, {} rounds in all; then a person takes over.",
            members.join(", "),
            region.rounds
        ));
    }
    for region in graph.regions.iter().filter(|region| region.closer != ix && region.members.contains(&ix)) {
        said.push(format!(
            "It goes round again when {} fails, {} rounds in all.",
            name(&region.closer),
            region.rounds
        ));
    }
    if node.retry.attempts > 1 {
        let classes: Vec<&str> = node.retry.on.iter().map(|class| class.as_str()).collect();
        said.push(format!(
            "It is tried up to {} times when it fails by {}.",
            node.retry.attempts,
            classes.join(", ")
        ));
    }
    if let Some(timeout) = node.timeout {
        said.push(format!("One attempt may take {}.", blueprint_runtime::human(timeout)));
    }
    said.push(match node.workspace {
        blueprint_core::format::Workspace::Write => {
            "It works on a checkout of what its needs left, and what it leaves is its output.".to_owned()
        }
        blueprint_core::format::Workspace::Scratch => {
            "It works on a checkout of what its needs left, and what it leaves is thrown away.".to_owned()
        }
        blueprint_core::format::Workspace::Read => {
            "It sees a checkout of what its needs left and cannot change it.".to_owned()
        }
        blueprint_core::format::Workspace::None => "It does not see the workspace.".to_owned(),
    });
    if let Action::Use(uses) = &node.action
        && let Some(each) = &uses.each
    {
        said.push(format!(
            "It runs once for each item of `{}`, {} at a time.",
            each.list.source(),
            each.max_parallel
        ));
    }
    said.extend(trust(program, ix));
    said
}

/// Which tier a node has and why, and what of it matters.
fn trust(program: &Program, ix: NodeIx) -> Vec<String> {
    let trust = Trust::of(program);
    let node = program.root().node(ix);
    let reason = trust.because(program, Port::Work(GraphIx::ROOT, ix));
    let mut said = vec![if reason.source.is_some() {
        format!("Its tier is {}: {}.", node.tier, reason.sentences())
    } else {
        format!("Its tier is {}.", node.tier)
    }];
    let reached = Port::Reached(GraphIx::ROOT, ix);
    if node.effect() == Some(Effect::Commit) {
        let before = trust.because(program, reached).sentences();
        said.push(format!("It changes something in the world; before it: {before}."));
    }
    if node.holds_secrets(program.root()) {
        said.push("Its commands or tools can use a secret.".to_owned());
    }
    if node.is_human_gate() {
        let needs: Vec<String> =
            node.needs.iter().map(|need| format!("`{}`", program.root().node(*need).name)).collect();
        let outputs = if needs.is_empty() {
            String::new()
        } else {
            format!(", and the outputs of {}", needs.join(", "))
        };
        said.push(format!("What it covers: the inputs, the tree it shows{outputs}."));
    }
    said
}
