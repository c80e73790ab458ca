//! Conditions, lists and inputs of nodes are evaluated, and the results of sub-graphs put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use blueprint_core::expr::Expr;
use blueprint_core::format::InputType;
use blueprint_core::graph::{Action, InputSpec, SubKind, Value as Given};
use blueprint_core::run::{Evaluated, Event, Failure, FailureClass, Inst, Payload, State, Success};
use serde_json::{Map, Value, json};

use super::{blocking, infra};
use crate::payload::{fetch, keep};
use crate::scope::{SECRET_KEY, scope_of, scope_of_returns, value_of};
use crate::shared::Shared;
use crate::trees::Origin;

/// The most items of one `each`.
const MAX_ITEMS: usize = 10_000;

/// Evaluates what a node needs before it starts.
pub fn evaluate(shared: &Shared, state: &State, inst: Inst) -> Event {
    let instance = state.instance(inst);
    let (node, attempt) = (instance.path.clone(), instance.attempt);
    match evaluated(shared, state, inst) {
        Ok(result) => Event::NodeEvaluated { node, attempt, result },
        Err(mut failure) => {
            failure.message = shared.redactor.redact_str(&failure.message);
            Event::NodeFailed { node, attempt, failure: Box::new(failure) }
        }
    }
}

fn no_value(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(FailureClass::Command, format!("{what} has no value: {error}"))
}

fn evaluated(shared: &Shared, state: &State, inst: Inst) -> Result<Evaluated, Failure> {
    let node = state.node(inst);
    let blobs = shared.store.blobs();
    // Without the secrets: what is evaluated here is journalled.
    let scope = scope_of(state, blobs, &BTreeMap::new(), inst)
        .map_err(|e| infra("the values of the run cannot be read", &e))?;
    if let Some(when) = &node.when {
        match when.eval(&scope).map_err(|error| no_value("the condition `when`", &error))? {
            Value::Bool(true) => {}
            Value::Bool(false) => return Ok(Evaluated::Skip),
            other => {
                return Err(Failure::new(
                    FailureClass::Command,
                    format!("the condition `when` is neither true nor false, but {other}"),
                ));
            }
        }
    }
    let Action::Use(uses) = &node.action else { return Ok(Evaluated::Run) };
    let graph = state.program().graph(uses.graph);
    let items = match &uses.each {
        None => vec![None],
        Some(each) => items(&each.list, &scope)?.into_iter().map(Some).collect(),
    };
    let mut scopes = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let mut here = scope.clone();
        if let (Some(item), Value::Object(here)) = (&item, &mut here) {
            here.insert("item".to_owned(), item.clone());
            here.insert("index".to_owned(), json!(index));
        }
        let mut data = Map::new();
        if graph.kind == SubKind::Blueprint {
            data.insert("inputs".to_owned(), inputs(&graph.inputs, &uses.with, &here)?);
        }
        if let Some(item) = item {
            data.insert("item".to_owned(), item);
        }
        scopes.push(Value::Object(data));
    }
    let count = scopes.len() as u32;
    let scopes =
        keep(blobs, Value::Array(scopes)).map_err(|e| infra("the inputs of the node cannot be kept", &e))?;
    Ok(Evaluated::Expand { count, scopes })
}

fn items(list: &Expr, scope: &Value) -> Result<Vec<Value>, Failure> {
    match list.eval(scope).map_err(|error| no_value("the list `each`", &error))? {
        Value::Array(items) if items.len() <= MAX_ITEMS => Ok(items),
        Value::Array(items) => Err(Failure::new(
            FailureClass::Policy,
            format!("`each` has {} items, more than the {MAX_ITEMS} it may have", items.len()),
        )),
        other => Err(Failure::new(FailureClass::Command, format!("`each` is not a list, but {other}"))),
    }
}

