//! Typed outputs of a command: read from its standard output or a file, checked against what the node
//! declares. Never guesses: what is missing or of another type fails the node.

use blueprint_core::format::{OutputFrom, OutputType};
use blueprint_core::graph::Output;
use serde_json::{Map, Value};

/// The most bytes that are read for outputs.
pub const MAX_BYTES: usize = 1 << 20;

/// Reads the declared outputs from a text. `Err` says what is wrong, for people.
pub fn parse(from: &OutputFrom, declared: &[Output], text: &[u8]) -> Result<Value, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("the outputs are larger than {MAX_BYTES} bytes"));
    }
    let lines = match from {
        OutputFrom::Json => false,
        OutputFrom::Lines => true,
        OutputFrom::File(file) => !file.value.to_ascii_lowercase().ends_with(".json"),
    };
    let given = if lines { key_values(text)? } else { object(text)? };
    let mut outputs = Map::new();
    for output in declared {
        let value = given.get(&*output.name);
        let value = match value {
            Some(Value::String(text)) if lines => typed(output.ty, text),
            Some(value) => fits(output.ty, value).then(|| value.clone()),
            None => return Err(format!("the output `{}` is missing", output.name)),
        };
        let value =
            value.ok_or_else(|| format!("the output `{}` is not of type {}", output.name, output.ty))?;
        outputs.insert(output.name.to_string(), value);
    }
    Ok(Value::Object(outputs))
}

/// Whether a value is of a type.
pub fn fits(ty: OutputType, value: &Value) -> bool {
    match ty {
        OutputType::String => value.is_string(),
        OutputType::Integer => value.is_i64() || value.is_u64(),
        OutputType::Number => value.is_number(),
        OutputType::Boolean => value.is_boolean(),
        OutputType::List => value.is_array(),
        OutputType::Object => value.is_object(),
    }
}

fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("the outputs are not one JSON object".to_owned()),
        Err(error) => Err(format!("the outputs are not JSON: {error}")),
    }
}

fn key_values(text: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the outputs are not UTF-8".to_owned())?;
    let pairs = text.lines().filter_map(|line| line.trim_end_matches('\r').split_once('='));
    Ok(pairs.map(|(key, value)| (key.trim().to_owned(), Value::from(value))).collect())
}

fn typed(ty: OutputType, text: &str) -> Option<Value> {
    match ty {
        OutputType::String => Some(Value::from(text)),
        OutputType::Boolean
        | OutputType::Integer
        | OutputType::Number
        | OutputType::List
        | OutputType::Object => serde_json::from_str(text.trim()).ok().filter(|value| fits(ty, value)),
    }
}
