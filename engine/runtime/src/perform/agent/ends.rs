//! What the end of a session means for its node.

use blueprint_agent::model::ModelFault;
use blueprint_agent::session::Stopped;
use blueprint_agent::tool::HostError;
use blueprint_core::graph::Node;
use blueprint_core::run::{Failure, FailureClass};
use serde_json::{Map, Value};

use crate::outputs::fits;

/// The failure of the node, unless the session was only cut off.
pub(super) fn failure(stopped: &Stopped, tail: &[u8]) -> Option<Failure> {
    let class = match stopped {
        Stopped::Lost => return None,
        Stopped::Turns(_)
        | Stopped::SameCall(_)
        | Stopped::ToolFailures(_)
        | Stopped::NoProgress(_)
        | Stopped::Empty
        | Stopped::CutOff
        | Stopped::BadOutput(_)
        | Stopped::Refused(_)
        | Stopped::TooLong => FailureClass::Agent,
        Stopped::Tokens { .. } | Stopped::Cost { .. } | Stopped::Unpriced(_) | Stopped::Budget(_) => {
            FailureClass::Budget
        }
        Stopped::Time(_) => FailureClass::Timeout,
        Stopped::Model(error) if error.fault == ModelFault::Cancelled => return None,
        Stopped::Model(_) => FailureClass::Llm,
        Stopped::Host(HostError::Sandbox(_)) => FailureClass::Sandbox,
        Stopped::Host(HostError::Denied(_)) | Stopped::Vetoed { .. } => FailureClass::Policy,
        Stopped::Host(HostError::Infra(_) | HostError::Unanswered(_) | HostError::Cancelled) => {
            FailureClass::Infra
        }
    };
    let message = crate::chain(stopped);
    let fingerprint = matches!(class, FailureClass::Agent | FailureClass::Timeout)
        .then(|| crate::fingerprint::of(&message, tail));
    Some(Failure { fingerprint, ..Failure::new(class, message) })
}

/// The typed outputs, out of what the session finished with.
pub(super) fn outputs(node: &Node, value: Option<Value>) -> Result<Option<Value>, String> {
    if node.outputs.is_empty() {
        return Ok(None);
    }
    let Some(Value::Object(given)) = value else {
        return Err("the agent finished without its outputs".to_owned());
    };
    let mut outputs = Map::new();
    for output in &node.outputs {
        let value =
            given.get(&*output.name).ok_or_else(|| format!("the output `{}` is missing", output.name))?;
        if !fits(output.ty, value) {
            return Err(format!("the output `{}` is not of type {}", output.name, output.ty));
        }
        outputs.insert(output.name.to_string(), value.clone());
    }
    Ok(Some(Value::Object(outputs)))
}
