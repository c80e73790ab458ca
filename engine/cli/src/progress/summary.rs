//! The last word on a run: how it ended, what failed and why, and what to type next.

use blueprint_core::run::{Phase, State};
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
            &json!({ "type": "end", "run": id, "outcome": end_word(end), "nodes": counts(state) })
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

/// How many nodes stand where.
pub(crate) fn counts(state: &State) -> serde_json::Value {
    let mut counts = serde_json::Map::new();
    for (_, instance) in state.instances() {
        let count = counts.entry(instance.phase.as_str()).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap_or(0) + 1);
    }
    serde_json::Value::Object(counts)
}
