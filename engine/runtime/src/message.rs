//! Messages that other processes leave for the driver of a run: decisions at gates and wishes to end it or to
//! try again. They come from outside, so what does not parse is reported and changes nothing.

use blueprint_core::graph::Action;
use blueprint_core::run::{Decision, Event, Phase, State};
use serde::{Deserialize, Serialize};

/// Whether a gate lets somebody decide: those it names, or anybody if it asks for nothing. Who is in a team or has
/// a permission is not known here, so that alone lets nobody.
pub fn may_decide(state: &State, gate: &str, by: &str) -> bool {
    state.at(gate).is_some_and(|inst| match &state.node(inst).action {
        Action::Gate(gate) => {
            let asked = &gate.approvers;
            let open = asked.users.is_empty() && asked.teams.is_empty() && asked.permission.is_none();
            open || asked.users.iter().any(|user| user == by)
        }
        _ => false,
    })
}

/// A message to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A decision at a gate.
    Decide {
        /// Path of the gate.
        node: String,
        /// The decision.
        decision: Decision,
        /// What the person saw.
        subject: String,
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// The run is to end.
    Cancel {
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// A node is to be tried again.
    Retry {
        /// Path of the node.
        node: String,
        /// Who.
        by: String,
    },
}

impl Message {
    /// The fact it becomes. The attempt is that of the gate as it stands: the subject says whether it still fits.
    pub fn into_event(self, state: &State) -> Event {
        match self {
            Self::Decide { node, decision, subject, by, reason } => {
                let open =
                    state.at(&node).map(|inst| state.instance(inst)).filter(|i| i.phase == Phase::Waiting);
                // A decision of somebody who may not decide is about no attempt: on record, and without effect.
                let attempt =
                    open.filter(|_| may_decide(state, &node, &by)).map_or(0, |instance| instance.attempt);
                Event::GateDecided { node: node.into(), attempt, decision, by, reason, subject }
            }
            Self::Cancel { by, reason } => Event::CancelRequested { by, reason },
            Self::Retry { node, by } => Event::RetryRequested { node: node.into(), by },
        }
    }
}