fn inputs(specs: &[InputSpec], with: &[(Arc<str>, Given)], scope: &Value) -> Result<Value, Failure> {
    let mut inputs = Map::new();
    for spec in specs {
        let given = with.iter().find(|(name, _)| *name == spec.name).map(|(_, value)| value);
        let value = match given {
            Some(given) => {
                value_of(given, scope).map_err(|e| no_value(&format!("the input `{}`", spec.name), &e))?
            }
            None => match &spec.default {
                Some(default) => default.clone(),
                None => continue,
            },
        };
        // A secret is passed on by its name in the run; the value is never evaluated into the journal.
        let passed_on = spec.ty == InputType::Secret && value.get(SECRET_KEY).is_some();
        if !passed_on {
            spec.check(&value).map_err(|error| {
                Failure::new(
                    FailureClass::Command,
                    format!("the input `{}` does not fit: {error}", spec.name),
                )
            })?;
        }
        inputs.insert(spec.name.to_string(), value);
    }
    Ok(Value::Object(inputs))
}

pub(super) fn collected_outputs(
    shared: &Shared,
    state: &State,
    inst: Inst,
) -> Result<Option<Payload>, Failure> {
    let node = state.node(inst);
    let Action::Use(uses) = &node.action else { return Ok(None) };
    let graph = state.program().graph(uses.graph);
    let blobs = shared.store.blobs();
    let read = |e: crate::payload::PayloadError| infra("the values of the run cannot be read", &e);
    let scopes: Vec<u32> =
        state.instance(inst).children.iter().flat_map(|children| children.scopes.clone()).collect();
    let mut results = Vec::with_capacity(scopes.len());
    for scope in scopes {
        let mut result = Map::new();
        if graph.kind == SubKind::Body {
            let only = state.in_scope(scope, blueprint_core::graph::NodeIx(0));
            if let Some(outputs) = &state.instance(only).outputs
                && let Value::Object(outputs) = fetch(blobs, outputs).map_err(read)?
            {
                result = outputs;
            }
        } else {
            let values = scope_of_returns(state, blobs, &BTreeMap::new(), scope).map_err(read)?;
            for (name, value, _) in &graph.returns {
                let value =
                    value_of(value, &values).map_err(|e| no_value(&format!("the returned `{name}`"), &e))?;
                result.insert(name.to_string(), value);
            }
        }
        results.push(result);
    }
    let names: Vec<&str> = match graph.kind {
        SubKind::Body => node.outputs.iter().map(|output| &*output.name).collect(),
        SubKind::Blueprint => graph.returns.iter().map(|(name, ..)| &**name).collect(),
    };
    if names.is_empty() {
        return Ok(None);
    }
    let outputs = if uses.each.is_some() {
        let list =
            |name: &str| results.iter().map(|result| result.get(name).cloned().unwrap_or_default()).collect();
        Value::Object(names.iter().map(|name| ((*name).to_owned(), Value::Array(list(name)))).collect())
    } else {
        Value::Object(results.pop().unwrap_or_default())
    };
    keep(blobs, outputs).map(Some).map_err(|e| infra("the outputs of the node cannot be kept", &e))
}

pub(super) async fn collect(
    shared: Arc<Shared>,
    path: Arc<str>,
    attempt: u32,
    outputs: Result<Option<Payload>, Failure>,
    commits: Vec<String>,
) -> Event {
    let node = Arc::clone(&path);
    let merged = blocking(move || {
        let outputs = outputs?;
        let Some(trees) = &shared.trees else { return Ok(Success { outputs, ..Success::default() }) };
        let at_ms = shared.clock.now_ms();
        let (commit, _, _) = trees.input(&commits, Origin { node: &path, attempt, at_ms })?;
        Ok(Success { outputs, tree: Some(commit.to_string()), record: Value::Null })
    });
    match merged.await {
        Ok(success) => Event::NodeSucceeded { node, attempt, success: Box::new(success) },
        Err(failure) => Event::NodeFailed { node, attempt, failure: Box::new(failure) },
    }
}
