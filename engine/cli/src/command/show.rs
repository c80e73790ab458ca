//! `show`: everything that is known about a run or one of its nodes.

use blueprint_core::run::{Event, Phase};
use blueprint_runtime::payload::fetch;
use blueprint_runtime::start::{Engine, OpenedRun};
use serde_json::{Value, json};

use super::replay::replayed;
use super::run::{no_node, start_failed, warn_if_broken};
use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::progress::event_line;
use crate::terminal::{self, clean};

pub(crate) async fn show(context: &Context, run: Option<&str>, node: Option<&str>) -> Result<Exit, CliError> {
    let engine = context.reader().await?;
    let id = context.find_run(&engine.store, run).await?;
    match node {
        None => {
            let opened = engine.open_with_entries(&id).await.map_err(start_failed)?;
            warn_if_broken(&opened);
            whole(context, &opened);
        }
        Some(node) => {
            let opened = engine.open(&id).await.map_err(start_failed)?;
            warn_if_broken(&opened);
            one(context, &engine, &opened, node)?;
        }
    }
    Ok(Exit::Succeeded)
}

fn whole(context: &Context, opened: &OpenedRun) {
    let state = &opened.state;
    if context.format == Format::Json {
        let events: Vec<Value> = opened
            .entries
            .iter()
            .map(|entry| json!({ "seq": entry.seq, "at_ms": entry.at_ms, "event": entry.event }))
            .collect();
        terminal::line(&json!({ "run": opened.id, "events": events }).to_string());
        return;
    }
    if let Some(start) = state.start() {
        terminal::line(&format!("run        {}", opened.id));
        terminal::line(&format!(
            "blueprint  {} ({})",
            start.blueprint,
            start.digest.get(..12).unwrap_or_default()
        ));
        terminal::line(&format!("started by {}", clean(&start.by)));
        if let Some(parent) = &start.forked_from {
            terminal::line(&format!("forked from {parent}"));
        }
        if let Some(of) = replayed(&start.options) {
            terminal::line(&format!("replay of  {}", clean(&of)));
        }
        if let Some(base) = &start.base {
            let dirty = if start.dirty_included { " with uncommitted changes" } else { "" };
            terminal::line(&format!("base       {}{dirty}", base.get(..12).unwrap_or(base)));
        }
        terminal::line(&format!("isolation  {}", clean(&isolations(opened).join(", "))));
        for image in state.images().values() {
            terminal::line(&format!("image      {} ({})", clean(&image.of), clean(&image.id)));
        }
        terminal::line(&format!("inputs     {}", clean(&start.inputs.to_string())));
    }
    // The story so far, told with the state as it was at each step.
    let mut told = blueprint_core::run::State::new(state.program().clone());
    let first = opened.entries.first().map_or(0, |entry| entry.at_ms);
    for entry in &opened.entries {
        told.fold(entry.at_ms, &entry.event);
        if let Some((node, _, text)) = event_line(&entry.event, &told) {
            let at =
                blueprint_runtime::human(std::time::Duration::from_millis(entry.at_ms.saturating_sub(first)));
            terminal::line(&format!("{:>5}  +{at:<10} {node:20}  {text}", entry.seq));
        }
    }
}

/// What the processes that drove the run isolated with, in their order: each may have been told something else.
fn isolations(opened: &OpenedRun) -> Vec<String> {
    let mut all: Vec<String> = opened
        .entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::DriverStarted { isolation: Value::String(name), .. } => Some(name.clone()),
            Event::DriverStarted { isolation: Value::Object(by_tier), .. } => {
                let parts = by_tier
                    .iter()
                    .map(|(tier, name)| format!("{tier}: {}", name.as_str().unwrap_or_default()));
                Some(parts.collect::<Vec<_>>().join("; "))
            }
            _ => None,
        })
        .collect();
    all.dedup();
    all
}

