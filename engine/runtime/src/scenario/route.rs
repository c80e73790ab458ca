//! The route of a run: its nodes in the order in which they came to an end, as its journal tells it. Looks at nothing
//! but the journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use blueprint_core::graph::Program;
use blueprint_core::run::{Did, Event, Phase, State};
use serde::Serialize;

use crate::journal::Entry;

/// A node that came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Its path, with `#N` from the second attempt on.
    pub step: String,
    /// How it ended: `succeeded`, or `failed` with the class.
    pub how: String,
}

/// A route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Route {
    /// What came to an end, in order. Nodes that were skipped or cancelled are not part of it.
    pub ended: Vec<Ended>,
    /// Whether a model was asked, and so a script answered or refused.
    pub asked_a_model: bool,
}

/// The route that a journal tells.
pub fn route(program: &Arc<Program>, entries: &[Entry]) -> Route {
    let mut state = State::new(Arc::clone(program));
    let mut route = Route::default();
    let mut told: BTreeSet<(Arc<str>, u32)> = BTreeSet::new();
    for entry in entries {
        let ending = match &entry.event {
            Event::NodeSucceeded { node, attempt, .. } => Some((node, *attempt, "succeeded".to_owned())),
            Event::NodeFailed { node, attempt, failure } => {
                Some((node, *attempt, format!("failed ({})", failure.class.as_str())))
            }
            Event::SessionAdvanced { step, .. } => {
                route.asked_a_model |= matches!(step.did, Did::CallModel { .. });
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
        if let Some((node, attempt, how)) = counts
            && told.insert((Arc::clone(node), attempt))
        {
            route.ended.push(Ended { step: step(node, attempt), how });
        }
        // Gates, pauses and sub-graphs end without an event of their own.
        for (_, instance) in state.instances() {
            let how = match instance.phase {
                Phase::Succeeded => "succeeded",
                Phase::Failed | Phase::Repairing | Phase::Escalating | Phase::Backoff => "failed",
                _ => continue,
            };
            if instance.attempt == 0 || !told.insert((Arc::clone(&instance.path), instance.attempt)) {
                continue;
            }
            let class = instance.failure.as_ref().filter(|_| how == "failed");
            let how = class.map_or_else(|| how.to_owned(), |failure| format!("{how} ({})", failure.class.as_str()));
            route.ended.push(Ended { step: step(&instance.path, instance.attempt), how });
        }
    }
    route
}

fn step(path: &str, attempt: u32) -> String {
    if attempt > 1 { format!("{path}#{attempt}") } else { path.to_owned() }
}
