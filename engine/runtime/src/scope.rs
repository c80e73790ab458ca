//! What an expression sees: the inputs, the outputs of nodes, and the item of an `each`. Built from the state
//! and the content store; secrets are put in last and only for the node that starts.

use std::collections::BTreeMap;

use blueprint_core::expr::Reference;
use blueprint_core::graph::{NodeIx, SubKind, Value as Given};
use blueprint_core::run::{Inst, State};
use serde_json::{Map, Value, json};

use crate::payload::{PayloadError, fetch};
use crate::store::Blobs;

/// Stands in journalled inputs for a secret of the run.
pub const SECRET_KEY: &str = "$secret";

/// The values that expressions of `inst` may name.
pub fn scope_of(
    state: &State,
    blobs: &Blobs,
    secrets: &BTreeMap<String, String>,
    inst: Inst,
) -> Result<Value, PayloadError> {
    let references: Vec<&Reference> = state.node(inst).reads().into_iter().map(|(_, name)| name).collect();
    let scope = state.instance(inst).scope;
    named(state, blobs, secrets, scope, &references)
}

/// The values that `returns` of the graph in `scope` may name.
pub fn scope_of_returns(
    state: &State,
    blobs: &Blobs,
    secrets: &BTreeMap<String, String>,
    scope: u32,
) -> Result<Value, PayloadError> {
    let returns = &state.graph_of(scope).returns;
    let references: Vec<&Reference> = returns.iter().flat_map(|(_, value, _)| value.references()).collect();
    named(state, blobs, secrets, scope, &references)
}

fn named(
    state: &State,
    blobs: &Blobs,
    secrets: &BTreeMap<String, String>,
    scope: u32,
    references: &[&Reference],
) -> Result<Value, PayloadError> {
    let mut values = Map::new();
    // The body of an `each` sees what is around it.
    let mut outer = scope;
    while state.graph_of(outer).kind == SubKind::Body {
        let Some(parent) = state.scope(outer).parent else { break };
        if outer == scope || !values.contains_key("item") {
            let data = scope_data(state, blobs, outer)?;
            values.insert("item".to_owned(), data.get("item").cloned().unwrap_or(Value::Null));
            values.insert("index".to_owned(), json!(state.scope(outer).index));
        }
        outer = state.instance(parent).scope;
    }
    let mut inputs = match state.scope(outer).parent {
        None => state.start().map_or(Value::Null, |start| start.inputs.clone()),
        Some(_) => scope_data(state, blobs, outer)?.get("inputs").cloned().unwrap_or(Value::Null),
    };
    if let Value::Object(inputs) = &mut inputs {
        for value in inputs.values_mut() {
            let secret = value.get(SECRET_KEY).and_then(Value::as_str).and_then(|name| secrets.get(name));
            if let Some(secret) = secret {
                *value = Value::from(secret.as_str());
            }
        }
    }
    values.insert("inputs".to_owned(), inputs);
    let mut nodes = Map::new();
    for reference in references {
        if let [first, name, ..] = reference.path.as_slice()
            && first == "nodes"
            && !nodes.contains_key(name)
            && let Some(ix) = state.graph_of(outer).by_name.get(name.as_str())
        {
            nodes.insert(name.clone(), node_value(state, blobs, outer, *ix)?);
        }
    }
    values.insert("nodes".to_owned(), Value::Object(nodes));
    Ok(Value::Object(values))
}

fn node_value(state: &State, blobs: &Blobs, scope: u32, ix: NodeIx) -> Result<Value, PayloadError> {
    let instance = state.instance(state.in_scope(scope, ix));
    let mut value = match &instance.outputs {
        Some(outputs) => fetch(blobs, outputs)?,
        None => json!({}),
    };
    if let Value::Object(value) = &mut value {
        value.insert("status".to_owned(), Value::from(instance.phase.as_str()));
    }
    Ok(value)
}

fn scope_data(state: &State, blobs: &Blobs, scope: u32) -> Result<Value, PayloadError> {
    let here = state.scope(scope);
    let children = here.parent.and_then(|parent| state.instance(parent).children.as_ref());
    let Some(children) = children else { return Ok(Value::Null) };
    let mut all = fetch(blobs, &children.scopes_data)?;
    Ok(all.get_mut(here.index as usize).map(Value::take).unwrap_or_default())
}

/// Evaluates a value.
pub fn value_of(given: &Given, scope: &Value) -> Result<Value, blueprint_core::expr::EvalError> {
    match given {
        Given::Literal(value) => Ok(value.clone()),
        Given::Expr(expr) => expr.eval(scope),
    }
}

/// A value as the text a program gets: a text as it is, everything else as JSON.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