fn one(context: &Context, engine: &Engine, opened: &OpenedRun, node: &str) -> Result<(), CliError> {
    let state = &opened.state;
    let Some(inst) = state.at(node) else { return Err(no_node(state, node)) };
    let instance = state.instance(inst);
    let fetched = |payload: Option<&blueprint_core::run::Payload>| {
        payload
            .map(|payload| fetch(engine.store.blobs(), payload))
            .transpose()
            .map_err(|error| from_error(Exit::Environment, &error))
    };
    let outputs = fetched(instance.outputs.as_ref())?;
    let escalation = fetched(instance.escalation.as_ref())?;
    let attestation = match instance
        .record
        .get("attestation")
        .and_then(Value::as_str)
        .and_then(|digest| digest.parse().ok())
    {
        Some(digest) => {
            let bytes =
                engine.store.blobs().get(digest).map_err(|error| from_error(Exit::Environment, &error))?;
            serde_json::from_slice(&bytes).unwrap_or_default()
        }
        None => Value::Null,
    };
    let failure = instance.failure.as_ref();
    if context.format == Format::Json {
        let known = json!({ "node": instance.path, "kind": state.node(inst).action.kind(), "phase": instance.phase,
            "attempt": instance.attempt, "round": instance.round, "started_at_ms": instance.started_at,
            "ended_at_ms": instance.ended_at, "outputs": outputs, "tree": instance.tree, "failure": failure,
            "record": instance.record, "escalation": escalation, "attestation": attestation,
            "subject": instance.gate.as_ref().map(|gate| &gate.subject) });
        terminal::line(&known.to_string());
        return Ok(());
    }
    let row = |name: &str, value: &str| terminal::line(&format!("{name:11} {}", clean(value)));
    row("node", &instance.path);
    row("kind", state.node(inst).action.kind());
    row("phase", instance.phase.as_str());
    row("attempt", &format!("{} (round {})", instance.attempt, instance.round));
    if let Some(gate) = &instance.gate {
        row("subject", &gate.subject);
        if let Some(ask) = &gate.ask {
            row("asks", ask);
        }
        if instance.phase == Phase::Waiting {
            row(
                "decide",
                &format!(
                    "blueprint approve {} {node} --subject {} --resume",
                    opened.id,
                    gate.subject.get(..12).unwrap_or_default()
                ),
            );
        }
    }
    if let Some(outputs) = &outputs {
        row("outputs", &outputs.to_string());
    }
    if let Some(tree) = &instance.tree {
        row("output", tree);
    }
    if let Some(failure) = failure {
        row("failure", &format!("{}: {}", failure.class.as_str(), failure.message));
    }
    if let Value::Object(record) = &instance.record {
        let rest = |name: &str| !matches!(name, "attestation" | "egress");
        for (name, value) in record.iter().filter(|(name, value)| rest(name) && !value.is_null()) {
            row(name, &value.to_string());
        }
        requests(record.get("egress").unwrap_or(&Value::Null));
    }
    if !attestation.is_null() {
        terminal::line("attestation of its sandbox:");
        terminal::line(&clean_lines(&format!("{attestation:#}")));
    }
    if let Some(escalation) = &escalation {
        terminal::line("handed over:");
        for (name, value) in escalation.as_object().into_iter().flatten() {
            match value {
                Value::String(text) => terminal::line(&format!("  {name}:\n{}", clean_lines(text))),
                other => terminal::line(&format!("  {name}: {}", clean_lines(&format!("{other:#}")))),
            }
        }
    }
    Ok(())
}

/// What a node asked for beyond its sandbox, a line each.
fn requests(egress: &Value) {
    let listed = egress["requests"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !listed.is_empty() {
        terminal::line("requests:");
    }
    for request in listed {
        let text = |name: &str| request[name].as_str().map(str::to_owned);
        let verdict = match (text("refused"), text("failed"), request["status"].as_u64()) {
            (Some(why), _, _) => format!("refused: {why}"),
            (None, Some(why), _) => format!("failed: {why}"),
            (None, None, Some(status)) => status.to_string(),
            (None, None, None) => "let through".to_owned(),
        };
        let moved = match (request["up"].as_u64(), request["down"].as_u64()) {
            (Some(up), Some(down)) => format!(" ({up} bytes up, {down} down)"),
            _ => String::new(),
        };
        let secret = text("credential").map_or_else(String::new, |name| format!(" with `{name}`"));
        let (method, host) = (text("method").unwrap_or_default(), text("host").unwrap_or_default());
        terminal::line(&clean(&format!("  {method} {host}: {verdict}{secret}{moved}")));
    }
    if let Some(more) = egress["more"].as_u64().filter(|more| *more > 0) {
        terminal::line(&format!("  and {more} more"));
    }
}

fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}
