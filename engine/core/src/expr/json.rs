//! Values into and out of expressions. Integers stay integers, floats stay floats, objects keep
//! their order, and what JSON cannot say is an error, never a quiet `null`.

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};
use serde_json::Value as Json;

use super::error::EvalError;
use super::limits;
use super::references::Reference;

/// The part of `scope` that `references` can reach. Conversion costs what the source mentions, not
/// what the run has produced so far, and nothing else is visible to the evaluation.
pub(super) fn visible(scope: &Json, references: &[Reference]) -> Result<Value, EvalError> {
    let paths: Vec<&[String]> = references.iter().map(|reference| reference.path.as_slice()).collect();
    match scope {
        Json::Object(_) => select(scope, &paths, 0),
        _ => Err(EvalError::Value { message: "the scope of an expression must be an object".to_owned() }),
    }
}

fn select(value: &Json, paths: &[&[String]], depth: usize) -> Result<Value, EvalError> {
    let Json::Object(fields) = value else { return from_json(value, depth) };
    let mut wanted: BTreeMap<&str, Vec<&[String]>> = BTreeMap::new();
    for path in paths {
        match path.split_first() {
            Some((name, rest)) => wanted.entry(name).or_default().push(rest),
            None => return from_json(value, depth),
        }
    }
    let mut kept = Vec::with_capacity(wanted.len());
    for (name, rest) in wanted {
        if let Some(inner) = fields.get(name) {
            kept.push((name, select(inner, &rest, depth + 1)?));
        }
    }
    Ok(Value::from_pairs(kept))
}

/// Converts a whole JSON value.
pub(super) fn from_json(value: &Json, depth: usize) -> Result<Value, EvalError> {
    check_depth(depth)?;
    Ok(match value {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => Value::from(value),
            (_, Some(value), _) => Value::from(value),
            (_, _, Some(value)) => Value::from(value),
            _ => return Err(EvalError::Value { message: "a number is out of range".to_owned() }),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => {
            Value::from(items.iter().map(|item| from_json(item, depth + 1)).collect::<Result<Vec<_>, _>>()?)
        }
        Json::Object(fields) => {
            let mut pairs = Vec::with_capacity(fields.len());
            for (name, inner) in fields {
                pairs.push((name.as_str(), from_json(inner, depth + 1)?));
            }
            Value::from_pairs(pairs)
        }
    })
}

/// Converts the result of an evaluation.
pub(super) fn to_json(value: &Value, depth: usize) -> Result<Json, EvalError> {
    check_depth(depth)?;
    let refuse = |message: &str| Err(EvalError::Value { message: message.to_owned() });
    match value.kind() {
        ValueKind::Undefined => refuse("the expression has no value here"),
        ValueKind::None => Ok(Json::Null),
        ValueKind::Bool => Ok(Json::Bool(value.is_true())),
        ValueKind::Number => number_to_json(value),
        ValueKind::String => Ok(Json::String(value.as_str().unwrap_or_default().to_owned())),
        ValueKind::Seq | ValueKind::Iterable => {
            Ok(Json::Array(items(value)?.map(|item| to_json(&item, depth + 1)).collect::<Result<_, _>>()?))
        }
        ValueKind::Map => {
            let mut fields = serde_json::Map::new();
            for key in items(value)? {
                let Some(name) = key.as_str() else { return refuse("an object key must be a string") };
                let inner = value.get_item(&key).map_err(|_| EvalError::Value {
                    message: format!("the value of key `{name}` cannot be read"),
                })?;
                fields.insert(name.to_owned(), to_json(&inner, depth + 1)?);
            }
            Ok(Json::Object(fields))
        }
        _ => refuse("a function is not a value"),
    }
}

fn items(value: &Value) -> Result<impl Iterator<Item = Value>, EvalError> {
    value.try_iter().map_err(|_| EvalError::Value { message: "a list cannot be read".to_owned() })
}

fn number_to_json(value: &Value) -> Result<Json, EvalError> {
    if value.is_integer() {
        if let Some(number) = value.as_i64() {
            return Ok(Json::from(number));
        }
        return u64::try_from(value.clone())
            .map(Json::from)
            .map_err(|_| EvalError::Value { message: "an integer is out of range".to_owned() });
    }
    f64::try_from(value.clone())
        .ok()
        .and_then(serde_json::Number::from_f64)
        .map(Json::Number)
        .ok_or_else(|| EvalError::Value { message: "the result is not a finite number".to_owned() })
}

fn check_depth(depth: usize) -> Result<(), EvalError> {
    if depth > limits::VALUE_DEPTH {
        return Err(super::budget::Exhausted::Depth.into_eval_error());
    }
    Ok(())
}
