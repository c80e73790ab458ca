//! The route of a run: its nodes in the order in which they came to an end, as its journal tells it. Looks at nothing
//! but the journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use blueprint_core::graph::Program;
use blueprint_core::run::{Did, Event, Failure, Phase, State};
use serde::Serialize;

use crate::journal::Entry;

/// A node that came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Its path, with `#N` from the second attempt on.
    pub step: String,
    /// How it ended: `succeeded`, or `failed` with the class.
    pub how: String,
    /// Why it failed, in a line. Data of whoever failed.
    pub why: Option<String>,
}

/// A route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Route {
    /// What came to an end, in order. Nodes that were skipped or cancelled are not part of it.
    pub ended: Vec<Ended>,
    /// What stood in for models that were asked: `scripted`, `recorded`. Never a provider.
    pub models: BTreeSet<String>,
}

/// The route that a journal tells.
pub fn route(program: &Arc<Program>, entries: &[Entry]) -> Route {
    let mut state = State::new(Arc::clone(program));
    let mut route = Route::default();
    let mut asked = false;
    let mut told: BTreeSet<(Arc<str>, u32)> = BTreeSet::new();
    for entry in entries {
        let ending = match &entry.event {
            Event::NodeSucceeded { node, attempt, .. } => Some((node, *attempt, None)),
            Event::NodeFailed { node, attempt, failure } => Some((node, *attempt, Some(&**failure))),
            Event::SessionAdvanced { step, .. } => {
                match &step.did {
                    Did::CallModel { .. } => asked = true,
                    Did::HearModel { origin, ok: true, .. } | Did::HearHook { origin, ok: true, .. } => {
                        route.models.insert(origin.clone());
                    }
                    _ => {}
                }
                None
            }
            _ => None,
        };
        let counts = ending.filter(|(node, attempt, _)| {
            state.at(node).is_some_and(|inst| {
                let instance = state.instance(inst);
                instance.attempt == *attempt && !instance.phase.is_settled()
            })
        });
        state.fold(entry.at_ms, &entry.event);
        if let Some((node, attempt, failure)) = counts
            && told.insert((Arc::clone(node), attempt))
        {
            route.ended.push(ended(node, attempt, failure.is_some(), failure));
        }
        // Gates, pauses and sub-graphs end without an event of their own.
        for (_, instance) in state.instances() {
            let failed = match instance.phase {
                Phase::Succeeded => false,
                Phase::Failed | Phase::Repairing | Phase::Escalating | Phase::Backoff => true,
                _ => continue,
            };
            if instance.attempt == 0 || !told.insert((Arc::clone(&instance.path), instance.attempt)) {
                continue;
            }
            let failure = instance.failure.as_deref().filter(|_| failed);
            route.ended.push(ended(&instance.path, instance.attempt, failed, failure));
        }
    }
    // A fault or an empty script answers nothing, and was not a model for all that.
    if asked && route.models.is_empty() {
        route.models.insert("scripted".to_owned());
    }
    route
}

fn ended(path: &str, attempt: u32, failed: bool, failure: Option<&Failure>) -> Ended {
    let step = if attempt > 1 { format!("{path}#{attempt}") } else { path.to_owned() };
    let how = match (failed, failure) {
        (false, _) => "succeeded".to_owned(),
        (true, None) => "failed".to_owned(),
        (true, Some(failure)) => format!("failed ({})", failure.class.as_str()),
    };
    let why = failure.map(|failure| failure.message.lines().next().unwrap_or_default().to_owned());
    Ended { step, how, why }
}
