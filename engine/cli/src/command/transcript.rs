//! `logs --transcript`: what the agents of a run said, called and were told, as the journal has it. What models and
//! tools wrote is shown as text, never obeyed.

use blueprint_core::run::Event;
use blueprint_runtime::payload::fetch;
use serde_json::{Value, json};

use super::run::{no_node, start_failed, warn_if_broken};
use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit, from_error};
use crate::terminal::{self, clean};

/// The longest result that is printed for people, in characters.
const LONGEST: usize = 2000;

pub(crate) async fn transcript(
    context: &Context,
    run: Option<&str>,
    node: Option<&str>,
) -> Result<Exit, CliError> {
    let engine = context.reader().await?;
    let id = context.find_run(&engine.store, run).await?;
    let opened = engine.open_with_entries(&id).await.map_err(start_failed)?;
    warn_if_broken(&opened);
    if let Some(node) = node
        && opened.state.at(node).is_none()
    {
        return Err(no_node(&opened.state, node));
    }
    let mut steps = 0_usize;
    for entry in &opened.entries {
        let Event::SessionAdvanced { node: path, attempt, step } = &entry.event else { continue };
        if node.is_some_and(|wanted| wanted != &**path) {
            continue;
        }
        steps += 1;
        let detail = fetch(engine.store.blobs(), &step.detail)
            .map_err(|error| from_error(Exit::Environment, &error))?;
        if context.format == Format::Json {
            terminal::line(&json!({ "node": path, "attempt": attempt, "step": detail }).to_string());
        } else {
            for line in words(&detail).lines() {
                terminal::line(&format!("{path} | {}", clean(line)));
            }
        }
    }
    if steps == 0 {
        terminal::error_line("note: no agent took a step; external agents write to `blueprint logs`");
    }
    Ok(Exit::Succeeded)
}

fn words(step: &Value) -> String {
    let Some((kind, step)) = step.as_object().and_then(|step| step.iter().next()) else {
        return String::new();
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let turn = &step["turn"];
    match kind.as_str() {
        "model_called" => format!("turn {turn}: asks {}", text(&step["model"])),
        "model_answered" => {
            let answer = &step["answer"];
            let origin = match answer["origin"].as_str() {
                Some("provider") | None => String::new(),
                Some(origin) => format!(" ({origin} model)"),
            };
            format!("turn {turn}: {}{origin}\n{}", text(&answer["model"]), text(&answer["text"]))
        }
        "model_failed" => format!("turn {turn}: no answer: {}", text(&step["message"])),
        "hook_asked" => format!("turn {turn}: hook {} asks {}", text(&step["hook"]), text(&step["model"])),
        "hook_answered" => {
            format!("turn {turn}: hook {}: {}", text(&step["hook"]), text(&step["answer"]["text"]))
        }
        "hook_failed" => {
            format!("turn {turn}: hook {}: no answer: {}", text(&step["hook"]), text(&step["message"]))
        }
        "tool_called" => format!("> {} {}", text(&step["tool"]), step["arguments"]),
        "tool_returned" => {
            let (how, content) = match step["outcome"].as_object().and_then(|outcome| outcome.iter().next()) {
                Some((how, content)) => (how.as_str(), content),
                None => ("", &Value::Null),
            };
            let content = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
            let short: String = content.chars().take(LONGEST).collect();
            let more = if short.len() < content.len() { "\n…" } else { "" };
            format!("< {} {how}\n{short}{more}", text(&step["tool"]))
        }
        "told" => format!("~ {}", text(&step["text"])),
        "compacted" => format!("~ {}", text(&step["note"])),
        other => other.to_owned(),
    }
}
