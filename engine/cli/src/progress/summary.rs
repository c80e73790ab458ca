//! The last word on a run: how it ended, what failed and why, and what to type next.

use blueprint_core::run::{Phase, Spent, State, usd};
use blueprint_runtime::drive::DriveEnd;
use serde_json::json;

use super::{end_word, phase_mark};
use crate::args::Format;
use crate::command::worded;
use crate::context::Context;
use crate::terminal::{self, clean};

/// Prints it.
pub(crate) fn summary(context: &Context, id: &str, state: &State, end: &DriveEnd) {
    if context.format == Format::Json {
        terminal::line(
            &json!({ "type": "end", "run": id, "outcome": end_word(end), "nodes": counts(state), "spent": state.spent() })
                .to_string(),
        );
        return;
    }
    for (_, instance) in state.instances().filter(|(_, instance)| instance.phase == Phase::Failed) {
        let (mark, style) = phase_mark(Phase::Failed);
        let failure = instance.failure.as_ref().map_or_else(String::new, |failure| failure.message.clone());
        terminal::error_line(&format!(
            "{style}{mark} {}{style:#}: {}",
            instance.path,
            clean(failure.lines().next().unwrap_or_default())
        ));
    }
    let counts = counts(state);
    let spelled: Vec<String> = counts
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(phase, count)| format!("{count} {phase}"))
        .collect();
    let took = blueprint_runtime::human(std::time::Duration::from_millis(state.age_ms()));
    if let Some(spent) = spending(state) {
        terminal::error_line(&spent);
    }
    match end {
        DriveEnd::Finished(outcome) => {
            terminal::error_line(&format!("run {id} {} in {took}: {}", worded(*outcome), spelled.join(", ")));
            let failed = state.instances().find(|(_, instance)| instance.phase == Phase::Failed);
            if let Some((_, instance)) = failed {
                if instance.escalation.is_some() {
                    terminal::error_line(&format!(
                        "  everything to take over: blueprint show {id} {}",
                        instance.path
                    ));
                }
                terminal::error_line(&format!("  its output: blueprint logs {id} {}", instance.path));
            }
        }
        DriveEnd::Waiting { gates, next_due_ms } => {
            terminal::error_line(&format!("run {id} waits: {}", spelled.join(", ")));
            for gate in gates {
                terminal::error_line(&format!("  look: blueprint show {id} {gate}"));
                terminal::error_line(&format!("  decide: blueprint approve {id} {gate} --resume, or reject"));
            }
            if let Some(due) =
                next_due_ms.and_then(|due| jiff::Timestamp::from_millisecond(i64::try_from(due).ok()?).ok())
            {
                terminal::error_line(&format!("  goes on by itself when resumed after {due:.0}"));
            }
        }
        DriveEnd::Interrupted => {
            terminal::error_line(&format!("run {id} was stopped: {}", spelled.join(", ")));
            terminal::error_line(&format!("  go on: blueprint resume {id}"));
        }
    }
}

/// What the agents of a run spent, and whether any of it was real.
pub(crate) fn spending(state: &State) -> Option<String> {
    let spent = state.spent();
    if spent == Spent::default() {
        return None;
    }
    let plural = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut text = format!(
        "  agents: {}, {}, {}, ${}",
        plural(spent.model_calls, "answer"),
        plural(spent.tool_calls, "tool call"),
        plural(spent.tokens, "token"),
        usd(spent.cost_micros),
    );
    if spent.unpriced_calls > 0 {
        text = format!("{text} and {} whose price is not known", plural(spent.unpriced_calls, "call"));
    }
    let mut origins: Vec<&str> =
        state.instances().filter_map(|(_, instance)| instance.session.as_ref()?.origin.as_deref()).collect();
    origins.sort_unstable();
    origins.dedup();
    match origins.as_slice() {
        [] if spent.unreal_calls > 0 => text.push_str("; not all of them by a real model"),
        [] => {}
        names => text = format!("{text}; {} model", names.join(" and ")),
    }
    Some(text)
}

/// How many nodes stand where.
pub(crate) fn counts(state: &State) -> serde_json::Value {
    let mut counts = serde_json::Map::new();
    for (_, instance) in state.instances() {
        let count = counts.entry(instance.phase.as_str()).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap_or(0) + 1);
    }
    serde_json::Value::Object(counts)
}
